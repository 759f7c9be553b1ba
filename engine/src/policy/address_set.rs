//! Sets of addresses.

use super::stab::Point;
use ipnet::IpNet;
use std::net::IpAddr;

/// A set of addresses, shared by the rules that name it.
///
/// An IPv4-mapped IPv6 address (`::ffff:10.0.0.1`) is the IPv4 one; `0.0.0.0/0` is all of IPv4 and nothing of IPv6,
/// `::/0` the reverse.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressSet {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

/// An address as a number of its version.
#[derive(Clone, Copy, Debug)]
pub(super) enum Address {
    V4(u32),
    V6(u128),
}

impl Address {
    #[inline]
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            IpAddr::V6(v6) => Self::V6(v6.to_bits()),
        }
    }
}

impl AddressSet {
    /// The union of `prefixes`.
    #[must_use]
    pub fn new(prefixes: impl IntoIterator<Item = IpNet>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for prefix in prefixes {
            let mapped = matches!(prefix, IpNet::V6(v6) if v6.prefix_len() >= 96);
            match (prefix.network(), prefix.broadcast()) {
                (IpAddr::V6(first), IpAddr::V6(last)) if !mapped => v6.push((first.to_bits(), last.to_bits())),
                (first, last) => match (Address::of(first), Address::of(last)) {
                    (Address::V4(first), Address::V4(last)) => v4.push((first, last)),
                    (Address::V6(first), Address::V6(last)) => v6.push((first, last)),
                    // One prefix of 96 bits or more never holds both kinds.
                    _ => {}
                },
            }
        }
        Self { v4: union(v4), v6: union(v6) }
    }

    /// Every address that is not in this set, of both versions.
    #[must_use]
    pub fn complement(&self) -> Self {
        Self { v4: complement(&self.v4, u32::MAX), v6: complement(&self.v6, u128::MAX) }
    }

    /// True when the set holds `address`.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.holds(Address::of(address))
    }

    /// True when the set holds no address.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    #[inline]
    pub(super) fn holds(&self, address: Address) -> bool {
        match address {
            Address::V4(v4) => holds(&self.v4, v4),
            Address::V6(v6) => holds(&self.v6, v6),
        }
    }

    pub(super) fn v4(&self) -> &[(u32, u32)] {
        &self.v4
    }

    pub(super) fn v6(&self) -> &[(u128, u128)] {
        &self.v6
    }
}

/// True when one of `ranges` (sorted, apart from each other) holds `point`.
#[inline]
pub(super) fn holds<K: Point>(ranges: &[(K, K)], point: K) -> bool {
    let behind = ranges.partition_point(|range| range.0 <= point);
    behind.checked_sub(1).is_some_and(|at| point <= ranges[at].1)
}

/// `ranges` sorted and merged where they touch; those that end before they start hold nothing.
pub(super) fn union<K: Point>(mut ranges: Vec<(K, K)>) -> Vec<(K, K)> {
    ranges.retain(|(first, last)| first <= last);
    ranges.sort_unstable();
    let mut merged: Vec<(K, K)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if before.1.after().is_none_or(|next| first <= next) => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn complement<K: Point>(ranges: &[(K, K)], max: K) -> Vec<(K, K)> {
    let mut gaps = Vec::with_capacity(ranges.len() + 1);
    let mut next = Some(K::MIN);
    for &(first, last) in ranges {
        if let Some(start) = next.filter(|start| *start < first) {
            gaps.extend(first.before().map(|end| (start, end)));
        }
        next = last.after();
    }
    gaps.extend(next.map(|start| (start, max)));
    gaps
}

#[cfg(test)]
#[path = "address_set_tests.rs"]
mod tests;
