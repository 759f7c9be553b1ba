//! The tree that an expression becomes.

use ipnet::IpNet;

/// A parsed expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not { column: usize, inner: Box<Expression> },
    Test(Test),
}

impl Expression {
    /// What an empty expression means.
    pub(super) fn always() -> Self {
        Self::All(Vec::new())
    }
}

/// One comparison; it holds when any value does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Destination(Vec<IpNet>),
    DestinationList {
        column: usize,
        id: String,
    },
    Port(Vec<(u16, u16)>),
    Protocol(Vec<u8>),
    /// Lower case.
    Email(Vec<String>),
}

/// What a rule's expression may ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selector {
    Destination,
    Port,
    Protocol,
    Email,
}
