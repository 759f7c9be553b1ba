//! The tree that an expression becomes.

use super::selectors::SELECTORS;
use crate::rules::addresses::Addresses;
use regex::Regex;
use semver::Version;
use std::sync::Arc;
use vestibule_engine::policy::Detected;

/// A parsed expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rules) enum Expression {
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Xor(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
    Test(Test),
}

/// What an expression may ask about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rules) enum Field {
    Destination,
    Source,
    DestinationPort,
    SourcePort,
    Protocol,
    SniHost,
    SniDomains,
    Detected,
    VirtualNetwork,
    Onramp,
    Email,
    Name,
    GroupId,
    GroupName,
    GroupEmail,
    /// One attribute's values; without a name, every `name=value`.
    Attribute(Option<String>),
    ServiceToken,
    Passed,
    Failed,
    OsName,
    OsVersion,
    Network,
}

impl Field {
    /// The name of its (first) selector.
    pub(in crate::rules) fn name(&self) -> &'static str {
        let same = |field: &Self| match (field, self) {
            (Self::Attribute(_), Self::Attribute(_)) => true,
            (field, this) => field == this,
        };
        SELECTORS.iter().find(|selector| same(&selector.field)).map_or("", |selector| selector.name)
    }
}

/// How many of a field's values must compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rules) enum Quantifier {
    Any,
    All,
}

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rules) struct Test {
    /// Where it stands.
    pub(in crate::rules) column: usize,
    pub(in crate::rules) field: Field,
    /// `Any` for a field of one value.
    pub(in crate::rules) quantifier: Quantifier,
    /// Of each value, inside `any(...)` or `all(...)`.
    pub(in crate::rules) negated: bool,
    pub(in crate::rules) comparison: Comparison,
}

/// With what a value is compared; a set holds when any member does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rules) enum Comparison {
    Addresses(Arc<Addresses>),
    Ports(Vec<(u16, u16)>),
    Protocols(Vec<u8>),
    Detected(Vec<Detected>),
    /// In lower case where the field does not tell cases apart.
    Texts(Vec<String>),
    Contains(String),
    Matches(Pattern),
    Version(Relation, Vec<Version>),
    List {
        column: usize,
        id: String,
    },
}

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rules) enum Relation {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Relation {
    /// Whether `a` stands so to `b`.
    pub(in crate::rules) fn holds<T: PartialOrd>(self, a: &T, b: &T) -> bool {
        match self {
            Self::Equal => a == b,
            Self::Less => a < b,
            Self::LessOrEqual => a <= b,
            Self::Greater => a > b,
            Self::GreaterOrEqual => a >= b,
        }
    }
}

/// A regular expression; equal when its text is.
#[derive(Clone, Debug)]
pub(in crate::rules) struct Pattern {
    pub(in crate::rules) text: String,
    pub(in crate::rules) regex: Arc<Regex>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Expression {
    /// What an empty expression means.
    pub(in crate::rules) fn always() -> Self {
        Self::All(Vec::new())
    }

    /// Every comparison in it.
    pub(in crate::rules) fn tests(&self) -> impl Iterator<Item = &Test> {
        let mut open = vec![self];
        std::iter::from_fn(move || {
            loop {
                match open.pop()? {
                    Self::All(parts) | Self::Any(parts) => open.extend(parts.iter().rev()),
                    Self::Xor(a, b) => open.extend([&**b, &**a]),
                    Self::Not(inner) => open.push(inner),
                    Self::Test(test) => return Some(test),
                }
            }
        })
    }

    /// Its truth, given that of each comparison.
    pub(in crate::rules) fn holds(&self, test: &impl Fn(&Test) -> bool) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(test)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(test)),
            Self::Xor(a, b) => a.holds(test) != b.holds(test),
            Self::Not(inner) => !inner.holds(test),
            Self::Test(asked) => test(asked),
        }
    }
}
