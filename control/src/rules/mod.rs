//! Network rules: the vendor's expressions, parsed, joined with identities, and handed to both ends as documents.
//!
//! ```text
//! "net.dst.ip in {10.0.0.0/8}" --parse--> Traffic --+
//!                                                   +--> Rule --document(mail)--> PolicyDocument --engine_policy--> Policy
//! "identity.email == \"a@b.c\"" --parse--> Identity-+
//! ```
//!
//! Everything here is pure: text in, rules out. A rule's two expressions are joined by `and`; an empty one is true.
//!
//! | selector | operators | values |
//! |---|---|---|
//! | `net.dst.ip` | `==`, `in` | addresses, prefixes, ranges `a..b`, `$list` |
//! | `net.dst.port` | `==`, `in` | ports, ranges `a..b` |
//! | `net.protocol` | `==`, `in` | `"tcp"`, `"udp"`, `"icmp"` |
//! | `identity.email` | `==`, `in` | mail addresses |
//!
//! They combine by `and`, `or` and parentheses; identity expressions also by `not`.

mod addresses;
mod compile;
mod expression;
mod identity;
mod language;
mod lexer;
mod lists;
mod matching;
mod parser;
mod subject;
mod traffic;
mod values;

pub use addresses::Addresses;
pub use compile::{Rule, RuleAction, document, engine_policy};
pub use identity::Identity;
pub use language::{RuleError, Scope};
pub use lists::{List, ListKind, Lists};
pub use matching::Match;
pub use subject::{Group, Person, Subject};
pub use traffic::{AddressLists, Traffic};

/// The prefixes of an address, a prefix or a range `a..b`; `None` when it is none of them.
#[must_use]
pub fn destination(text: &str) -> Option<Vec<ipnet::IpNet>> {
    values::destination(text)
}

/// The mail address under which every device enrolled by service token appears.
#[must_use]
pub fn non_identity_email(organization: &str) -> String {
    format!("non_identity@{}.cloudflareaccess.com", organization.to_ascii_lowercase())
}
