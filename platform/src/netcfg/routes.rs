//! Windows' routes as plain values: which one a packet takes, which ones a tunnel needs, and what is missing of them.
//!
//! Windows has one routing table and no rules: the longest prefix wins, then the smaller sum of route's and interface's
//! metric. So a device's bypass is a host route past the tunnel, as specific as can be.

use super::{Desired, Routing};
use ipnet::IpNet;
use std::{collections::BTreeSet, net::IpAddr, ops::Range};

/// Metrics of routes past a tunnel. They stand on other interfaces than ours, so that such a number, on a host route, is
/// what tells that they are some tunnel's, also after a crash; [`bypass_metric`] tells whose.
const BYPASS_METRICS: Range<u32> = 22_000..26_096;

/// The metric of routes past the tunnel `interface`: the same at every start, and hardly another tunnel's.
pub(super) fn bypass_metric(interface: &str) -> u32 {
    // FNV-1a: what a name comes to must not change between versions.
    let hash = interface.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    BYPASS_METRICS.start + hash % (BYPASS_METRICS.end - BYPASS_METRICS.start)
}

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Route {
    pub(super) destination: IpNet,
    /// `None`: on the link itself.
    pub(super) next_hop: Option<IpAddr>,
    /// The interface's LUID.
    pub(super) interface: u64,
    /// The route's own metric, to which the interface's is added.
    pub(super) metric: u32,
}

/// An interface, as far as routes are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) luid: u64,
    pub(super) name: String,
    /// By family: IPv4, IPv6. 0 is none.
    pub(super) index: [u32; 2],
    pub(super) metric: [u32; 2],
    pub(super) up: bool,
    pub(super) loopback: bool,
}

impl Link {
    pub(super) fn index(&self, of: IpAddr) -> Option<u32> {
        let [v4, v6] = self.index;
        Some(if of.is_ipv4() { v4 } else { v6 }).filter(|index| *index != 0)
    }
}

/// The route that a packet to `to` takes, if there were no interfaces `except`.
pub(super) fn best<'a>(routes: &'a [Route], links: &[Link], to: IpAddr, except: &[u64]) -> Option<&'a Route> {
    let rank = |route: &Route| {
        let link = links.iter().find(|link| link.luid == route.interface).filter(|link| link.up)?;
        let metric = link.metric[usize::from(to.is_ipv6())].saturating_add(route.metric);
        // Longest first, then the smallest metric.
        Some((std::cmp::Reverse(route.destination.prefix_len()), metric))
    };
    let leads = |route: &&Route| route.destination.contains(&to) && !except.contains(&route.interface);
    let candidates = routes.iter().filter(leads).filter_map(|route| Some((rank(route)?, route)));
    candidates.min_by_key(|(rank, _)| *rank).map(|(_, route)| route)
}

/// The interface that leads to `to` around our tunnels, by its index. Where nothing does, the loopback: what is bound to
/// it goes nowhere, whereas unbound it would go into the tunnel that it carries.
pub(super) fn interface_around(routes: &[Route], links: &[Link], to: IpAddr, tunnels: &[u64]) -> Option<u32> {
    let leads = best(routes, links, to, tunnels);
    let link = links.iter().find(|link| match leads {
        Some(route) => link.luid == route.interface,
        None => link.loopback,
    });
    link?.index(to)
}

/// Everything that is a tunnel's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) addresses: BTreeSet<IpNet>,
    pub(super) routes: BTreeSet<Route>,
}

impl State {
    /// What `desired` means for the interface `tunnel`, on a host with these routes and links.
    pub(super) fn wanted(desired: &Desired, tunnel: u64, routes: &[Route], links: &[Link], tunnels: &[u64]) -> Self {
        let into = |net: &IpNet| Route { destination: net.trunc(), next_hop: None, interface: tunnel, metric: 0 };
        let mut all: BTreeSet<Route> = desired.routes.iter().map(into).collect();
        if let Routing::Policy(policy) = &desired.routing {
            // What stands past a tunnel already is no way there by itself: it follows the route below it.
            let others: Vec<Route> = routes.iter().filter(|route| !is_bypass(route)).copied().collect();
            let past = |net: &IpNet| past(net.addr(), desired, &others, links, tunnels);
            all.extend(policy.bypass.iter().filter_map(past));
        }
        Self { addresses: desired.addresses.iter().copied().collect(), routes: all }
    }

