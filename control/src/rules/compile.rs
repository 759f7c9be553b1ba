//! Rules × identity -> [`PolicyDocument`] -> the engine's [`Policy`]. Both ends compile the same document.

use super::{AddressLists, Identity, RuleError, Traffic};
use crate::api::device::{PolicyDocument, PolicyRule};
use std::sync::Arc;
use vestibule_engine::policy::{Action, AddressSet, Clause, Policy, Rule as EngineRule};

/// What a rule does on a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleAction {
    /// Let the flow pass.
    Allow,
    /// Refuse it with an answer.
    Block,
}

/// A parsed rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The administrator's name for it.
    pub name: String,
    /// Lower is asked earlier; equal ones keep the order they were given in.
    pub precedence: i64,
    /// A disabled rule is skipped.
    pub enabled: bool,
    /// What it does.
    pub action: RuleAction,
    /// Which flows.
    pub traffic: Traffic,
    /// Whose.
    pub identity: Identity,
}

/// The rules for one identity, in order of precedence. A rule with alternatives becomes as many entries of its name.
///
/// # Errors
/// A list is gone.
pub fn document(
    rules: &[Rule],
    lists: &AddressLists,
    email: &str,
    default_allow: bool,
    version: u64,
) -> Result<PolicyDocument, RuleError> {
    let mut mine: Vec<&Rule> = rules.iter().filter(|rule| rule.enabled && rule.identity.matches(email)).collect();
    mine.sort_by_key(|rule| rule.precedence);
    let mut out = Vec::new();
    for rule in mine {
        for alternative in rule.traffic.alternatives(lists)?.into_iter().filter(|a| !a.is_impossible()) {
            out.push(PolicyRule {
                id: u32::try_from(out.len()).unwrap_or(u32::MAX),
                name: rule.name.clone(),
                allow: rule.action == RuleAction::Allow,
                destinations: alternative.destinations.unwrap_or_default(),
                ports: alternative.ports.unwrap_or_default(),
                protocols: alternative.protocols.unwrap_or_default(),
            });
        }
    }
    Ok(PolicyDocument { version, default_allow, rules: out })
}

/// The engine's form of a document.
#[must_use]
pub fn engine_policy(document: &PolicyDocument) -> Policy {
    let action = |allow| if allow { Action::Allow } else { Action::Block };
    let rules = document.rules.iter().map(|rule| EngineRule {
        id: rule.id,
        action: action(rule.allow),
        any: vec![Clause {
            destinations: (!rule.destinations.is_empty())
                .then(|| Arc::new(AddressSet::new(rule.destinations.iter().copied()))),
            destination_ports: rule.ports.iter().map(|&(from, to)| from..=to).collect(),
            protocols: rule.protocols.clone(),
            ..Clause::default()
        }],
    });
    Policy::compile(rules.collect(), action(document.default_allow))
}

#[cfg(test)]
mod tests;
