//! Clients' connections that have no tunnel yet: how many of them, and whose.

use quinn_proto::ConnectionHandle;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;

/// From so many on, clients must prove their address first (a stateless Retry).
const RETRY: usize = 256;
/// So many are held; further ones are refused.
const MOST: usize = 1024;
/// So many of them may be of one address (of one /64 of IPv6), if it is proven: many devices may be behind one.
const PER_NETWORK: usize = 256;

/// Whether one more may be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Free,
    /// If the client proves its address.
    Proven,
    None,
}

#[derive(Debug, Default)]
pub(super) struct HalfOpen {
    /// With their network, if they proved their address: else they are nobody's.
    connections: BTreeMap<ConnectionHandle, Option<IpAddr>>,
    per_network: BTreeMap<IpAddr, usize>,
}

/// What one customer of a network has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 => v4,
    }
}

impl HalfOpen {
    pub(super) fn room_for(&self, address: IpAddr, proven: bool) -> Room {
        let same = self.per_network.get(&network(address)).copied().unwrap_or(0);
        match self.connections.len() {
            MOST.. => Room::None,
            RETRY.. if !proven => Room::Proven,
            _ if proven && same >= PER_NETWORK => Room::None,
            _ => Room::Free,
        }
    }

    pub(super) fn insert(&mut self, connection: ConnectionHandle, address: IpAddr, proven: bool) {
        if let Entry::Vacant(entry) = self.connections.entry(connection) {
            let network = entry.insert(proven.then(|| network(address)));
            if let Some(network) = *network {
                *self.per_network.entry(network).or_default() += 1;
            }
        }
    }

    pub(super) fn remove(&mut self, connection: ConnectionHandle) {
        let Some(Some(network)) = self.connections.remove(&connection) else { return };
        if let Some(count) = self.per_network.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.per_network.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn who_proves_his_address_has_a_share_and_all_together_a_limit() {
        let mut half_open = HalfOpen::default();
        let at = |n: u8| IpAddr::from([198, 51, 100, n]);
        let mut handle = 0;
        let mut fill = |half_open: &mut HalfOpen, address, count, proven| {
            for _ in 0..count {
                half_open.insert(ConnectionHandle(handle), address, proven);
                handle += 1;
            }
        };
        fill(&mut half_open, at(1), RETRY - 1, false);
        assert_eq!(half_open.room_for(at(1), false), Room::Free);
        fill(&mut half_open, at(1), 1, false);
        assert_eq!(half_open.room_for(at(2), false), Room::Proven);
        assert_eq!(half_open.room_for(at(1), true), Room::Free, "others claimed to be there");
        fill(&mut half_open, at(1), PER_NETWORK, true);
        assert_eq!(half_open.room_for(at(1), true), Room::None);
        assert_eq!(half_open.room_for(at(2), true), Room::Free);
        for n in 2..4 {
            fill(&mut half_open, at(n), PER_NETWORK, true);
        }
        assert_eq!(half_open.room_for(at(9), true), Room::None, "{MOST} in all");
        half_open.remove(ConnectionHandle(RETRY));
        half_open.remove(ConnectionHandle(RETRY));
        assert_eq!(half_open.room_for(at(1), true), Room::Free);
        for n in 0..MOST {
            half_open.remove(ConnectionHandle(n));
        }
        assert!(half_open.per_network.is_empty() && half_open.connections.is_empty());
    }

    #[test]
    fn a_customer_of_ipv6_has_many_addresses_and_one_share() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
