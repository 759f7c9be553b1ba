//! The compiled rules of one identity: which flows may pass.

mod address_set;
mod clause;
mod detected;
mod index;
mod rule;
mod stab;
#[cfg(test)]
mod tests;

pub use address_set::AddressSet;
pub use detected::Detected;
pub use rule::{Action, Clause, Payload, PayloadTest, Rule};

use crate::classify::FlowKey;
use clause::{Asked, Compiled};
use index::Index;

/// A policy's answer for one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What becomes of the flow.
    pub action: Action,
    /// The rule that decided, or `None` for the default.
    pub rule: Option<u32>,
}

/// An immutable, compiled rule list with its default action.
#[derive(Debug)]
pub struct Policy {
    /// (id, action) in the order of the rules.
    rules: Vec<(u32, Action)>,
    clauses: Vec<Compiled>,
    index: Index,
    default: Action,
}

impl Policy {
    /// Compiles `rules`, asked in order; `default` answers when none matches.
    #[must_use]
    pub fn compile(rules: Vec<Rule>, default: Action) -> Self {
        let mut clauses = Vec::with_capacity(rules.len());
        for (number, rule) in (0..).zip(&rules) {
            for clause in rule.any.iter().filter(|clause| clause.payload.is_empty()) {
                let compiled = Compiled::new(number, clause);
                if !compiled.is_impossible() {
                    clauses.push(compiled);
                }
            }
        }
        let numbers: Vec<u32> = (0..clauses.len() as u32).collect();
        let index = Index::new(&clauses, &numbers);
        Self { rules: rules.iter().map(|rule| (rule.id, rule.action)).collect(), clauses, index, default }
    }

    /// The answer for a flow opened towards `key.destination`.
    #[must_use]
    pub fn verdict(&self, key: &FlowKey) -> Verdict {
        let first = self.index.first(&self.clauses, &Asked::of(key), u32::MAX);
        let rule = self.clauses.get(first as usize).and_then(|clause| self.rules.get(clause.rule as usize));
        match rule {
            Some(&(id, action)) => Verdict { action, rule: Some(id) },
            None => Verdict { action: self.default, rule: None },
        }
    }
}
