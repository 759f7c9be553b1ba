//! What an end of an IP tunnel owes the packets that pass through it (RFC 9484 sections 4.6, 4.8, 7.2, 11), as functions
//! of packets alone.

mod echo;
mod forward;
#[cfg(test)]
mod forward_tests;
mod hop;
mod mtu;
mod refusal;
mod scope;

pub use echo::{MtuProbe, ProbeState, answer_echo};
pub use forward::{End, Link, Role, is_link_local};
pub use hop::decrement_hop_limit;
pub use mtu::{BelowIpv6Minimum, IPV6_MINIMUM_MTU, MIN_INITIAL, check_ipv6_minimum, inner_mtu};
pub use refusal::Refusal;
pub use scope::{Scope, ScopeError};
