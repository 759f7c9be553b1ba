//! Expressions that are true or false of a subject: whom a rule is for, which device profile applies.

use super::language::{Comparison, Expression, Field, Quantifier, RuleError, Scope, Test, parse, values};
use super::{Lists, Subject};
use semver::Version;
use std::borrow::Cow;

/// A parsed expression about a subject.
///
/// Mail addresses, host names, systems and ids compare without regard to case; names, group ids, attributes and networks
/// as they are. A value that is not known is equal to nothing, and so is every `!=` of it true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match(Expression);

impl Match {
    /// Reads an expression; blank text is true of everybody.
    ///
    /// # Errors
    /// Says the column, what was expected and what stands there. [`Scope::Traffic`] is refused: a flow is no subject.
    pub fn parse(text: &str, scope: Scope) -> Result<Self, RuleError> {
        if scope == Scope::Traffic {
            let why = "traffic expressions are judged for flows, not for subjects".to_owned();
            return Err(RuleError::Unsupported { column: 1, what: "a traffic expression".to_owned(), why });
        }
        parse(text, scope).map(Self)
    }

    /// What empty text means.
    #[must_use]
    pub fn everybody() -> Self {
        Self(Expression::always())
    }

    /// Whether it is true of a subject. A list that is gone holds nothing.
    #[must_use]
    pub fn matches(&self, subject: &Subject, lists: &Lists) -> bool {
        self.0.holds(&|test| holds(test, subject, lists))
    }

    /// Makes sure that the lists it names are there, and of types that fit.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn check_lists(&self, lists: &Lists) -> Result<(), RuleError> {
        check_lists(&self.0, lists)
    }

    /// The ids of the lists that it names, in lower case.
    pub fn lists(&self) -> impl Iterator<Item = &str> {
        list_ids(&self.0)
    }
}

impl std::fmt::Display for Match {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

/// The ids of the lists that an expression names.
pub(super) fn list_ids(expression: &Expression) -> impl Iterator<Item = &str> {
    expression.tests().filter_map(|test| match &test.comparison {
        Comparison::List { id, .. } => Some(id.as_str()),
        _ => None,
    })
}

/// Makes sure that an expression's lists are there, and of types that fit.
pub(super) fn check_lists(expression: &Expression, lists: &Lists) -> Result<(), RuleError> {
    for test in expression.tests() {
        let Comparison::List { column, id } = &test.comparison else { continue };
        let list = lists.get(id).ok_or_else(|| RuleError::UnknownList { column: *column, id: id.clone() })?;
        let fits = values::list_type(&test.field);
        if fits != Some(list.kind()) {
            return Err(RuleError::WrongList {
                column: *column,
                id: id.clone(),
                selector: test.field.name(),
                expected: fits.map_or("none", |kind| kind.name()),
                got: list.kind().name(),
            });
        }
    }
    Ok(())
}

fn holds(test: &Test, subject: &Subject, lists: &Lists) -> bool {
    let compares = |value: &str| compares(test, value, lists) != test.negated;
    let groups = &subject.person.groups;
    let one = |value: Option<&str>| each(test.quantifier, value.into_iter(), compares);
    match &test.field {
        Field::Email => one(Some(&subject.person.email)),
        Field::Name => one(Some(&subject.person.name)),
        Field::GroupId => each(test.quantifier, groups.iter().map(|group| group.id.as_str()), compares),
        Field::GroupName => each(test.quantifier, groups.iter().map(|group| group.name.as_str()), compares),
        Field::GroupEmail => each(test.quantifier, groups.iter().map(|group| group.email.as_str()), compares),
        Field::Attribute(Some(name)) => each(
            test.quantifier,
            subject.person.attributes.get(name).into_iter().flatten().map(String::as_str),
            compares,
        ),
        Field::Attribute(None) => {
            let pairs: Vec<String> = subject
                .person
                .attributes
                .iter()
                .flat_map(|(name, values)| values.iter().map(move |value| format!("{name}={value}")))
                .collect();
            each(test.quantifier, pairs.iter().map(String::as_str), compares)
        }
        Field::ServiceToken => one(subject.service_token.as_deref()),
        Field::Passed => each(test.quantifier, subject.posture_passed.iter().map(String::as_str), compares),
        Field::Failed => each(test.quantifier, subject.posture_failed.iter().map(String::as_str), compares),
        Field::OsName => one(Some(&subject.os_name)),
        Field::OsVersion => one(Some(&subject.os_version)),
        Field::Network => one(subject.network.as_deref()),
        // The parser's scopes admit no selector of flows here.
        Field::Destination
        | Field::Source
        | Field::DestinationPort
        | Field::SourcePort
        | Field::Protocol
        | Field::SniHost
        | Field::SniDomains
        | Field::Detected
        | Field::VirtualNetwork
        | Field::Onramp => false,
    }
}

fn each<'a>(
    quantifier: Quantifier,
    mut values: impl Iterator<Item = &'a str>,
    compares: impl FnMut(&'a str) -> bool,
) -> bool {
    match quantifier {
        Quantifier::Any => values.any(compares),
        Quantifier::All => values.all(compares),
    }
}

/// One value with one comparison; what is not known (empty) compares with nothing.
pub(super) fn compares(test: &Test, value: &str, lists: &Lists) -> bool {
    if value.is_empty() {
        return false;
    }
    let value = if values::folds(&test.field) { Cow::Owned(value.to_lowercase()) } else { Cow::Borrowed(value) };
    match &test.comparison {
        Comparison::Texts(texts) => texts.iter().any(|text| *text == value),
        Comparison::Contains(part) => value.contains(part.as_str()),
        Comparison::Matches(pattern) => pattern.regex.is_match(&value),
        Comparison::Version(relation, versions) => {
            version(&value).is_some_and(|mine| versions.iter().any(|version| relation.holds(&mine, version)))
        }
        Comparison::List { id, .. } => lists.get(id).is_some_and(|list| list.contains(&value)),
        Comparison::Addresses(_) | Comparison::Ports(_) | Comparison::Protocols(_) | Comparison::Detected(_) => false,
    }
}

/// The first three numbers of a system's version; a distribution's suffix (`6.1.0-18-amd64`) is no pre-release.
fn version(text: &str) -> Option<Version> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some(Version::new(next()?, next()?, next()?))
}

#[cfg(test)]
mod tests;
