//! Cryptokey routing: which peer owns an inner address.

use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Longest prefix first; host routes, which a gateway has by the thousand, by one look-up.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    hosts: BTreeMap<IpAddr, usize>,
    prefixes: Vec<(IpNet, usize)>,
}

impl Routes {
    /// Gives `addresses` to `slot`, and takes away all it had before.
    pub(crate) fn set(&mut self, slot: usize, addresses: &[IpNet]) {
        self.remove(slot);
        for net in addresses {
            if net.prefix_len() == net.max_prefix_len() {
                self.hosts.insert(net.addr(), slot);
            } else {
                self.prefixes.push((net.trunc(), slot));
            }
        }
        self.prefixes.sort_by_key(|(net, _)| std::cmp::Reverse(net.prefix_len()));
    }

    pub(crate) fn remove(&mut self, slot: usize) {
        self.hosts.retain(|_, owner| *owner != slot);
        self.prefixes.retain(|(_, owner)| *owner != slot);
    }

    pub(crate) fn owner(&self, address: IpAddr) -> Option<usize> {
        self.hosts
            .get(&address)
            .copied()
            .or_else(|| self.prefixes.iter().find(|(net, _)| net.contains(&address)).map(|(_, slot)| *slot))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_longest_prefix_wins_and_a_peer_can_be_moved() {
        let mut routes = Routes::default();
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let owner = |routes: &Routes, text: &str| routes.owner(text.parse().unwrap());
        routes.set(0, &[net("0.0.0.0/0")]);
        routes.set(1, &[net("10.0.0.0/8"), net("fd00::/8")]);
        routes.set(2, &[net("10.1.2.3/32")]);
        assert_eq!(owner(&routes, "192.0.2.1"), Some(0));
        assert_eq!(owner(&routes, "10.9.9.9"), Some(1));
        assert_eq!(owner(&routes, "10.1.2.3"), Some(2));
        assert_eq!(owner(&routes, "fd00::1"), Some(1));
        assert_eq!(owner(&routes, "2001:db8::1"), None);
        routes.set(2, &[net("10.1.2.4/32")]);
        assert_eq!(owner(&routes, "10.1.2.3"), Some(1));
        routes.remove(1);
        assert_eq!(owner(&routes, "10.1.2.3"), Some(0));
    }
}
