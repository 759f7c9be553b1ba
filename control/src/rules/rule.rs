//! A rule, parsed: whom it is for, from devices in which state, which flows, and what becomes of them.

use super::clauses::{Clause, unfold};
use super::language::{RuleError, Scope, parse};
use super::matching::{check_lists, list_ids};
use super::{Lists, Match, Subject};
use std::collections::BTreeSet;
use std::sync::Arc;
use vestibule_engine::policy::Action;

/// What happens to flows that no rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DefaultAction {
    /// Let them pass.
    Allow,
    /// Refuse them with an answer.
    Block,
}

/// Which flows a rule is for.
#[derive(Clone, Debug)]
pub struct Traffic {
    pub(super) clauses: Arc<[Clause]>,
    lists: BTreeSet<String>,
}

impl Traffic {
    /// Reads an expression, its lists included: it has to be read again when one of them changes. Blank text is all
    /// traffic.
    ///
    /// # Errors
    /// Says the column, what was expected and what stands there.
    pub fn parse(text: &str, lists: &Lists) -> Result<Self, RuleError> {
        let expression = parse(text, Scope::Traffic)?;
        check_lists(&expression, lists)?;
        let clauses = unfold(&expression, lists)?.into();
        Ok(Self { clauses, lists: list_ids(&expression).map(str::to_owned).collect() })
    }

    /// What empty text means.
    #[must_use]
    pub fn everything() -> Self {
        Self { clauses: Arc::new([Clause::default()]), lists: BTreeSet::new() }
    }
}

/// A parsed rule. Its three expressions are joined by `and`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The administrator's name for it.
    pub name: Arc<str>,
    /// What it does.
    pub action: Action,
    /// Whose flows.
    pub identity: Match,
    /// From devices in which state.
    pub device_posture: Match,
    /// Which flows.
    pub traffic: Traffic,
}

impl Rule {
    /// Whether it is for a subject at all.
    #[must_use]
    pub fn applies(&self, subject: &Subject, lists: &Lists) -> bool {
        self.identity.matches(subject, lists) && self.device_posture.matches(subject, lists)
    }

    /// Whether one of its expressions names a list (an id in lower case).
    #[must_use]
    pub fn names_list(&self, id: &str) -> bool {
        self.traffic.lists.contains(id)
            || self.identity.lists().chain(self.device_posture.lists()).any(|list| list == id)
    }
}
