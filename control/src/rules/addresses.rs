//! Sets of addresses: ranges, joined, cut, turned inside out, and written as prefixes.
//!
//! An IPv4-mapped IPv6 address is the IPv4 one. All of IPv6 (`::/0`) holds nothing of IPv4.

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// First and last.
type Span = (u128, u128);

const LAST_V4: u128 = u32::MAX as u128;

/// A set of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Addresses {
    /// Sorted, apart from each other, once [`Addresses::normalised`].
    v4: Vec<Span>,
    v6: Vec<Span>,
}

impl Addresses {
    /// Every address.
    #[must_use]
    pub fn all() -> Self {
        Self { v4: vec![(0, LAST_V4)], v6: vec![(0, u128::MAX)] }
    }

    /// The addresses from one to another of the same version; none when they are not.
    #[must_use]
    pub fn range(from: IpAddr, to: IpAddr) -> Self {
        match (from.to_canonical(), to.to_canonical()) {
            (IpAddr::V4(from), IpAddr::V4(to)) if from <= to => {
                Self { v4: vec![(from.to_bits().into(), to.to_bits().into())], v6: Vec::new() }
            }
            (IpAddr::V6(from), IpAddr::V6(to)) if from <= to => {
                Self { v4: Vec::new(), v6: vec![(from.to_bits(), to.to_bits())] }
            }
            _ => Self::default(),
        }
    }

    /// An address, a prefix, or a range `a..b`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (from, to) = match text.split_once("..") {
            Some((from, to)) => (from.parse::<IpAddr>().ok()?, to.parse().ok()?),
            None => {
                if let Ok(net) = text.parse::<IpNet>() {
                    return Some(Self::net(&net));
                }
                let address = text.parse().ok()?;
                (address, address)
            }
        };
        Some(Self::range(from, to)).filter(|set| !set.is_empty())
    }

    /// The addresses of a prefix.
    #[must_use]
    pub fn net(net: &IpNet) -> Self {
        match net {
            // Part of IPv6, of which the mapped addresses are a part: only a prefix inside of them means IPv4.
            IpNet::V6(v6) if v6.prefix_len() < 96 => {
                Self { v4: Vec::new(), v6: vec![(v6.network().to_bits(), v6.broadcast().to_bits())] }
            }
            net => Self::range(net.network(), net.broadcast()),
        }
    }

    /// Takes in another set; call [`Addresses::normalised`] at the end.
    pub fn extend(&mut self, other: &Self) {
        self.v4.extend(&other.v4);
        self.v6.extend(&other.v6);
    }

    /// In order, with neighbours joined.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        for spans in [&mut self.v4, &mut self.v6] {
            spans.sort_unstable();
            spans.dedup_by(|next, kept| {
                let joins = next.0 <= kept.1.saturating_add(1);
                if joins {
                    kept.1 = kept.1.max(next.1);
                }
                joins
            });
        }
        self
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self { v4: both(&self.v4, &other.v4), v6: both(&self.v6, &other.v6) }
    }

    /// What is not in it.
    #[must_use]
    pub fn complement(&self) -> Self {
        Self { v4: outside(&self.v4, LAST_V4), v6: outside(&self.v6, u128::MAX) }
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// How many ranges it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (spans, bits) = match address.to_canonical() {
            IpAddr::V4(v4) => (&self.v4, v4.to_bits().into()),
            IpAddr::V6(v6) => (&self.v6, v6.to_bits()),
        };
        let behind = spans.partition_point(|span| span.0 <= bits);
        behind.checked_sub(1).is_some_and(|at| bits <= spans[at].1)
    }

    /// Its lowest address.
    #[must_use]
    pub fn first(&self) -> Option<IpAddr> {
        self.ranges().next().map(|(first, _)| first)
    }

    /// Its highest address.
    #[must_use]
    pub fn last(&self) -> Option<IpAddr> {
        self.ranges().last().map(|(_, last)| last)
    }

    /// Its ranges, IPv4 first.
    pub fn ranges(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> {
        // No IPv4 span is above 32 bits.
        let v4 = |bits: u128| IpAddr::V4(Ipv4Addr::from_bits(bits as u32));
        let v6 = |bits: u128| IpAddr::V6(Ipv6Addr::from_bits(bits));
        let low = self.v4.iter().map(move |&(from, to)| (v4(from), v4(to)));
        low.chain(self.v6.iter().map(move |&(from, to)| (v6(from), v6(to))))
    }

    /// The fewest prefixes that make it up.
    pub fn nets(&self) -> impl Iterator<Item = IpNet> {
        self.ranges().flat_map(|range| -> Box<dyn Iterator<Item = IpNet>> {
            match range {
                (IpAddr::V4(from), IpAddr::V4(to)) => Box::new(Ipv4Subnets::new(from, to, 0).map(IpNet::V4)),
                (IpAddr::V6(from), IpAddr::V6(to)) => Box::new(Ipv6Subnets::new(from, to, 0).map(IpNet::V6)),
                _ => Box::new(std::iter::empty()),
            }
        })
    }
}