    /// What must be added to `self` to have everything of `other`.
    pub(super) fn missing(&self, other: &Self) -> Self {
        Self { addresses: &other.addresses - &self.addresses, routes: &other.routes - &self.routes }
    }
}

/// The route to `to` past the tunnel, when the tunnel's own routes would take it.
fn past(to: IpAddr, desired: &Desired, routes: &[Route], links: &[Link], tunnels: &[u64]) -> Option<Route> {
    let taken = desired.routes.iter().filter(|net| net.contains(&to)).map(IpNet::prefix_len).max()?;
    let way = best(routes, links, to, tunnels)?;
    let needed = way.destination.prefix_len() <= taken;
    needed.then(|| Route { destination: to.into(), metric: bypass_metric(&desired.interface), ..*way })
}

/// Whether a route is one past a tunnel, whoever made it.
pub(super) fn is_bypass(route: &Route) -> bool {
    BYPASS_METRICS.contains(&route.metric) && route.destination.prefix_len() == route.destination.max_prefix_len()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::netcfg::PolicyRouting;

    const TUNNEL: u64 = 0x35_0000;
    const ETHERNET: u64 = 0x6_0001;
    const WIFI: u64 = 0x47_0002;
    const LOOPBACK: u64 = 0x18_0001;

    fn route(destination: &str, next_hop: Option<&str>, interface: u64, metric: u32) -> Route {
        let next_hop = next_hop.map(|text| text.parse().unwrap());
        Route { destination: destination.parse().unwrap(), next_hop, interface, metric }
    }

    fn host() -> (Vec<Route>, Vec<Link>) {
        let link = |luid, index, metric| Link {
            luid,
            index: [index, index],
            metric: [metric, metric],
            up: true,
            loopback: luid == LOOPBACK,
            ..Link::default()
        };
        let links = vec![link(LOOPBACK, 1, 75), link(ETHERNET, 4, 25), link(WIFI, 9, 35), link(TUNNEL, 30, 0)];
        let routes = vec![
            route("127.0.0.0/8", None, LOOPBACK, 256),
            route("0.0.0.0/0", Some("192.168.1.1"), ETHERNET, 0),
            route("0.0.0.0/0", Some("172.16.0.1"), WIFI, 0),
            route("192.168.1.0/24", None, ETHERNET, 256),
            route("0.0.0.0/0", None, TUNNEL, 0),
            route("203.0.113.0/24", None, TUNNEL, 0),
        ];
        (routes, links)
    }

    fn interface(host: &(Vec<Route>, Vec<Link>), to: &str, except: &[u64]) -> Option<u64> {
        best(&host.0, &host.1, to.parse().unwrap(), except).map(|route| route.interface)
    }

    #[test]
    fn the_longest_prefix_wins_then_the_metrics_sum() {
        let mut host = host();
        assert_eq!(interface(&host, "198.51.100.1", &[]), Some(TUNNEL));
        assert_eq!(interface(&host, "198.51.100.1", &[TUNNEL]), Some(ETHERNET));
        assert_eq!(interface(&host, "192.168.1.77", &[]), Some(ETHERNET));
        assert_eq!(interface(&host, "203.0.113.9", &[TUNNEL]), Some(ETHERNET), "past its longer prefix");
        assert_eq!(interface(&host, "2001:db8::1", &[]), None);
        host.0[1].metric = 11;
        assert_eq!(interface(&host, "198.51.100.1", &[TUNNEL]), Some(WIFI), "25 + 11 against 35 + 0");
        host.1[2].up = false;
        assert_eq!(interface(&host, "198.51.100.1", &[TUNNEL]), Some(ETHERNET), "a link that is down leads nowhere");
    }

    #[test]
    fn the_tunnels_own_packets_go_around_it_or_nowhere() {
        let (routes, mut links) = host();
        let around = |links: &[Link], to: &str| interface_around(&routes, links, to.parse().unwrap(), &[TUNNEL]);
        assert_eq!(around(&links, "203.0.113.9"), Some(4));
        assert_eq!(around(&links, "127.0.0.1"), Some(1));
        for link in &mut links[1..3] {
            link.up = false;
        }
        assert_eq!(around(&links, "203.0.113.9"), Some(1), "never into the tunnel");
        assert_eq!(around(&links, "2001:db8::1"), Some(1));
    }

    fn desired(routes: &[&str], bypass: &[&str]) -> Desired {
        Desired {
            interface: "vestibule0".to_owned(),
            addresses: vec!["100.96.0.2/32".parse().unwrap()],
            routes: routes.iter().map(|route| route.parse().unwrap()).collect(),
            routing: Routing::Policy(PolicyRouting {
                bypass: bypass.iter().map(|net| net.parse().unwrap()).collect(),
                ..PolicyRouting::default()
            }),
            forwarding: false,
        }
    }

    #[test]
    fn a_bypass_is_a_host_route_only_where_the_tunnel_would_take_it() {
        let (routes, links) = host();
        let wanted = |into: &[&str], bypass: &[&str]| {
            let state = State::wanted(&desired(into, bypass), TUNNEL, &routes, &links, &[TUNNEL]);
            state.routes.into_iter().filter(is_bypass).collect::<Vec<_>>()
        };
        let past = route("198.51.100.9/32", Some("192.168.1.1"), ETHERNET, bypass_metric("vestibule0"));
        assert_eq!(wanted(&["0.0.0.0/0"], &["198.51.100.9/32"]), [past]);
        assert_eq!(wanted(&["198.51.100.0/24"], &["198.51.100.9/32"]), [past]);
        assert_eq!(wanted(&["10.0.0.0/8"], &["198.51.100.9/32"]), []);
        // On the local network, whose own route is longer than the tunnel's; or not.
        assert_eq!(wanted(&["0.0.0.0/0"], &["192.168.1.9/32"]), []);
        let local = route("192.168.1.9/32", None, ETHERNET, bypass_metric("vestibule0"));
        assert_eq!(wanted(&["192.168.1.0/25"], &["192.168.1.9/32"]), [local]);
        // No way there at all.
        assert_eq!(wanted(&["::/0"], &["2001:db8::9/128"]), []);
    }

    #[test]
    fn a_bypass_follows_the_network_and_what_a_crash_left_is_superfluous() {
        let (mut routes, mut links) = host();
        let desired = desired(&["0.0.0.0/0"], &["198.51.100.9/32"]);
        let before = State::wanted(&desired, TUNNEL, &routes, &links, &[TUNNEL]);
        // It stands now, and the Ethernet is unplugged.
        routes.extend(before.routes.iter().copied());
        let again = State::wanted(&desired, TUNNEL, &routes, &links, &[TUNNEL]);
        assert_eq!(before, again, "its own route is no way there");
        links[1].up = false;
        let after = State::wanted(&desired, TUNNEL, &routes, &links, &[TUNNEL]);
        let (add, remove) = (before.missing(&after), after.missing(&before));
        assert_eq!(
            add.routes.first(),
            Some(&route("198.51.100.9/32", Some("172.16.0.1"), WIFI, bypass_metric("vestibule0")))
        );
        assert_eq!(
            remove.routes.first(),
            Some(&route("198.51.100.9/32", Some("192.168.1.1"), ETHERNET, bypass_metric("vestibule0")))
        );
        assert!(add.addresses.is_empty() && add.routes.len() == 1 && remove.routes.len() == 1);
        assert!(
            !is_bypass(&route("198.51.100.0/24", None, ETHERNET, bypass_metric("vestibule0"))),
            "an administrator's own"
        );
    }

    #[test]
    fn tunnels_know_their_own_bypasses_from_each_others() {
        assert!(is_bypass(&route("192.0.2.1/32", None, ETHERNET, bypass_metric("vestibule0"))));
        assert_ne!(bypass_metric("vestibule0"), bypass_metric("vestibule-gw0"));
        // A version that computed another one would leave its predecessor's routes behind.
        assert_eq!(bypass_metric("vestibule0"), 23_832);
    }
}
