//! Network rules: the vendor's expressions, parsed, joined, and handed to both ends.
//!
//! ```text
//! traffic --------- parse, unfold --> clauses -------+
//! identity -------- parse ----------> Match --+      +--> policy   --> the gateway's engine
//! device_posture -- parse ----------> Match --+      |
//!                                             |      |
//!                       Subject --> applies --+--> Applying --> document --> devices --> engine_policy --> their engines
//! ```
//!
//! Everything here is pure: text in, rules out. What a subject is does not change while it is judged, so a rule's
//! identity and posture are decided when the rules are compiled for it; only traffic is left for the packet path.

mod addresses;
mod clauses;
mod compile;
mod language;
mod lists;
mod matching;
mod rule;
mod subject;
#[cfg(test)]
mod tests;

pub use addresses::Addresses;
pub use compile::{Applying, document, engine_policy, judged_by_the_gateway, policy};
pub use language::{RuleError, Scope};
pub use lists::{List, ListKind, Lists};
pub use matching::Match;
pub use rule::{DefaultAction, Rule, Traffic};
pub use subject::{Group, Person, Subject};

/// The id of the one virtual network that a gateway has, for `net.vnet_id`.
pub const VIRTUAL_NETWORK: &str = "00000000-0000-0000-0000-000000000000";
/// How all traffic comes to a gateway, for `net.onramp.type`.
pub const ONRAMP: &str = "device_client";

/// The prefixes of an address, a prefix or a range `a..b`; `None` when it is none of them.
#[must_use]
pub fn destination(text: &str) -> Option<Vec<ipnet::IpNet>> {
    Addresses::parse(text).map(|addresses| addresses.nets().collect())
}

/// The organisation's domain in the vendor's words.
#[must_use]
pub fn access_domain(organization: &str) -> String {
    format!("{}.cloudflareaccess.com", organization.to_ascii_lowercase())
}

/// The mail address under which every device enrolled by service token appears.
#[must_use]
pub fn non_identity_email(organization: &str) -> String {
    format!("non_identity@{}", access_domain(organization))
}
