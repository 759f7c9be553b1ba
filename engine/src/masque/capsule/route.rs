//! Ranges of ROUTE_ADVERTISEMENT: ordered, disjoint, looked up by bisection.

use super::address::{address_len, encode_ip, read_ip};
use super::{CapsuleError, ROUTE_ADVERTISEMENT};
use crate::packet::header::{ICMP, ICMPV6};
use ipnet::IpNet;
use std::net::IpAddr;

/// Addresses `start` to `end`, both included, for one protocol or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpAddressRange {
    /// The first address.
    pub start: IpAddr,
    /// The last address, of the same version.
    pub end: IpAddr,
    /// The protocol above IP; 0: all. ICMP may always travel.
    pub protocol: u8,
}

/// Why ranges are no valid advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The range is upside down, or its ends are of two IP versions.
    #[error("range {at} starts behind its end or mixes IP versions")]
    UpsideDown {
        /// Its place in the list.
        at: usize,
    },
    /// The range belongs before the one that precedes it, or both share addresses.
    #[error("range {at} is not behind the one before it: versions, then protocols, then addresses must ascend")]
    Order {
        /// Its place in the list.
        at: usize,
    },
    /// A range for all protocols and one for a single protocol share addresses.
    #[error("range {at}, for one protocol, overlaps a range for all protocols")]
    Overlap {
        /// The place of the one for a single protocol.
        at: usize,
    },
}

impl IpAddressRange {
    /// All of a prefix.
    #[must_use]
    pub fn from_prefix(prefix: IpNet, protocol: u8) -> Self {
        Self { start: prefix.network(), end: prefix.broadcast(), protocol }
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.start <= address && address <= self.end
    }

    /// `IpAddr` orders IPv4 before IPv6.
    fn order(&self) -> (bool, u8, IpAddr) {
        (self.start.is_ipv6(), self.protocol, self.start)
    }

    pub(super) fn encoded_len(&self) -> usize {
        if self.start.is_ipv4() { 10 } else { 34 }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        encode_ip(self.start, true, out);
        encode_ip(self.end, false, out);
        out.push(self.protocol);
    }
}

/// Ranges in the order of RFC 9484 section 4.7.3, none overlapping another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes(Vec<IpAddressRange>);

impl Routes {
    /// Ranges that are already in order.
    ///
    /// # Errors
    /// The first rule they break, and where.
    pub fn new(ranges: Vec<IpAddressRange>) -> Result<Self, RouteError> {
        for (at, range) in ranges.iter().enumerate() {
            follows(at.checked_sub(1).and_then(|before| ranges.get(before)), range, at)?;
        }
        let routes = Self(ranges);
        for (at, range) in routes.0.iter().enumerate().filter(|(_, range)| range.protocol != 0) {
            if routes.overlaps_all_protocols(range) {
                return Err(RouteError::Overlap { at });
            }
        }
        Ok(routes)
    }

    /// Any ranges, put in order: what overlaps or touches within a protocol is merged, what a range for all protocols
    /// covers is taken out of the others. Ranges that are upside down are left out.
    #[must_use]
    pub fn normalised(ranges: impl IntoIterator<Item = IpAddressRange>) -> Self {
        let mut sorted: Vec<_> = ranges
            .into_iter()
            .filter(|range| range.start.is_ipv4() == range.end.is_ipv4() && range.start <= range.end)
            .collect();
        sorted.sort_by_key(IpAddressRange::order);
        let mut merged: Vec<IpAddressRange> = Vec::new();
        for range in sorted {
            let joins = |last: &&mut IpAddressRange| {
                (last.start.is_ipv4(), last.protocol) == (range.start.is_ipv4(), range.protocol)
                    && (range.start <= last.end || successor(last.end) == Some(range.start))
            };
            match merged.last_mut().filter(joins) {
                Some(last) => last.end = last.end.max(range.end),
                None => merged.push(range),
            }
        }
        let (all, single): (Vec<_>, Vec<_>) = merged.into_iter().partition(|range| range.protocol == 0);
        let mut out = all.clone();
        single.into_iter().for_each(|range| cut(range, &all, &mut out));
        out.sort_by_key(IpAddressRange::order);
        Self(out)
    }

