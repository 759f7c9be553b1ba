//! Traffic expressions, unfolded to clauses: what the engine and the devices are given.
//!
//! A clause joins conditions by `and`, a rule its clauses by `or`. `not` goes down to the comparisons (De Morgan), where
//! it turns a set of addresses, ports or protocols inside out, or negates the look at a flow's first bytes.

use super::addresses::Addresses;
use super::language::{Comparison, Expression, Field, RuleError, Test, values};
use super::matching::compares;
use super::{List, Lists, ONRAMP, VIRTUAL_NETWORK};
use std::sync::Arc;
use vestibule_engine::packet::header::{TCP, UDP};
use vestibule_engine::policy::{AddressSet, Payload, PayloadTest};

/// Most clauses of one rule.
pub(super) const MAX_CLAUSES: usize = 256;
/// Most work for one rule, in ranges and clauses looked at: some tens of milliseconds.
const MAX_WORK: usize = 2_000_000;

/// A port range, both ends in it.
pub(super) type Ports = (u16, u16);

/// Conditions of which all must hold; `None` asks nothing, an empty set matches nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Clause {
    pub(super) destinations: Option<Place>,
    pub(super) sources: Option<Place>,
    pub(super) destination_ports: Option<Vec<Ports>>,
    pub(super) source_ports: Option<Vec<Ports>>,
    pub(super) protocols: Option<Protocols>,
    pub(super) payload: Vec<PayloadTest>,
}

/// A set of addresses, ready for the engine, and where it is from.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) set: Arc<AddressSet>,
    pub(super) origin: Origin,
}

/// Where a set of addresses is from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// A list, or all that is not in it. One set serves all rules that name it.
    List {
        list: Arc<List>,
        outside: bool,
    },
    Own(Arc<Addresses>),
}

/// One bit for each IP protocol number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Protocols([u64; 4]);

impl Protocols {
    fn of(numbers: &[u8]) -> Self {
        let mut bits = [0; 4];
        for number in numbers {
            bits[usize::from(number / 64)] |= 1 << (number % 64);
        }
        Self(bits)
    }

    fn with(self, other: Self, join: impl Fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|at| join(self.0[at], other.0[at])))
    }

    fn complement(self) -> Self {
        Self(self.0.map(|bits| !bits))
    }

    pub(super) fn numbers(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |number| self.0[usize::from(number / 64)] >> (number % 64) & 1 == 1)
    }
}

impl Place {
    fn own(addresses: Addresses) -> Self {
        let set = Arc::new(AddressSet::new(addresses.nets()));
        Self { set, origin: Origin::Own(Arc::new(addresses)) }
    }

    fn list(list: &Arc<List>, outside: bool) -> Self {
        let set = if outside { list.outside() } else { list.set() };
        Self { set, origin: Origin::List { list: Arc::clone(list), outside } }
    }

    fn addresses(&self) -> Addresses {
        match &self.origin {
            Origin::Own(addresses) => Addresses::clone(addresses),
            Origin::List { list, outside: false } => list.addresses().clone(),
            Origin::List { list, outside: true } => list.addresses().complement(),
        }
    }

    fn size(&self) -> usize {
        match &self.origin {
            Origin::Own(addresses) => addresses.len(),
            Origin::List { list, .. } => list.addresses().len(),
        }
    }
}

/// The clauses of an expression, any of which makes it true; none when nothing can.
pub(super) fn unfold(expression: &Expression, lists: &Lists) -> Result<Vec<Clause>, RuleError> {
    Unfolding { lists, work: 0 }.clauses(expression, false)
}

struct Unfolding<'a> {
    lists: &'a Lists,
    work: usize,
}

