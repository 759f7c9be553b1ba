//! Finds the first of many clauses that holds for a flow, without asking each.
//!
//! Clauses stand in groups by the address set that they name (the rarer one, of two), and every distinct set is in the
//! line of addresses once, however many clauses name it. Inside a group of more than a few dozen, clauses are found by
//! protocol and destination port. Source ports, and the second of two address sets, are asked one clause at a time.

use super::AddressSet;
use super::address_set::Address;
use super::clause::{Asked, Compiled};
use super::stab::Stab;
use crate::packet::header::{TCP, UDP};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Groups of up to this many port ranges are asked one by one: twelve bytes each, side by side.
const FEW: usize = 64;

/// For TCP, for UDP, for other protocols.
const OF_TCP: u8 = 1;
const OF_UDP: u8 = 2;
const OF_OTHERS: u8 = 4;
/// Protocol and port are all that is left to ask.
const SETTLED: u8 = 8;

/// Clauses by what they ask of a flow. They are named by their number, lower ones come first.
#[derive(Debug)]
pub(super) struct Index {
    anywhere: Group,
    by_destination: Sets,
    by_source: Sets,
}

/// Groups by the set that their clauses name.
#[derive(Debug)]
struct Sets {
    v4: Stab<u32>,
    v6: Stab<u128>,
    /// In the order of their first clauses.
    groups: Vec<Group>,
}

/// Clauses that share their address set.
#[derive(Debug)]
struct Group {
    /// The first of them.
    first: u32,
    clauses: Clauses,
}

#[derive(Debug)]
enum Clauses {
    Few(Box<[Quick]>),
    Many(Box<Lanes>),
}

/// What a look at a clause's protocols and one of its ranges of destination ports takes.
#[derive(Debug)]
struct Quick {
    number: u32,
    ports: (u16, u16),
    asks: u8,
}

/// Clauses by protocol and port.
#[derive(Debug)]
struct Lanes {
    tcp: Stab<u16>,
    udp: Stab<u16>,
    /// By protocol number: those without ports.
    other: Stab<u16>,
}

impl Index {
    /// Of the clauses in `numbers`, in ascending order.
    pub(super) fn new(clauses: &[Compiled], numbers: &[u32]) -> Self {
        let (mut destinations, mut sources) = (Named::default(), Named::default());
        for &number in numbers {
            let clause = &clauses[number as usize];
            clause.destinations.as_ref().inspect(|set| destinations.count(set));
            clause.sources.as_ref().inspect(|set| sources.count(set));
        }
        let mut anywhere = Vec::new();
        for &number in numbers {
            let clause = &clauses[number as usize];
            match (&clause.destinations, &clause.sources) {
                (None, None) => anywhere.push(number),
                (Some(destination), None) => destinations.add(destination, number),
                (None, Some(source)) => sources.add(source, number),
                (Some(destination), Some(source)) => {
                    if destinations.namings(destination) <= sources.namings(source) {
                        destinations.add(destination, number);
                    } else {
                        sources.add(source, number);
                    }
                }
            }
        }
        Self {
            anywhere: Group::new(clauses, anywhere, Side::Neither),
            by_destination: destinations.finish(clauses, Side::Destination),
            by_source: sources.finish(clauses, Side::Source),
        }
    }

    /// The first clause below `best` that holds, or `best`.
    #[inline]
    pub(super) fn first(&self, clauses: &[Compiled], asked: &Asked, best: u32) -> u32 {
        let best = self.anywhere.first(clauses, asked, best);
        let best = self.by_destination.first(clauses, asked.destination, asked, best);
        self.by_source.first(clauses, asked.source, asked, best)
    }
}

impl Sets {
    #[inline]
    fn first(&self, clauses: &[Compiled], address: Address, asked: &Asked, mut best: u32) -> u32 {
        let mut ask = |numbers: &[u32]| {
            for &number in numbers {
                let group = &self.groups[number as usize];
                if group.first >= best {
                    break;
                }
                best = group.first(clauses, asked, best);
            }
        };
        match address {
            Address::V4(v4) => self.v4.around(v4).for_each(&mut ask),
            Address::V6(v6) => self.v6.around(v6).for_each(&mut ask),
        }
        best
    }
}

/// Which address set a group's clauses share.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Neither,
    Destination,
    Source,
}

impl Group {
    fn new(clauses: &[Compiled], numbers: Vec<u32>, side: Side) -> Self {
        let first = numbers.first().copied().unwrap_or(u32::MAX);
        if numbers.len() <= FEW {
            let clause = |&number: &u32| Quick::of(number, &clauses[number as usize], side);
            let few: Vec<Quick> = numbers.iter().flat_map(clause).collect();
            if few.len() <= FEW {
                return Self { first, clauses: Clauses::Few(few.into_boxed_slice()) };
            }
        }
        let numbers = || numbers.iter().map(|&number| (number, &clauses[number as usize]));
        let lane = |protocol: u8| {
            let mut ranges = Vec::new();
            for (number, clause) in numbers().filter(|(_, clause)| clause.takes(protocol)) {
                match &clause.destination_ports {
                    None => ranges.push((0, u16::MAX, number)),
                    Some(ports) => ranges.extend(ports.iter().map(|&(first, last)| (first, last, number))),
                }
            }
            Stab::new(&ranges, |number| clauses[number as usize].is_settled(side))
        };
        let mut other = Vec::new();
        for (number, clause) in numbers() {
            if clause.destination_ports.is_some() || clause.source_ports.is_some() {
                continue;
            }
            if clause.protocols.is_empty() {
                other.push((0, 255, number));
            }
            other.extend(clause.protocols.iter().map(|&protocol| (protocol.into(), protocol.into(), number)));
        }
        let other = Stab::new(&other, |number| clauses[number as usize].is_settled(side));
        Self { first, clauses: Clauses::Many(Box::new(Lanes { tcp: lane(TCP), udp: lane(UDP), other })) }
    }

