//! The compiled rules of one identity: which flows may pass.

mod prefixes;
#[cfg(test)]
mod tests;

use crate::classify::FlowKey;
use crate::packet::header::{TCP, UDP};
use ipnet::IpNet;
use prefixes::{Prefixes, canonical};
use std::ops::RangeInclusive;

/// What a rule or the default does with a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Let it pass.
    Allow,
    /// Refuse it with an answer.
    Block,
}

/// One rule; an empty list matches everything. Rules are asked in order, the first match wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The caller's id, reported with the verdict.
    pub id: u32,
    /// Destination prefixes. `0.0.0.0/0` is all of IPv4 and nothing of IPv6, `::/0` the reverse. An IPv4-mapped IPv6
    /// address or prefix (`::ffff:10.0.0.0/104`) is the IPv4 one.
    pub destinations: Vec<IpNet>,
    /// Destination ports (TCP and UDP only; a rule with ports never matches other protocols).
    pub ports: Vec<RangeInclusive<u16>>,
    /// IP protocol numbers.
    pub protocols: Vec<u8>,
    /// What to do on a match.
    pub action: Action,
}

/// A policy's answer for one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Allow or block.
    pub action: Action,
    /// The rule that decided, or `None` for the default.
    pub rule: Option<u32>,
}

/// An immutable, compiled rule list with its default action.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<Compiled>,
    /// Rules without destinations.
    anywhere: Vec<u32>,
    v4: Prefixes,
    v6: Prefixes,
    default: Action,
}

/// A rule without its destinations, which are in [`Prefixes`].
#[derive(Debug)]
struct Compiled {
    id: u32,
    action: Action,
    /// One bit per protocol number.
    protocols: [u64; 4],
    /// Sorted, apart from each other. Empty for a rule without ports.
    ports: Vec<(u16, u16)>,
    any_port: bool,
}

impl Policy {
    /// Compiles `rules`, asked in order; `default` answers when none matches.
    #[must_use]
    pub fn compile(rules: Vec<Rule>, default: Action) -> Self {
        let mut anywhere = Vec::new();
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (number, rule) in (0u32..).zip(&rules) {
            if rule.destinations.is_empty() {
                anywhere.push(number);
            }
            for destination in &rule.destinations {
                match prefixes::range(destination) {
                    (true, range) => v4.push((range, number)),
                    (false, range) => v6.push((range, number)),
                }
            }
        }
        let rules = rules.into_iter().map(Compiled::new).collect();
        Self { rules, anywhere, v4: Prefixes::new(v4), v6: Prefixes::new(v6), default }
    }

    /// The answer for a flow opened towards `key.destination`.
    ///
    /// Asked once per flow and epoch. Costs a binary search over the prefixes, then a look at the rules of each
    /// prefix that encloses the destination, in order and none behind the best match so far.
    #[must_use]
    pub fn verdict(&self, key: &FlowKey) -> Verdict {
        let (is_v4, destination) = canonical(key.destination);
        let prefixes = if is_v4 { &self.v4 } else { &self.v6 };
        let mut best = self.first_match(&self.anywhere, u32::MAX, key);
        for rules in prefixes.enclosing(destination) {
            best = self.first_match(rules, best, key);
        }
        match self.rules.get(best as usize) {
            Some(rule) => Verdict { action: rule.action, rule: Some(rule.id) },
            None => Verdict { action: self.default, rule: None },
        }
    }

    /// The first of `rules` (in order) that matches the key's protocol and port, or `best` if that comes before.
    fn first_match(&self, rules: &[u32], best: u32, key: &FlowKey) -> u32 {
        let mut candidates = rules.iter().copied().take_while(|&number| number < best);
        candidates.find(|&number| self.rules[number as usize].matches(key)).unwrap_or(best)
    }
}

impl Compiled {
    fn new(rule: Rule) -> Self {
        let mut protocols = if rule.protocols.is_empty() { [u64::MAX; 4] } else { [0; 4] };
        for protocol in rule.protocols {
            protocols[usize::from(protocol) / 64] |= 1 << (protocol % 64);
        }
        let any_port = rule.ports.is_empty();
        let mut ranges: Vec<(u16, u16)> = rule.ports.iter().map(|range| (*range.start(), *range.end())).collect();
        ranges.retain(|(start, end)| start <= end);
        ranges.sort_unstable();
        let mut ports: Vec<(u16, u16)> = Vec::with_capacity(ranges.len());
        for (start, end) in ranges {
            match ports.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => ports.push((start, end)),
            }
        }
        Self { id: rule.id, action: rule.action, protocols, ports, any_port }
    }

    fn matches(&self, key: &FlowKey) -> bool {
        if self.protocols[usize::from(key.protocol) / 64] >> (key.protocol % 64) & 1 == 0 {
            return false;
        }
        if self.any_port {
            return true;
        }
        let port = key.destination_port;
        let behind = self.ports.partition_point(|range| range.0 <= port);
        let inside = behind.checked_sub(1).is_some_and(|at| port <= self.ports[at].1);
        inside && matches!(key.protocol, TCP | UDP)
    }
}
