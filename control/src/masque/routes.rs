//! From what a peer says to what the host does: addresses, routes, and the way to the peer itself.

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use std::collections::BTreeSet;
use std::net::IpAddr;
use vestibule_engine::masque::capsule::Routes;
use vestibule_platform::netcfg::{Desired, PolicyRouting, Routing};

/// Routing tables and rules of plain tunnels have numbers from here on, above the device's own.
const FIRST: u32 = 23_000;
/// So many of them.
const TABLES: u32 = 3_000;

/// The prefixes that together are what was advertised, whatever the protocol.
pub(super) fn prefixes(routes: &Routes) -> BTreeSet<IpNet> {
    let mut all = BTreeSet::new();
    for range in routes.ranges() {
        match (range.start, range.end) {
            (IpAddr::V4(start), IpAddr::V4(end)) => all.extend(Ipv4Subnets::new(start, end, 0).map(IpNet::V4)),
            (IpAddr::V6(start), IpAddr::V6(end)) => all.extend(Ipv6Subnets::new(start, end, 0).map(IpNet::V6)),
            _ => {}
        }
    }
    all
}

/// The address a host takes of a prefix it was given: the only one, or the first behind the network's own.
pub(super) fn host_of(prefix: IpNet) -> IpNet {
    if prefix.prefix_len() == prefix.max_prefix_len() || prefix.addr() != prefix.network() {
        return prefix;
    }
    let next = match prefix.network() {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4).saturating_add(1)).into()),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6).saturating_add(1)).into()),
    };
    IpNet::new(next, prefix.prefix_len()).unwrap_or(prefix)
}

/// What the host shall be. A route that covers the peer itself needs rules of its own, by which the packets that carry the
/// tunnel stay outside; others stand in the main table, and vanish with the interface whatever happens to this process.
pub(super) fn desired(interface: &str, addresses: &[IpNet], routes: BTreeSet<IpNet>, peers: &[IpAddr]) -> Desired {
    let has = |route: &IpNet| addresses.iter().any(|own| own.addr().is_ipv4() == route.addr().is_ipv4());
    let routes: Vec<IpNet> = routes.into_iter().filter(has).collect();
    let covers = routes.iter().any(|route| peers.iter().any(|peer| route.contains(peer)));
    let routing = if covers { Routing::Policy(policy(interface, peers)) } else { Routing::Main };
    let addresses = addresses.iter().copied().map(host_of).collect();
    Desired { interface: interface.to_owned(), addresses, routes, routing, forwarding: false }
}

/// The same without routes, but in charge of the rules that this interface may have.
pub(super) fn no_routes(desired: &Desired, peers: &[IpAddr]) -> Desired {
    let routing = Routing::Policy(policy(&desired.interface, peers));
    Desired { routes: Vec::new(), routing, ..desired.clone() }
}

/// Numbers that are this interface's, so that two tunnels do not share them and a start after a crash finds its own.
fn policy(interface: &str, peers: &[IpAddr]) -> PolicyRouting {
    let digest = crate::crypto::sha256(interface.as_bytes());
    let number = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) % TABLES;
    PolicyRouting {
        table: FIRST + number,
        priority: FIRST + number * 3,
        bypass: peers.iter().copied().map(IpNet::from).collect(),
        ..PolicyRouting::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use vestibule_engine::masque::capsule::IpAddressRange;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn ranges(ranges: &[(&str, &str)]) -> Routes {
        let range = |(start, end): &(&str, &str)| IpAddressRange {
            start: start.parse().unwrap(),
            end: end.parse().unwrap(),
            protocol: 0,
        };
        Routes::normalised(ranges.iter().map(range))
    }

    #[test]
    fn ranges_become_prefixes() {
        let routes = ranges(&[("0.0.0.0", "255.255.255.255"), ("fd00::", "fd00::1:ffff")]);
        assert_eq!(prefixes(&routes), BTreeSet::from([net("0.0.0.0/0"), net("fd00::/111")]));
        let odd = ranges(&[("10.0.0.1", "10.0.0.4")]);
        assert_eq!(prefixes(&odd), BTreeSet::from([net("10.0.0.1/32"), net("10.0.0.2/31"), net("10.0.0.4/32")]));
    }

    #[test]
    fn a_host_takes_one_address_of_what_it_was_given() {
        for (given, taken) in
            [("10.0.0.7/32", "10.0.0.7/32"), ("10.0.0.0/24", "10.0.0.1/24"), ("fd00::/64", "fd00::1/64")]
        {
            assert_eq!(host_of(net(given)), net(taken));
        }
    }

    #[test]
    fn rules_are_made_only_where_the_peer_itself_is_covered() {
        let (own, peer) = ([net("10.9.0.2/32")], ["192.0.2.1".parse().unwrap()]);
        let some = desired("tun0", &own, BTreeSet::from([net("10.0.0.0/8"), net("fd00::/8")]), &peer);
        assert_eq!(
            (some.routes, some.routing),
            (vec![net("10.0.0.0/8")], Routing::Main),
            "and no IPv6 without an address"
        );
        let all = desired("tun0", &own, BTreeSet::from([net("0.0.0.0/0")]), &peer);
        let Routing::Policy(policy) = all.routing else { panic!("the tunnel would carry itself") };
        assert_eq!(policy.bypass, [net("192.0.2.1/32")]);
        assert!(
            policy.priority + 2 < 32_764 && policy.table >= FIRST && policy.table != PolicyRouting::default().table
        );
    }
}
