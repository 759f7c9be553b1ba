//! The compiled rules of one identity: which flows may pass.

mod address_set;
mod clause;
mod detected;
mod index;
mod payload;
mod rule;
mod stab;
#[cfg(test)]
mod tests;

pub use address_set::AddressSet;
pub use detected::Detected;
pub use rule::{Action, Clause, Payload, PayloadTest, Rule};

use crate::classify::{Extracted, FlowKey};
use clause::{Asked, Compiled};
use index::Index;
use payload::{Collector, PayloadClauses};

/// No clause.
const NONE: u32 = u32::MAX;

/// A policy's answer for one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What becomes of the flow.
    pub action: Action,
    /// The rule that decided, or `None` for the default.
    pub rule: Option<u32>,
}

/// What the rules say before a flow's first byte has been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Enough for a verdict.
    Decided(Verdict),
    /// A rule asks for what the first bytes tell before any other is sure to match.
    AsksPayload,
}

/// An immutable, compiled rule list with its default action.
#[derive(Debug)]
pub struct Policy {
    /// (id, action) in the order of the rules.
    rules: Vec<(u32, Action)>,
    clauses: Vec<Compiled>,
    /// The clauses without payload tests.
    plain: Index,
    /// Those with, by all else that they ask; `None` if there are none.
    asking: Option<(Index, PayloadClauses)>,
    default: Action,
}

impl Policy {
    /// Compiles `rules`, asked in order; `default` answers when none matches.
    #[must_use]
    pub fn compile(rules: Vec<Rule>, default: Action) -> Self {
        let mut clauses = Vec::with_capacity(rules.len());
        let mut collector = Collector::default();
        for (number, rule) in (0..).zip(&rules) {
            for clause in &rule.any {
                let compiled = Compiled::new(number, clause, collector.tests(&clause.payload));
                if !compiled.is_impossible() {
                    clauses.push(compiled);
                }
            }
        }
        let all = 0..clauses.len() as u32;
        let (plain, asking): (Vec<u32>, Vec<u32>) =
            all.partition(|number| clauses[*number as usize].payload.is_empty());
        let plain = Index::new(&clauses, &plain);
        let asking = (!asking.is_empty()).then(|| (Index::new(&clauses, &asking), collector.finish(&clauses, &asking)));
        Self { rules: rules.iter().map(|rule| (rule.id, rule.action)).collect(), clauses, plain, asking, default }
    }

    /// The answer for a flow opened towards `key.destination`, of which nothing has been seen.
    #[must_use]
    pub fn answer(&self, key: &FlowKey) -> Answer {
        let asked = Asked::of(key);
        let decided = self.plain.first(&self.clauses, &asked, NONE);
        if let Some((index, payload)) = &self.asking
            && index.first(&self.clauses, &asked, decided) < decided
        {
            if asked.ports.is_some() {
                return Answer::AsksPayload;
            }
            // Neither TCP nor UDP: there will be nothing to tell.
            let decided = payload.first(&self.clauses, &asked, &Extracted::default(), decided);
            return Answer::Decided(self.verdict_of(decided));
        }
        Answer::Decided(self.verdict_of(decided))
    }

    /// The verdict on a flow whose first bytes tell nothing.
    #[must_use]
    pub fn verdict(&self, key: &FlowKey) -> Verdict {
        self.decide(key, &Extracted::default())
    }

    /// The verdict on a flow whose first bytes tell `extracted`.
    #[must_use]
    pub fn decide(&self, key: &FlowKey, extracted: &Extracted) -> Verdict {
        let asked = Asked::of(key);
        let mut decided = self.plain.first(&self.clauses, &asked, NONE);
        if let Some((_, payload)) = &self.asking {
            decided = payload.first(&self.clauses, &asked, extracted, decided);
        }
        self.verdict_of(decided)
    }

    fn verdict_of(&self, clause: u32) -> Verdict {
        let rule = self.clauses.get(clause as usize).and_then(|clause| self.rules.get(clause.rule as usize));
        match rule {
            Some(&(id, action)) => Verdict { action, rule: Some(id) },
            None => Verdict { action: self.default, rule: None },
        }
    }
}
