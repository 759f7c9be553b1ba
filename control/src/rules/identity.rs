//! The identity half of a rule: whom it is for.

use super::RuleError;
use super::expression::{Expression, Test};
use super::parser::{Scope, parse};

/// A parsed identity expression. Mail addresses compare without regard to case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity(Expression);

impl Identity {
    /// Reads an expression; blank text is for everybody.
    ///
    /// # Errors
    /// Says the column, what was expected and what stands there.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        parse(text, Scope::Identity).map(Self)
    }

    /// What empty text means.
    #[must_use]
    pub fn everybody() -> Self {
        Self(Expression::always())
    }

    /// Whether the rule is for this mail address.
    #[must_use]
    pub fn matches(&self, email: &str) -> bool {
        holds(&self.0, &email.to_lowercase())
    }
}

fn holds(expression: &Expression, email: &str) -> bool {
    match expression {
        Expression::All(parts) => parts.iter().all(|part| holds(part, email)),
        Expression::Any(parts) => parts.iter().any(|part| holds(part, email)),
        Expression::Not { inner, .. } => !holds(inner, email),
        Expression::Test(Test::Email(emails)) => emails.iter().any(|mail| mail == email),
        // The parser's scope admits no other selector here.
        Expression::Test(_) => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn matches(expression: &str, email: &str) -> bool {
        Identity::parse(expression).unwrap().matches(email)
    }

    #[test]
    fn the_pre_login_guides_expression_means_the_service_tokens_identity() {
        let guide = r#"identity.email in {"non_identity@mycompany.cloudflareaccess.com"}"#;
        assert!(matches(guide, "non_identity@mycompany.cloudflareaccess.com"));
        assert!(!matches(guide, "ada@mycompany.example"));
    }

    #[test]
    fn empty_is_everybody() {
        assert!(matches("  ", "ada@example.com"));
    }

    #[test]
    fn mail_addresses_ignore_case() {
        assert!(matches(r#"identity.email == "Ada@Example.com""#, "aDA@example.COM"));
    }

    #[test]
    fn and_binds_tighter_than_or_and_not_is_known() {
        let text = r#"identity.email == "a@x" or identity.email == "b@x" and not identity.email == "b@x""#;
        assert!(matches(text, "a@x"));
        assert!(!matches(text, "b@x"));
        assert!(matches(r#"not(identity.email in {"a@x" "b@x"})"#, "c@x"));
    }

    #[test]
    fn a_traffic_selector_is_refused_by_name_and_column() {
        let error = Identity::parse("(net.dst.ip == 10.0.0.1)").unwrap_err();
        assert_eq!(
            error.to_string(),
            "column 2: `net.dst.ip` cannot be used here: use `identity.email` in this expression"
        );
    }
}
