#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn owner(routes: &Routes, text: &str) -> Option<usize> {
    routes.owner(text.parse().unwrap())
}

#[test]
fn the_longest_prefix_wins_and_a_peer_can_be_moved() {
    let mut routes = Routes::default();
    let wide = [net("10.0.0.0/8"), net("fd00::/8")];
    routes.set(0, &[], &[net("0.0.0.0/0")]);
    routes.set(1, &[], &wide);
    routes.set(2, &[], &[net("10.1.2.3/32")]);
    assert_eq!(owner(&routes, "192.0.2.1"), Some(0));
    assert_eq!(owner(&routes, "10.9.9.9"), Some(1));
    assert_eq!(owner(&routes, "10.1.2.3"), Some(2));
    assert_eq!(owner(&routes, "fd00::1"), Some(1));
    assert_eq!(owner(&routes, "2001:db8::1"), None);
    routes.set(2, &[net("10.1.2.3/32")], &[net("10.1.2.4/32")]);
    assert_eq!(owner(&routes, "10.1.2.3"), Some(1));
    routes.remove(1, &wide);
    assert_eq!(owner(&routes, "10.1.2.3"), Some(0));
}

#[test]
fn a_prefix_has_one_owner_and_only_the_owner_gives_it_up() {
    let mut routes = Routes::default();
    let shared = [net("10.1.0.0/16"), net("0.0.0.0/0")];
    routes.set(0, &[], &shared);
    routes.set(1, &[], &shared);
    assert_eq!(owner(&routes, "10.1.2.3"), Some(1));
    routes.remove(0, &shared);
    assert_eq!(owner(&routes, "10.1.2.3"), Some(1));
    assert_eq!(owner(&routes, "192.0.2.1"), Some(1));
    routes.remove(1, &shared);
    assert_eq!(owner(&routes, "10.1.2.3"), None);
}

fn nets() -> impl Strategy<Value = IpNet> {
    // Few bits, so that prefixes nest, collide and move.
    let v4 = (0_u32..64, 0_u8..=32).prop_map(|(bits, len)| {
        let spread = (bits & 7) << 29 | (bits >> 3 & 3) << 14 | bits >> 5;
        IpNet::new(IpAddr::V4(spread.into()), len).unwrap()
    });
    let v6 = (0_u128..64, 0_u8..=128).prop_map(|(bits, len)| {
        let spread = (bits & 7) << 125 | (bits >> 3 & 3) << 62 | bits >> 5;
        IpNet::new(IpAddr::V6(spread.into()), len).unwrap()
    });
    prop_oneof![v4, v6]
}

proptest! {
    /// Against the definition: a list of (prefix, owner), the last gift wins, the longest prefix decides.
    #[test]
    fn owners_are_those_of_a_plain_list(
        steps in prop::collection::vec((0_usize..4, prop::collection::vec(nets(), 0..4)), 1..12),
    ) {
        let (mut routes, mut list) = (Routes::default(), Vec::<(IpNet, usize)>::new());
        let mut has = vec![Vec::new(); 4];
        for (slot, new) in steps {
            routes.set(slot, &has[slot], &new);
            list.retain(|(net, owner)| *owner != slot || !has[slot].iter().any(|old: &IpNet| old.trunc() == *net));
            for net in &new {
                list.retain(|(other, _)| *other != net.trunc());
                list.push((net.trunc(), slot));
            }
            has[slot] = new;
            for net in has.iter().flatten() {
                for address in [net.addr(), net.network(), net.broadcast()] {
                    let expected = list.iter().filter(|(net, _)| net.contains(&address)).max_by_key(|(net, _)| net.prefix_len());
                    prop_assert_eq!(routes.owner(address), expected.map(|(_, slot)| *slot), "{}", address);
                }
            }
        }
    }
}

#[test]
fn networks_of_any_stride_spread_over_the_whole_hash() {
    for shift in [0, 8, 16, 24] {
        let hashes = (0..256_u32).map(|n| {
            let mut fold = Fold::default();
            fold.write_u32(n << shift);
            fold.finish()
        });
        let (low, high): (std::collections::BTreeSet<_>, std::collections::BTreeSet<_>) =
            hashes.map(|hash| (hash & 0xff, hash >> 57)).unzip();
        // By chance 162 of 256 places, and 111 of 128, are met.
        assert!(low.len() > 100 && high.len() > 60, "stride 2^{shift}: {} {}", low.len(), high.len());
    }
}
