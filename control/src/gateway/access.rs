//! Who may enrol: the vendor's policies of an Access application of type `warp`.
//!
//! Service Auth policies are asked first, top to bottom, then Allow and Block in order; the first of those that matches
//! ends it. Without a match: no. A service token only ever passes by Service Auth.

use super::store::PolicyRow;
use serde::{Deserialize, Serialize};

/// What a policy decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Decision {
    /// Service Auth.
    NonIdentity,
    /// After a login.
    Allow,
    /// Block.
    Deny,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Selector {
    ServiceToken { token_id: String },
    AnyValidServiceToken {},
    Email { email: String },
    EmailDomain { domain: String },
    Everyone {},
}

/// A policy: one of `include`, all of `require`, none of `exclude`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EnrolPolicy {
    pub(super) decision: Decision,
    pub(super) include: Vec<Selector>,
    pub(super) require: Vec<Selector>,
    pub(super) exclude: Vec<Selector>,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Applicant<'a> {
    /// A valid service token.
    Token {
        /// Its id.
        id: &'a str,
    },
    /// A user who has logged in.
    User {
        /// Their mail address.
        email: &'a str,
    },
}

impl EnrolPolicy {
    /// Reads a stored policy; `None` when it does not read.
    pub(super) fn read(row: &PolicyRow) -> Option<Self> {
        Some(Self {
            decision: serde_json::from_value(serde_json::Value::String(row.decision.clone())).ok()?,
            include: serde_json::from_str(&row.include).ok()?,
            require: serde_json::from_str(&row.require).ok()?,
            exclude: serde_json::from_str(&row.exclude).ok()?,
        })
    }

    fn matches(&self, applicant: Applicant<'_>) -> bool {
        self.include.iter().any(|selector| selector.matches(applicant))
            && self.require.iter().all(|selector| selector.matches(applicant))
            && !self.exclude.iter().any(|selector| selector.matches(applicant))
    }

    /// Whether it names this service token.
    pub(super) fn names_token(&self, id: &str) -> bool {
        let named = |selector: &Selector| matches!(selector, Selector::ServiceToken { token_id } if token_id == id);
        [&self.include, &self.require, &self.exclude].into_iter().flatten().any(named)
    }
}

impl Selector {
    fn matches(&self, applicant: Applicant<'_>) -> bool {
        match (self, applicant) {
            (Self::Everyone {}, _) | (Self::AnyValidServiceToken {}, Applicant::Token { .. }) => true,
            (Self::ServiceToken { token_id }, Applicant::Token { id }) => token_id == id,
            (Self::Email { email: wanted }, Applicant::User { email }) => wanted.eq_ignore_ascii_case(email),
            (Self::EmailDomain { domain }, Applicant::User { email }) => email
                .rsplit_once('@')
                .is_some_and(|(_, mine)| mine.eq_ignore_ascii_case(domain.trim_start_matches('@'))),
            _ => false,
        }
    }
}

/// Whether the policies, by precedence, let the applicant enrol.
pub(super) fn permits(policies: &[EnrolPolicy], applicant: Applicant<'_>) -> bool {
    match applicant {
        Applicant::Token { .. } => {
            policies.iter().any(|policy| policy.decision == Decision::NonIdentity && policy.matches(applicant))
        }
        Applicant::User { .. } => policies
            .iter()
            .find(|policy| policy.decision != Decision::NonIdentity && policy.matches(applicant))
            .is_some_and(|policy| policy.decision == Decision::Allow),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn policy(decision: &str, include: &str, exclude: &str) -> EnrolPolicy {
        EnrolPolicy::read(&PolicyRow {
            id: String::new(),
            app_id: String::new(),
            name: String::new(),
            decision: decision.to_owned(),
            precedence: 1,
            include: include.to_owned(),
            require: "[]".to_owned(),
            exclude: exclude.to_owned(),
            created_at: 0,
            updated_at: 0,
        })
        .unwrap()
    }

    const TOKEN: Applicant<'_> = Applicant::Token { id: "t1" };
    const ADA: Applicant<'_> = Applicant::User { email: "ada@Example.com" };

    #[test]
    fn without_policies_nobody_enrols() {
        assert!(!permits(&[], TOKEN) && !permits(&[], ADA));
    }

    #[test]
    fn a_token_passes_by_service_auth_only() {
        let named = r#"[{"service_token":{"token_id":"t1"}}]"#;
        assert!(permits(&[policy("non_identity", named, "[]")], TOKEN));
        assert!(!permits(&[policy("allow", named, "[]")], TOKEN));
        assert!(!permits(&[policy("allow", r#"[{"everyone":{}}]"#, "[]")], TOKEN));
        assert!(!permits(&[policy("non_identity", r#"[{"service_token":{"token_id":"t2"}}]"#, "[]")], TOKEN));
        assert!(permits(&[policy("non_identity", r#"[{"any_valid_service_token":{}}]"#, "[]")], TOKEN));
        assert!(!permits(&[policy("non_identity", r#"[{"everyone":{}}]"#, named)], TOKEN), "excluded");
    }

    #[test]
    fn a_user_passes_by_the_first_allow_or_block_that_matches() {
        let domain = r#"[{"email_domain":{"domain":"example.com"}}]"#;
        let ada = r#"[{"email":{"email":"ada@example.com"}}]"#;
        assert!(permits(&[policy("allow", domain, "[]")], ADA));
        assert!(!permits(&[policy("deny", ada, "[]"), policy("allow", domain, "[]")], ADA));
        assert!(permits(&[policy("allow", domain, "[]"), policy("deny", ada, "[]")], ADA));
        assert!(!permits(&[policy("non_identity", r#"[{"everyone":{}}]"#, "[]")], ADA));
        assert!(!permits(&[policy("allow", r#"[{"email_domain":{"domain":"ample.com"}}]"#, "[]")], ADA));
    }

    #[test]
    fn an_unknown_selector_is_refused() {
        assert!(serde_json::from_str::<Selector>(r#"{"geo":{"country_code":"DE"}}"#).is_err());
        assert!(serde_json::from_str::<Selector>(r#"{"email":{"email":"a@b","x":1}}"#).is_err());
    }
}