fn both(a: &[Span], b: &[Span]) -> Vec<Span> {
    let mut out = Vec::new();
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        let (from, to) = (x.0.max(y.0), x.1.min(y.1));
        if from <= to {
            out.push((from, to));
        }
        if x.1 < y.1 { i += 1 } else { j += 1 }
    }
    out
}

fn outside(spans: &[Span], last: u128) -> Vec<Span> {
    let mut out = Vec::new();
    let mut next = Some(0);
    for &(from, to) in spans {
        if let Some(first) = next.filter(|&first| first < from) {
            out.push((first, from - 1));
        }
        next = to.checked_add(1).filter(|&first| first <= last);
    }
    out.extend(next.map(|first| (first, last)));
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn set(texts: &[&str]) -> Addresses {
        let mut all = Addresses::default();
        texts.iter().for_each(|text| all.extend(&Addresses::parse(text).unwrap()));
        all.normalised()
    }

    fn nets(set: &Addresses) -> Vec<String> {
        set.nets().map(|net| net.to_string()).collect()
    }

    #[test]
    fn ranges_become_the_fewest_prefixes_and_neighbours_join() {
        assert_eq!(nets(&set(&["10.0.0.1..10.0.0.6"])), ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32"]);
        assert_eq!(nets(&set(&["10.0.1.0/24", "10.0.0.0/24", "10.0.0.7"])), ["10.0.0.0/23"]);
        assert_eq!(nets(&set(&["fd00::/8", "::ffff:10.0.0.0/104"])), ["10.0.0.0/8", "fd00::/8"]);
        assert_eq!(nets(&set(&["10.1.2.3/8"])), ["10.0.0.0/8"], "the rest of a prefix is cut off");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "10.0.0", "10.0.0.0/33", "10.0.0.2..10.0.0.1", "10.0.0.1..fd00::1", "a.b", "..", "1..2"] {
            assert_eq!(Addresses::parse(text), None, "{text}");
        }
    }

    #[test]
    fn inside_out_is_of_both_versions() {
        assert_eq!(Addresses::default().complement(), Addresses::all());
        assert!(Addresses::all().complement().is_empty());
        let outside = set(&["0.0.0.0/1", "::/1"]).complement();
        assert_eq!(nets(&outside), ["128.0.0.0/1", "8000::/1"]);
    }

    fn spans() -> impl Strategy<Value = Addresses> {
        let near_ends = prop_oneof![0u32..40, (u32::MAX - 40)..=u32::MAX];
        prop::collection::vec((near_ends, 0u32..6), 0..6).prop_map(|parts| {
            let mut all = Addresses::default();
            for (from, length) in parts {
                let to = from.saturating_add(length);
                all.extend(&Addresses::range(Ipv4Addr::from_bits(from).into(), Ipv4Addr::from_bits(to).into()));
            }
            all.normalised()
        })
    }

    proptest! {
        #[test]
        fn algebra_agrees_with_asking_each_address(a in spans(), b in spans()) {
            let (both, not) = (a.intersection(&b), a.complement());
            for bits in (0..50u32).chain(u32::MAX - 50..=u32::MAX) {
                let address = Ipv4Addr::from_bits(bits).into();
                prop_assert_eq!(both.contains(address), a.contains(address) && b.contains(address));
                prop_assert_eq!(not.contains(address), !a.contains(address));
                let written = a.nets().any(|net| net.contains(&address));
                prop_assert_eq!(written, a.contains(address));
            }
            prop_assert_eq!(not.complement(), a);
        }
    }
}
