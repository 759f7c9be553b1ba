//! A clause ready to be asked, and the flow that it is asked about.

use super::address_set::{Address, holds, union};
use super::payload::Test;
use super::{AddressSet, Clause};
use crate::classify::FlowKey;
use crate::packet::header::{TCP, UDP};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// A flow as clauses see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) destination: Address,
    pub(super) source: Address,
    pub(super) protocol: u8,
    /// (source, destination) of TCP and UDP.
    pub(super) ports: Option<(u16, u16)>,
}

impl Asked {
    #[inline]
    pub(super) fn of(key: &FlowKey) -> Self {
        Self {
            destination: Address::of(key.destination),
            source: Address::of(key.source),
            protocol: key.protocol,
            ports: matches!(key.protocol, TCP | UDP).then_some((key.source_port, key.destination_port)),
        }
    }
}

/// Ranges, sorted and apart from each other; `None` asks nothing.
type Ports = Option<Box<[(u16, u16)]>>;

/// A clause of a rule.
#[derive(Debug)]
pub(super) struct Compiled {
    /// The place of its rule.
    pub(super) rule: u32,
    pub(super) destinations: Option<Arc<AddressSet>>,
    pub(super) sources: Option<Arc<AddressSet>>,
    pub(super) destination_ports: Ports,
    pub(super) source_ports: Ports,
    /// Sorted; empty for any.
    pub(super) protocols: Box<[u8]>,
    /// What the flow's first bytes must tell.
    pub(super) payload: Box<[Test]>,
}

impl Compiled {
    pub(super) fn new(rule: u32, clause: &Clause, payload: Box<[Test]>) -> Self {
        let mut protocols = clause.protocols.clone();
        protocols.sort_unstable();
        protocols.dedup();
        Self {
            rule,
            destinations: clause.destinations.clone(),
            sources: clause.sources.clone(),
            destination_ports: ports(&clause.destination_ports),
            source_ports: ports(&clause.source_ports),
            protocols: protocols.into_boxed_slice(),
            payload,
        }
    }

    /// True when nothing can ever match.
    pub(super) fn is_impossible(&self) -> bool {
        let nowhere = |set: &Option<Arc<AddressSet>>| set.as_ref().is_some_and(|set| set.is_empty());
        let no_port = |ports: &Ports| ports.as_ref().is_some_and(|ports| ports.is_empty());
        nowhere(&self.destinations)
            || nowhere(&self.sources)
            || no_port(&self.destination_ports)
            || no_port(&self.source_ports)
    }

    /// True when every condition but the payload's holds.
    #[inline]
    pub(super) fn matches(&self, asked: &Asked) -> bool {
        self.takes(asked.protocol)
            && self.ports_match(asked)
            && self.destinations.as_ref().is_none_or(|set| set.holds(asked.destination))
            && self.sources.as_ref().is_none_or(|set| set.holds(asked.source))
    }

    /// True when the clause is for `protocol`, as far as its protocols say.
    #[inline]
    pub(super) fn takes(&self, protocol: u8) -> bool {
        self.protocols.is_empty() || self.protocols.binary_search(&protocol).is_ok()
    }

    fn ports_match(&self, asked: &Asked) -> bool {
        match (&self.source_ports, &self.destination_ports, asked.ports) {
            (None, None, _) => true,
            (_, _, None) => false,
            (sources, destinations, Some((source, destination))) => {
                sources.as_ref().is_none_or(|ports| holds(ports, source))
                    && destinations.as_ref().is_none_or(|ports| holds(ports, destination))
            }
        }
    }
}

fn ports(ranges: &[RangeInclusive<u16>]) -> Ports {
    let pairs = ranges.iter().map(|range| (*range.start(), *range.end())).collect();
    (!ranges.is_empty()).then(|| union(pairs).into_boxed_slice())
}