    /// The parts of these ranges that lie in `prefixes`.
    #[must_use]
    pub fn within(&self, prefixes: &[IpNet]) -> Self {
        let parts = self.0.iter().flat_map(|range| {
            prefixes.iter().filter_map(|prefix| {
                let (start, end) = (range.start.max(prefix.network()), range.end.min(prefix.broadcast()));
                let same = range.start.is_ipv4() == prefix.addr().is_ipv4();
                (same && start <= end).then_some(IpAddressRange { start, end, protocol: range.protocol })
            })
        });
        Self::normalised(parts)
    }

    /// The ranges in order.
    #[must_use]
    pub fn ranges(&self) -> &[IpAddressRange] {
        &self.0
    }

    /// True when a packet of `protocol` to `address` may be sent. ICMP may go wherever any protocol may.
    #[must_use]
    pub fn contains(&self, address: IpAddr, protocol: u8) -> bool {
        if matches!(protocol, ICMP | ICMPV6) {
            return self.0.iter().any(|range| range.contains(address));
        }
        self.find(address, 0) || (protocol != 0 && self.find(address, protocol))
    }

    fn find(&self, address: IpAddr, protocol: u8) -> bool {
        let behind = self.0.partition_point(|range| range.order() <= (address.is_ipv6(), protocol, address));
        let candidate = behind.checked_sub(1).and_then(|at| self.0.get(at));
        candidate.is_some_and(|range| range.protocol == protocol && range.contains(address))
    }

    fn overlaps_all_protocols(&self, range: &IpAddressRange) -> bool {
        let behind = self.0.partition_point(|other| other.order() <= (range.end.is_ipv6(), 0, range.end));
        let candidate = behind.checked_sub(1).and_then(|at| self.0.get(at));
        candidate.is_some_and(|other| {
            other.protocol == 0 && other.start.is_ipv4() == range.start.is_ipv4() && other.end >= range.start
        })
    }
}

/// Checks the place of `range` behind `before`.
pub(super) fn follows(before: Option<&IpAddressRange>, range: &IpAddressRange, at: usize) -> Result<(), RouteError> {
    if range.start.is_ipv4() != range.end.is_ipv4() || range.start > range.end {
        return Err(RouteError::UpsideDown { at });
    }
    let Some(before) = before else { return Ok(()) };
    let group = |range: &IpAddressRange| (range.start.is_ipv6(), range.protocol);
    if group(before) > group(range) || (group(before) == group(range) && before.end >= range.start) {
        return Err(RouteError::Order { at });
    }
    Ok(())
}

/// Appends what `all` leaves of `range`; `all` is sorted and disjoint.
fn cut(mut range: IpAddressRange, all: &[IpAddressRange], out: &mut Vec<IpAddressRange>) {
    let v4 = range.start.is_ipv4();
    for other in all.iter().filter(|other| other.start.is_ipv4() == v4) {
        if other.end < range.start || other.start > range.end {
            continue;
        }
        if let Some(end) = predecessor(other.start).filter(|end| *end >= range.start) {
            out.push(IpAddressRange { end, ..range });
        }
        match successor(other.end).filter(|start| *start <= range.end) {
            Some(start) => range.start = start,
            None => return,
        }
    }
    out.push(range);
}

fn successor(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_add(1).map(|bits| IpAddr::V4(bits.into())),
        IpAddr::V6(v6) => u128::from(v6).checked_add(1).map(|bits| IpAddr::V6(bits.into())),
    }
}

fn predecessor(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_sub(1).map(|bits| IpAddr::V4(bits.into())),
        IpAddr::V6(v6) => u128::from(v6).checked_sub(1).map(|bits| IpAddr::V6(bits.into())),
    }
}

/// How many bytes the range that starts with `bytes` takes at least; exactly, once so many are there.
pub(super) fn needed(bytes: &[u8]) -> Result<usize, CapsuleError> {
    match bytes.first() {
        None => Ok(1),
        Some(&version) => Ok(2 + 2 * address_len(ROUTE_ADVERTISEMENT, version)?),
    }
}

/// Reads one range, which is as long as [`needed`] says.
pub(super) fn read(bytes: &[u8]) -> Result<IpAddressRange, CapsuleError> {
    let truncated = CapsuleError::Truncated { kind: ROUTE_ADVERTISEMENT, got: bytes.len() };
    let (_, rest) = bytes.split_first().ok_or(truncated)?;
    let (&protocol, ends) = rest.split_last().ok_or(truncated)?;
    let (start, end) = ends.split_at(ends.len() / 2);
    match (read_ip(start), read_ip(end)) {
        (Some(start), Some(end)) => Ok(IpAddressRange { start, end, protocol }),
        _ => Err(truncated),
    }
}
