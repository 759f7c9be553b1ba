//! The traffic half of a rule: which flows it is for, unfolded to alternatives of prefixes, ports and protocols.

use super::RuleError;
use super::expression::{Expression, Test};
use super::parser::{Scope, parse};
use ipnet::IpNet;
use std::collections::BTreeMap;

/// Most alternatives that one rule may unfold to.
const MAX_ALTERNATIVES: usize = 256;

/// Address lists by id, for `net.dst.ip in $id`.
pub type AddressLists = BTreeMap<String, Vec<IpNet>>;

/// A parsed traffic expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic(Expression);

/// One alternative; `None` asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Alternative {
    pub(super) destinations: Option<Vec<IpNet>>,
    pub(super) ports: Option<Vec<(u16, u16)>>,
    pub(super) protocols: Option<Vec<u8>>,
}

impl Traffic {
    /// Reads an expression and makes sure that it unfolds; blank text is all traffic.
    ///
    /// # Errors
    /// Says the column, what was expected and what stands there.
    pub fn parse(text: &str, lists: &AddressLists) -> Result<Self, RuleError> {
        let traffic = Self(parse(text, Scope::Traffic)?);
        traffic.alternatives(lists)?;
        Ok(traffic)
    }

    /// What empty text means.
    #[must_use]
    pub fn everything() -> Self {
        Self(Expression::always())
    }

    /// The alternatives, any of which makes the rule match; none when nothing can.
    pub(super) fn alternatives(&self, lists: &AddressLists) -> Result<Vec<Alternative>, RuleError> {
        unfold(&self.0, lists)
    }

    /// The list ids that the expression names.
    #[must_use]
    pub fn lists(&self) -> Vec<&str> {
        let mut out = Vec::new();
        let mut open = vec![&self.0];
        while let Some(expression) = open.pop() {
            match expression {
                Expression::All(parts) | Expression::Any(parts) => open.extend(parts),
                Expression::Not { inner, .. } => open.push(inner),
                Expression::Test(Test::DestinationList { id, .. }) => out.push(id.as_str()),
                Expression::Test(_) => {}
            }
        }
        out
    }
}

fn unfold(expression: &Expression, lists: &AddressLists) -> Result<Vec<Alternative>, RuleError> {
    match expression {
        Expression::Test(test) => Ok(vec![alternative(test, lists)?]),
        Expression::Not { column, .. } => Err(RuleError::Unsupported {
            column: *column,
            what: "`not` in a traffic expression".to_owned(),
            why: "put a rule with the opposite action before this one".to_owned(),
        }),
        Expression::Any(parts) => {
            let mut out: Vec<Alternative> = Vec::new();
            for part in parts {
                for next in unfold(part, lists)? {
                    if !out.iter_mut().any(|known| known.absorb(&next)) {
                        out.push(next);
                    }
                }
            }
            bounded(out)
        }
        Expression::All(parts) => {
            let mut out = vec![Alternative::default()];
            for part in parts {
                let more = unfold(part, lists)?;
                out = bounded(out.iter().flat_map(|a| more.iter().filter_map(|b| a.and(b))).collect())?;
            }
            Ok(out)
        }
    }
}

fn bounded(alternatives: Vec<Alternative>) -> Result<Vec<Alternative>, RuleError> {
    if alternatives.len() > MAX_ALTERNATIVES {
        return Err(RuleError::TooComplex { limit: MAX_ALTERNATIVES });
    }
    Ok(alternatives)
}

fn alternative(test: &Test, lists: &AddressLists) -> Result<Alternative, RuleError> {
    let mut out = Alternative::default();
    match test {
        Test::Destination(nets) => out.destinations = Some(nets.clone()),
        Test::DestinationList { column, id } => {
            let unknown = || RuleError::UnknownList { column: *column, id: id.clone() };
            out.destinations = Some(lists.get(id).ok_or_else(unknown)?.clone());
        }
        Test::Port(ports) => out.ports = Some(ports.clone()),
        Test::Protocol(protocols) => out.protocols = Some(protocols.clone()),
        // The parser's scope admits no identity selector here; one that asks for it matches nothing.
        Test::Email(_) => out.destinations = Some(Vec::new()),
    }
    Ok(out)
}

impl Alternative {
    /// Both at once; `None` when no flow can satisfy both.
    fn and(&self, other: &Self) -> Option<Self> {
        let both = Self {
            destinations: intersect(&self.destinations, &other.destinations, |a, b| {
                if a.contains(b) { Some(*b) } else { b.contains(a).then_some(*a) }
            }),
            ports: intersect(&self.ports, &other.ports, |a, b| {
                let (from, to) = (a.0.max(b.0), a.1.min(b.1));
                (from <= to).then_some((from, to))
            }),
            protocols: intersect(&self.protocols, &other.protocols, |a, b| (a == b).then_some(*a)),
        };
        (!both.is_impossible()).then_some(both)
    }

    /// Takes in `other` when both ask about the same single thing (their union is then exact).
    fn absorb(&mut self, other: &Self) -> bool {
        match (self, other) {
            (
                Self { destinations: Some(mine), ports: None, protocols: None },
                Self { destinations: Some(more), ports: None, protocols: None },
            ) => mine.extend(more),
            (
                Self { destinations: None, ports: Some(mine), protocols: None },
                Self { destinations: None, ports: Some(more), protocols: None },
            ) => mine.extend(more),
            (
                Self { destinations: None, ports: None, protocols: Some(mine) },
                Self { destinations: None, ports: None, protocols: Some(more) },
            ) => mine.extend(more),
            _ => return false,
        }
        true
    }

    /// True when one of its sets is empty: nothing is in it.
    pub(super) fn is_impossible(&self) -> bool {
        self.destinations.as_ref().is_some_and(Vec::is_empty)
            || self.ports.as_ref().is_some_and(Vec::is_empty)
            || self.protocols.as_ref().is_some_and(Vec::is_empty)
    }
}

fn intersect<T: Clone>(a: &Option<Vec<T>>, b: &Option<Vec<T>>, both: impl Fn(&T, &T) -> Option<T>) -> Option<Vec<T>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.iter().flat_map(|x| b.iter().filter_map(|y| both(x, y))).collect()),
        (one, other) => one.clone().or_else(|| other.clone()),
    }
}