impl Unfolding<'_> {
    fn spend(&mut self, work: usize) -> Result<(), RuleError> {
        self.work += work;
        if self.work > MAX_WORK { Err(RuleError::TooComplex { limit: MAX_CLAUSES }) } else { Ok(()) }
    }

    fn clauses(&mut self, expression: &Expression, negated: bool) -> Result<Vec<Clause>, RuleError> {
        match expression {
            Expression::Test(test) => self.test(test, negated),
            Expression::Not(inner) => self.clauses(inner, !negated),
            Expression::All(parts) if !negated => self.all(parts, negated),
            Expression::Any(parts) if negated => self.all(parts, negated),
            Expression::All(parts) | Expression::Any(parts) => {
                let mut out = Vec::new();
                for part in parts {
                    let more = self.clauses(part, negated)?;
                    self.union(&mut out, more)?;
                }
                Ok(out)
            }
            Expression::Xor(a, b) => {
                let mut out = Vec::new();
                for (a_negated, b_negated) in [(false, !negated), (true, negated)] {
                    let (left, right) = (self.clauses(a, a_negated)?, self.clauses(b, b_negated)?);
                    let both = self.product(left, &right)?;
                    self.union(&mut out, both)?;
                }
                Ok(out)
            }
        }
    }

    fn all(&mut self, parts: &[Expression], negated: bool) -> Result<Vec<Clause>, RuleError> {
        let mut out = vec![Clause::default()];
        for part in parts {
            let more = self.clauses(part, negated)?;
            out = self.product(out, &more)?;
        }
        Ok(out)
    }

    fn union(&mut self, out: &mut Vec<Clause>, more: Vec<Clause>) -> Result<(), RuleError> {
        for clause in more {
            self.spend(1 + out.len())?;
            let mut absorbed = false;
            for known in out.iter_mut() {
                if let Some(work) = known.absorb(&clause) {
                    self.spend(work)?;
                    absorbed = true;
                    break;
                }
            }
            if !absorbed {
                out.push(clause);
            }
        }
        if out.len() > MAX_CLAUSES { Err(RuleError::TooComplex { limit: MAX_CLAUSES }) } else { Ok(()) }
    }

    fn product(&mut self, left: Vec<Clause>, right: &[Clause]) -> Result<Vec<Clause>, RuleError> {
        let mut out = Vec::new();
        for a in &left {
            for b in right {
                self.spend(a.size() + b.size())?;
                out.extend(a.and(b));
                if out.len() > MAX_CLAUSES {
                    return Err(RuleError::TooComplex { limit: MAX_CLAUSES });
                }
            }
        }
        Ok(out)
    }

    fn test(&mut self, test: &Test, negated: bool) -> Result<Vec<Clause>, RuleError> {
        self.spend(1)?;
        let constant = |value: &str| {
            let holds = compares(test, value, self.lists) != negated;
            Ok(if holds { vec![Clause::default()] } else { Vec::new() })
        };
        match test.field {
            Field::VirtualNetwork => return constant(VIRTUAL_NETWORK),
            Field::Onramp => return constant(ONRAMP),
            _ => {}
        }
        let place = |place| {
            let destinations = matches!(test.field, Field::Destination);
            let (destinations, sources) = if destinations { (Some(place), None) } else { (None, Some(place)) };
            Clause { destinations, sources, ..Clause::default() }
        };
        let payload = |test| Clause { payload: vec![PayloadTest { negated, test }], ..Clause::default() };
        let domains = test.field == Field::SniDomains;
        let names = |names| if domains { Payload::SniDomain(names) } else { Payload::SniHost(names) };
        let clause = match &test.comparison {
            Comparison::Addresses(set) if negated => place(Place::own(set.complement())),
            Comparison::Addresses(set) => place(Place::own(Addresses::clone(set))),
            Comparison::Ports(ranges) => return Ok(ported(test, ranges, negated)),
            Comparison::Protocols(numbers) => {
                let set = Protocols::of(numbers);
                let protocols = Some(if negated { set.complement() } else { set });
                Clause { protocols, ..Clause::default() }
            }
            Comparison::Detected(kinds) => payload(Payload::Detected(kinds.clone())),
            Comparison::Texts(texts) => payload(names(texts.clone())),
            Comparison::Matches(pattern) => payload(Payload::SniMatches(Arc::clone(&pattern.regex))),
            Comparison::Contains(part) => {
                let finding = values::regex(&values::literal(part), true);
                let finding = finding.map_err(|_| RuleError::TooComplex { limit: MAX_CLAUSES })?;
                payload(Payload::SniMatches(Arc::new(finding)))
            }
            Comparison::List { column, id } => {
                let list =
                    self.lists.get(id).ok_or_else(|| RuleError::UnknownList { column: *column, id: id.clone() })?;
                match test.field {
                    Field::Destination | Field::Source => place(Place::list(list, negated)),
                    // Nothing is in an empty list, whatever the first bytes tell.
                    _ if list.is_empty() => return Ok(if negated { vec![Clause::default()] } else { Vec::new() }),
                    _ => payload(names(list.sorted_texts())),
                }
            }
            // No selector of flows is compared with versions.
            Comparison::Version(..) => return Ok(Vec::new()),
        };
        Ok(if clause.is_impossible() { Vec::new() } else { vec![clause] })
    }
}

/// Only TCP and UDP have ports: what has none is not at a port, and so is at "not this port".
fn ported(test: &Test, ranges: &[Ports], negated: bool) -> Vec<Clause> {
    let ranges = if negated { other_ports(ranges) } else { joined(ranges.to_vec()) };
    let mut out = Vec::new();
    if !ranges.is_empty() {
        let mut clause = Clause::default();
        if test.field == Field::DestinationPort {
            clause.destination_ports = Some(ranges);
        } else {
            clause.source_ports = Some(ranges);
        }
        out.push(clause);
    }
    if negated {
        let portless = Protocols::of(&[TCP, UDP]).complement();
        out.push(Clause { protocols: Some(portless), ..Clause::default() });
    }
    out
}

/// Sorted, neighbours in one.
fn joined(mut ranges: Vec<Ports>) -> Vec<Ports> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let joins = next.0 <= kept.1.saturating_add(1);
        if joins {
            kept.1 = kept.1.max(next.1);
        }
        joins
    });
    ranges
}

