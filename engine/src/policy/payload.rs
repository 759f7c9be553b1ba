//! Clauses that ask for what a flow's first bytes tell, found by what they ask for.

use super::clause::{Asked, Compiled};
use super::{Detected, Payload, PayloadTest};
use crate::classify::Extracted;
use regex::Regex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A test, its names replaced by the number of their list.
#[derive(Debug)]
pub(super) struct Test {
    negated: bool,
    asks: Asks,
}

#[derive(Debug)]
enum Asks {
    Host(u32),
    Domain(u32),
    Matches(Arc<Regex>),
    /// One bit per protocol.
    Detected(u16),
}

/// Distinct lists of names.
#[derive(Debug, Default)]
struct Names {
    /// (name, a list that holds it), sorted.
    sorted: Box<[(Box<str>, u32)]>,
    /// The clauses that ask for a name of the list, by list; in ascending order.
    clauses: Vec<Vec<u32>>,
}

/// All clauses with payload tests, each in the first of these places that it fits.
#[derive(Debug, Default)]
pub(super) struct PayloadClauses {
    hosts: Names,
    domains: Names,
    by_protocol: [Vec<u32>; Detected::ALL.len()],
    rest: Vec<u32>,
}

/// The lists that hold a flow's server name.
#[derive(Debug)]
struct Held {
    hosts: Vec<u32>,
    domains: Vec<u32>,
}

/// Collects tests while clauses are compiled.
#[derive(Default)]
pub(super) struct Collector<'a> {
    hosts: BTreeMap<&'a [String], u32>,
    domains: BTreeMap<&'a [String], u32>,
}

impl<'a> Collector<'a> {
    pub(super) fn tests(&mut self, tests: &'a [PayloadTest]) -> Box<[Test]> {
        let number = |lists: &mut BTreeMap<&'a [String], u32>, names: &'a [String]| {
            let next = lists.len() as u32;
            *lists.entry(names).or_insert(next)
        };
        let test = |test: &'a PayloadTest| {
            let asks = match &test.test {
                Payload::SniHost(names) => Asks::Host(number(&mut self.hosts, names)),
                Payload::SniDomain(names) => Asks::Domain(number(&mut self.domains, names)),
                Payload::SniMatches(regex) => Asks::Matches(Arc::clone(regex)),
                Payload::Detected(protocols) => Asks::Detected(protocols.iter().fold(0, |bits, p| bits | bit(*p))),
            };
            Test { negated: test.negated, asks }
        };
        tests.iter().map(test).collect()
    }

    /// Puts the clauses in `numbers`, in ascending order, in their places.
    pub(super) fn finish(self, clauses: &[Compiled], numbers: &[u32]) -> PayloadClauses {
        let mut all = PayloadClauses {
            hosts: Names::new(&self.hosts),
            domains: Names::new(&self.domains),
            ..PayloadClauses::default()
        };
        for &number in numbers {
            let asked = || clauses[number as usize].payload.iter().filter(|test| !test.negated).map(|test| &test.asks);
            let of_list = match asked().find(|asks| matches!(asks, Asks::Host(_) | Asks::Domain(_))) {
                Some(Asks::Host(list)) => all.hosts.clauses.get_mut(*list as usize),
                Some(Asks::Domain(list)) => all.domains.clauses.get_mut(*list as usize),
                _ => None,
            };
            if let Some(of_list) = of_list {
                of_list.push(number);
                continue;
            }
            let Some(Asks::Detected(bits)) = asked().find(|asks| matches!(asks, Asks::Detected(_))) else {
                all.rest.push(number);
                continue;
            };
            for (_, of_protocol) in (0..).zip(&mut all.by_protocol).filter(|(place, _)| bits >> place & 1 == 1) {
                of_protocol.push(number);
            }
        }
        all
    }
}

impl PayloadClauses {
    /// The first clause below `best` that holds, or `best`.
    pub(super) fn first(&self, clauses: &[Compiled], asked: &Asked, extracted: &Extracted, best: u32) -> u32 {
        let held = Held {
            hosts: extracted.server_name.iter().flat_map(|name| self.hosts.holding(name)).collect(),
            domains: extracted
                .server_name
                .iter()
                .flat_map(|name| domains(name))
                .flat_map(|name| self.domains.holding(name))
                .collect(),
        };
        let first_of = |best: u32, numbers: &Vec<u32>| {
            let mut candidates = numbers.iter().copied().take_while(|&number| number < best);
            let holds = |&number: &u32| {
                let clause = &clauses[number as usize];
                clause.matches(asked) && clause.payload.iter().all(|test| test.holds(extracted, &held))
            };
            candidates.find(holds).unwrap_or(best)
        };
        let by_protocol = extracted.protocol.map(|protocol| &self.by_protocol[protocol as usize]);
        let of_hosts = held.hosts.iter().map(|list| &self.hosts.clauses[*list as usize]);
        let of_domains = held.domains.iter().map(|list| &self.domains.clauses[*list as usize]);
        by_protocol.into_iter().chain(of_hosts).chain(of_domains).chain([&self.rest]).fold(best, first_of)
    }
}

impl Names {
    fn new(lists: &BTreeMap<&[String], u32>) -> Self {
        let pairs = lists.iter().flat_map(|(names, list)| names.iter().map(|name| (name.as_str().into(), *list)));
        let mut sorted: Vec<(Box<str>, u32)> = pairs.collect();
        sorted.sort_unstable();
        sorted.dedup();
        Self { sorted: sorted.into_boxed_slice(), clauses: vec![Vec::new(); lists.len()] }
    }

    fn holding<'a>(&'a self, name: &'a str) -> impl Iterator<Item = u32> + 'a {
        let from = self.sorted.partition_point(|(held, _)| **held < *name);
        self.sorted[from..].iter().take_while(move |(held, _)| **held == *name).map(|(_, list)| *list)
    }
}

impl Test {
    fn holds(&self, extracted: &Extracted, held: &Held) -> bool {
        let holds = match &self.asks {
            Asks::Host(list) => held.hosts.contains(list),
            Asks::Domain(list) => held.domains.contains(list),
            Asks::Matches(regex) => extracted.server_name.as_deref().is_some_and(|name| regex.is_match(name)),
            Asks::Detected(bits) => extracted.protocol.is_some_and(|protocol| bits & bit(protocol) != 0),
        };
        holds != self.negated
    }
}

fn bit(protocol: Detected) -> u16 {
    1 << protocol as u16
}

/// A name, and each that it lies below.
fn domains(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, above)| above))
}
