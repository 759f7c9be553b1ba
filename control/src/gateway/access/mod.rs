//! Who may enrol: the vendor's policies of an Access application of type `warp`.
//!
//! ```text
//! policy  = decision + Include (one of) + Require (all of) + Exclude (none of)
//! order   = Bypass and Service Auth, by precedence; then Allow and Block, by precedence
//! verdict = the first that matches, and no when none does
//! ```
//!
//! A service token passes by Service Auth or Bypass only. Bypass asks no further policy, but nobody enrols without
//! having authenticated (`docs/decisions/0014-bypass-at-enrolment.md`).

mod certificate;
mod judge;
mod references;
mod selector;
#[cfg(test)]
mod tests;

pub(super) use certificate::{Authorities, Presented, Worthless};
pub(super) use judge::{Applicant, RuleSet, Who};
pub(super) use references::{Reference, References, cycle, user_of};
pub(super) use selector::{LOCAL_ACCOUNTS, Selector};

use super::store::PolicyRow;
use serde::{Deserialize, Serialize};

/// What a policy decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Decision {
    /// After a login.
    Allow,
    /// Block.
    Deny,
    /// Whoever has authenticated, without a further question.
    Bypass,
    /// Service Auth.
    NonIdentity,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EnrolPolicy {
    decision: Decision,
    rules: RuleSet,
}

impl EnrolPolicy {
    /// Reads a stored policy. Policies are checked before they are stored; one that no longer reads must not let anybody
    /// in, so it blocks.
    pub(super) fn read(row: &PolicyRow) -> Self {
        let decision = serde_json::from_value(serde_json::Value::String(row.decision.clone())).ok();
        match decision.zip(RuleSet::read(&row.include, &row.require, &row.exclude)) {
            Some((decision, rules)) => Self { decision, rules },
            None => {
                tracing::error!(policy = %row.id, "a stored enrolment policy is not readable: it blocks everybody");
                Self { decision: Decision::Deny, rules: RuleSet::everyone() }
            }
        }
    }
}

/// Whether the policies, by precedence, let the applicant enrol.
pub(super) fn permits(policies: &[EnrolPolicy], references: &References, applicant: &Applicant<'_>) -> bool {
    let token = matches!(applicant.who, Who::Token { .. });
    let first = policies.iter().filter(|policy| match policy.decision {
        Decision::Bypass => true,
        Decision::NonIdentity => token,
        Decision::Allow | Decision::Deny => false,
    });
    let second = policies.iter().filter(|policy| match policy.decision {
        Decision::Allow => !token,
        Decision::Deny => true,
        Decision::Bypass | Decision::NonIdentity => false,
    });
    first
        .chain(second)
        .find(|policy| applies(policy, references, applicant))
        .is_some_and(|policy| policy.decision != Decision::Deny)
}

/// Whether a policy is the one that decides. What cannot be judged never lets in, and never keeps a block from blocking.
fn applies(policy: &EnrolPolicy, references: &References, applicant: &Applicant<'_>) -> bool {
    policy.rules.judge(references, applicant).unwrap_or(policy.decision == Decision::Deny)
}
