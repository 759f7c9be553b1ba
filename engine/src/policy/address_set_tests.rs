#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use proptest::prelude::*;

fn set(prefixes: &[&str]) -> AddressSet {
    AddressSet::new(prefixes.iter().map(|prefix| prefix.parse().unwrap()))
}

#[test]
fn neighbours_merge_and_the_order_does_not_matter() {
    assert_eq!(set(&["10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16"]), set(&["10.0.0.0/8"]));
    assert_eq!(set(&["10.2.0.0/16", "10.0.0.0/16"]), set(&["10.0.0.0/16", "10.2.0.0/16"]));
    assert_eq!(set(&["0.0.0.0/1", "128.0.0.0/1"]), set(&["0.0.0.0/0"]));
}

#[test]
fn mapped_addresses_are_ipv4() {
    assert_eq!(set(&["::ffff:10.0.0.0/104"]), set(&["10.0.0.0/8"]));
    assert!(set(&["10.0.0.0/8"]).contains("::ffff:10.1.2.3".parse().unwrap()));
    assert!(!set(&["::/0"]).contains("::ffff:10.1.2.3".parse().unwrap()));
}

#[test]
fn the_complement_of_everything_is_nothing() {
    let everything = set(&["0.0.0.0/0", "::/0"]);
    assert!(everything.complement().is_empty());
    assert_eq!(AddressSet::default().complement(), everything);
    let host = set(&["255.255.255.255/32", "0.0.0.0/32"]);
    assert!(host.complement().contains("1.2.3.4".parse().unwrap()));
    assert!(!host.complement().contains("255.255.255.255".parse().unwrap()));
    assert!(!host.complement().contains("0.0.0.0".parse().unwrap()));
}

proptest! {
    #[test]
    fn the_complement_is_the_opposite(
        prefixes in prop::collection::vec((any::<u32>(), 0u8..=32), 0..8),
        wide in prop::collection::vec((any::<u128>(), 0u8..=128), 0..8),
        address: u32,
        wide_address: u128,
    ) {
        let nets: Vec<IpNet> = prefixes.iter().map(|&(address, len)| IpNet::new(IpAddr::V4(address.into()), len).unwrap())
            .chain(wide.iter().map(|&(address, len)| IpNet::new(IpAddr::V6(address.into()), len).unwrap())).collect();
        let set = AddressSet::new(nets.iter().copied());
        prop_assert_eq!(&set.complement().complement(), &set);
        let edges = prefixes.iter().map(|pair| pair.0).chain([address]).map(|bits| IpAddr::V4(bits.into()));
        for address in edges.chain([IpAddr::V6(wide_address.into())]) {
            prop_assert_eq!(set.contains(address), nets.iter().any(|net| net.contains(&address.to_canonical())));
            prop_assert_eq!(set.complement().contains(address), !set.contains(address));
        }
    }
}