fn other_ports(ranges: &[Ports]) -> Vec<Ports> {
    let mut out = Vec::new();
    let mut next = Some(0);
    for (from, to) in joined(ranges.to_vec()) {
        if let Some(first) = next.filter(|&first| first < from) {
            out.push((first, from - 1));
        }
        next = to.checked_add(1);
    }
    out.extend(next.map(|first| (first, u16::MAX)));
    out
}

impl Clause {
    /// Both at once; `None` when no flow can satisfy both.
    fn and(&self, other: &Self) -> Option<Self> {
        let place = |a: &Option<Place>, b: &Option<Place>| match (a, b) {
            (Some(a), Some(b)) if Arc::ptr_eq(&a.set, &b.set) => Some(a.clone()),
            (Some(a), Some(b)) => Some(Place::own(a.addresses().intersection(&b.addresses()))),
            (one, other) => one.clone().or_else(|| other.clone()),
        };
        let ports = |a: &Option<Vec<Ports>>, b: &Option<Vec<Ports>>| match (a, b) {
            (Some(a), Some(b)) => {
                let each = a.iter().flat_map(|x| b.iter().map(|y| (x.0.max(y.0), x.1.min(y.1))));
                Some(joined(each.filter(|(from, to)| from <= to).collect()))
            }
            (one, other) => one.clone().or_else(|| other.clone()),
        };
        let protocols = match (self.protocols, other.protocols) {
            (Some(a), Some(b)) => Some(a.with(b, |a, b| a & b)),
            (one, other) => one.or(other),
        };
        let both = Self {
            destinations: place(&self.destinations, &other.destinations),
            sources: place(&self.sources, &other.sources),
            destination_ports: ports(&self.destination_ports, &other.destination_ports),
            source_ports: ports(&self.source_ports, &other.source_ports),
            protocols,
            payload: self.payload.iter().chain(&other.payload).cloned().collect(),
        };
        (!both.is_impossible()).then_some(both)
    }

    /// Takes in `other` when both ask about the same single thing, so that their union is exact. Lists stay whole, for
    /// all to share. The work that it was.
    fn absorb(&mut self, other: &Self) -> Option<usize> {
        if self.asks() != other.asks() {
            return None;
        }
        let work = self.size() + other.size();
        match (self.asks(), self, other) {
            (Asks::DESTINATIONS, Self { destinations: Some(mine), .. }, Self { destinations: Some(more), .. })
            | (Asks::SOURCES, Self { sources: Some(mine), .. }, Self { sources: Some(more), .. }) => {
                let (Origin::Own(a), Origin::Own(b)) = (&mine.origin, &more.origin) else { return None };
                let mut all = Addresses::clone(a);
                all.extend(b);
                *mine = Place::own(all.normalised());
            }
            (
                Asks::DESTINATION_PORTS,
                Self { destination_ports: Some(mine), .. },
                Self { destination_ports: Some(more), .. },
            )
            | (Asks::SOURCE_PORTS, Self { source_ports: Some(mine), .. }, Self { source_ports: Some(more), .. }) => {
                mine.extend(more);
                *mine = joined(std::mem::take(mine));
            }
            (Asks::PROTOCOLS, Self { protocols: Some(mine), .. }, Self { protocols: Some(more), .. }) => {
                *mine = mine.with(*more, |a, b| a | b);
            }
            _ => return None,
        }
        Some(work)
    }

    /// What it asks about.
    fn asks(&self) -> Asks {
        let bit = |asked: bool, bit: Asks| if asked { bit.0 } else { 0 };
        Asks(
            bit(self.destinations.is_some(), Asks::DESTINATIONS)
                | bit(self.sources.is_some(), Asks::SOURCES)
                | bit(self.destination_ports.is_some(), Asks::DESTINATION_PORTS)
                | bit(self.source_ports.is_some(), Asks::SOURCE_PORTS)
                | bit(self.protocols.is_some(), Asks::PROTOCOLS)
                | bit(!self.payload.is_empty(), Asks::PAYLOAD),
        )
    }

    fn size(&self) -> usize {
        let places = [&self.destinations, &self.sources].into_iter().flatten();
        1 + places.map(Place::size).sum::<usize>() + self.payload.len()
    }

    /// True when one of its sets is empty: nothing is in it.
    fn is_impossible(&self) -> bool {
        let nowhere = |place: &Option<Place>| place.as_ref().is_some_and(|place| place.set.is_empty());
        nowhere(&self.destinations)
            || nowhere(&self.sources)
            || self.destination_ports.as_ref().is_some_and(Vec::is_empty)
            || self.source_ports.as_ref().is_some_and(Vec::is_empty)
            || self.protocols.is_some_and(|protocols| protocols == Protocols::of(&[]))
    }
}

/// A bit for each thing that a clause asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asks(u8);

impl Asks {
    const DESTINATIONS: Self = Self(1);
    const SOURCES: Self = Self(2);
    const DESTINATION_PORTS: Self = Self(4);
    const SOURCE_PORTS: Self = Self(8);
    const PROTOCOLS: Self = Self(16);
    const PAYLOAD: Self = Self(32);
}