    fn first(&self, clauses: &[Compiled], asked: &Asked, mut best: u32) -> u32 {
        let lanes = match &self.clauses {
            Clauses::Few(few) => {
                let (bit, port) = match (asked.protocol, asked.ports) {
                    (TCP, Some((_, port))) => (OF_TCP, port),
                    (UDP, Some((_, port))) => (OF_UDP, port),
                    _ => (OF_OTHERS, 0),
                };
                let holds = |quick: &&Quick| {
                    quick.asks & bit != 0
                        && (quick.ports.0..=quick.ports.1).contains(&port)
                        && (quick.asks & SETTLED != 0 && bit != OF_OTHERS
                            || clauses[quick.number as usize].matches(asked))
                };
                let mut candidates = few.iter().take_while(|quick| quick.number < best);
                return candidates.find(holds).map_or(best, |quick| quick.number);
            }
            Clauses::Many(lanes) => lanes,
        };
        let first_of = |numbers: &[u32], best: u32| {
            let mut candidates = numbers.iter().copied().take_while(|&number| number < best);
            candidates.find(|&number| clauses[number as usize].matches(asked)).unwrap_or(best)
        };
        let (lane, point) = match (asked.protocol, asked.ports) {
            (TCP, Some((_, port))) => (&lanes.tcp, port),
            (UDP, Some((_, port))) => (&lanes.udp, port),
            (protocol, _) => (&lanes.other, protocol.into()),
        };
        for numbers in lane.around(point) {
            best = first_of(numbers, best);
        }
        best
    }
}

impl Quick {
    /// One per range of ports.
    fn of(number: u32, clause: &Compiled, side: Side) -> Vec<Self> {
        let bit = |is: bool, bit: u8| if is { bit } else { 0 };
        let portless = clause.destination_ports.is_none() && clause.source_ports.is_none();
        let asks = bit(clause.takes(TCP), OF_TCP)
            | bit(clause.takes(UDP), OF_UDP)
            | bit(portless, OF_OTHERS)
            | bit(clause.is_settled(side), SETTLED);
        let quick = |ports| Self { number, ports, asks };
        match &clause.destination_ports {
            None => vec![quick((0, u16::MAX))],
            Some(ports) => ports.iter().copied().map(quick).collect(),
        }
    }
}

impl Compiled {
    /// True when a clause that was found by its group's set, its protocol and its destination port holds for certain.
    fn is_settled(&self, side: Side) -> bool {
        self.source_ports.is_none()
            && (self.destinations.is_none() || side == Side::Destination)
            && (self.sources.is_none() || side == Side::Source)
    }
}

/// The distinct sets that clauses name on one side.
#[derive(Default)]
struct Named<'a> {
    by_pointer: BTreeMap<*const AddressSet, usize>,
    by_content: BTreeMap<&'a AddressSet, usize>,
    sets: Vec<(&'a AddressSet, usize, Vec<u32>)>,
}

impl<'a> Named<'a> {
    fn place(&mut self, set: &'a Arc<AddressSet>) -> usize {
        if let Some(&place) = self.by_pointer.get(&Arc::as_ptr(set)) {
            return place;
        }
        let next = self.sets.len();
        let place = *self.by_content.entry(set).or_insert(next);
        if place == next {
            self.sets.push((set, 0, Vec::new()));
        }
        self.by_pointer.insert(Arc::as_ptr(set), place);
        place
    }

    fn count(&mut self, set: &'a Arc<AddressSet>) {
        let place = self.place(set);
        self.sets[place].1 += 1;
    }

    fn namings(&mut self, set: &'a Arc<AddressSet>) -> usize {
        let place = self.place(set);
        self.sets[place].1
    }

    fn add(&mut self, set: &'a Arc<AddressSet>, number: u32) {
        let place = self.place(set);
        self.sets[place].2.push(number);
    }

    fn finish(mut self, clauses: &[Compiled], side: Side) -> Sets {
        self.sets.retain(|(_, _, numbers)| !numbers.is_empty());
        self.sets.sort_by_key(|(_, _, numbers)| numbers[0]);
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (group, (set, _, _)) in (0..).zip(&self.sets) {
            v4.extend(set.v4().iter().map(|&(first, last)| (first, last, group)));
            v6.extend(set.v6().iter().map(|&(first, last)| (first, last, group)));
        }
        let groups = self.sets.into_iter().map(|(_, _, numbers)| Group::new(clauses, numbers, side)).collect();
        Sets { v4: Stab::new(&v4, |_| false), v6: Stab::new(&v6, |_| false), groups }
    }
}
