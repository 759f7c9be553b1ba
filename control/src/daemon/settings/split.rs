//! Split tunnels: which of the gateway's routes the tunnel gets.

use crate::api::profile::{Destination, SplitTunnel, TunnelEntry};
use ipnet::IpNet;

/// The routes into the tunnel: the included ones, or all of the gateway's but the excluded ones.
pub(crate) fn split_routes(gateway: &[IpNet], split: &SplitTunnel) -> Vec<IpNet> {
    match split {
        SplitTunnel::Include(entries) => IpNet::aggregate(&addresses(entries)),
        SplitTunnel::Exclude(entries) => {
            let excluded = addresses(entries);
            if excluded.is_empty() {
                return gateway.to_vec();
            }
            gateway.iter().flat_map(|net| without(net.trunc(), &excluded)).collect()
        }
    }
}

/// Whether an entry cannot be carried out yet.
pub(super) fn has_hosts(split: &SplitTunnel) -> bool {
    let (SplitTunnel::Include(entries) | SplitTunnel::Exclude(entries)) = split;
    entries.iter().any(|entry| matches!(entry.destination, Destination::Host(_)))
}

fn addresses(entries: &[TunnelEntry]) -> Vec<IpNet> {
    let address = |entry: &TunnelEntry| match entry.destination {
        Destination::Address(net) => Some(net.trunc()),
        Destination::Host(_) => None,
    };
    entries.iter().filter_map(address).collect()
}

/// `net` without `holes`: the largest prefixes that touch none of them.
fn without(net: IpNet, holes: &[IpNet]) -> Vec<IpNet> {
    if holes.iter().any(|hole| hole.contains(&net)) {
        return Vec::new();
    }
    let inside: Vec<IpNet> = holes.iter().filter(|hole| net.contains(*hole)).copied().collect();
    match net.subnets(net.prefix_len() + 1) {
        Ok(halves) if !inside.is_empty() => halves.flat_map(|half| without(half, &inside)).collect(),
        _ => vec![net],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn nets(text: &[&str]) -> Vec<IpNet> {
        text.iter().map(|net| net.parse().unwrap()).collect()
    }

    fn entries(text: &[&str]) -> Vec<TunnelEntry> {
        let entry = |net: IpNet| TunnelEntry { destination: Destination::Address(net), description: String::new() };
        nets(text).into_iter().map(entry).collect()
    }

    #[test]
    fn what_is_excluded_leaves_a_hole_of_its_size() {
        let exclude = |holes: &[&str]| SplitTunnel::Exclude(entries(holes));
        let gateway = nets(&["10.0.0.0/8", "2001:db8::/32"]);
        assert_eq!(split_routes(&gateway, &exclude(&[])), gateway);
        assert_eq!(split_routes(&gateway, &exclude(&["0.0.0.0/0", "::/0"])), nets(&[]));
        let routes = split_routes(&gateway, &exclude(&["10.64.0.0/10", "192.0.2.0/24"]));
        assert_eq!(routes, nets(&["10.0.0.0/10", "10.128.0.0/9", "2001:db8::/32"]));
        let one = split_routes(&nets(&["10.0.0.0/30"]), &exclude(&["10.0.0.2/32"]));
        assert_eq!(one, nets(&["10.0.0.0/31", "10.0.0.3/32"]));
        let all = split_routes(&nets(&["0.0.0.0/0"]), &exclude(&["192.0.2.1/32"]));
        assert_eq!(all.len(), 32);
        assert!(all.iter().all(|net| !net.contains(&"192.0.2.1".parse::<std::net::IpAddr>().unwrap())));
    }

    #[test]
    fn what_is_included_is_all() {
        let include = SplitTunnel::Include(entries(&["10.20.0.0/16", "10.20.1.0/24"]));
        assert_eq!(split_routes(&nets(&["0.0.0.0/0"]), &include), nets(&["10.20.0.0/16"]));
    }
}
