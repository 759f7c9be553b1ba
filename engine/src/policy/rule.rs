//! Rules as the engine is given them.

use super::{AddressSet, Detected};
use regex::Regex;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// What a rule or the default does with a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Let it pass.
    Allow,
    /// Refuse it with an answer.
    Block,
    /// Let it pass to another host of the same IP version, or another port. The gateway rewrites the packets; to the
    /// device this is [`Action::Allow`].
    Override {
        /// The new destination.
        address: IpAddr,
        /// Its port; `None` keeps the flow's.
        port: Option<u16>,
    },
}

impl Action {
    /// True unless the flow is refused.
    #[must_use]
    pub fn permits(self) -> bool {
        self != Self::Block
    }
}

/// One rule: it matches when any of its clauses does, and never without one. Rules are asked in order, the first match
/// wins.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The caller's id, reported with the verdict.
    pub id: u32,
    /// What to do on a match.
    pub action: Action,
    /// The ways to match.
    pub any: Vec<Clause>,
}

/// Conditions of which all must hold. `None` and the empty list ask nothing.
#[derive(Clone, Debug, Default)]
pub struct Clause {
    /// Where the flow is opened towards.
    pub destinations: Option<Arc<AddressSet>>,
    /// Who opens it.
    pub sources: Option<Arc<AddressSet>>,
    /// Destination ports (TCP and UDP only; a clause with ports never matches other protocols).
    pub destination_ports: Vec<RangeInclusive<u16>>,
    /// Source ports, of TCP and UDP as well.
    pub source_ports: Vec<RangeInclusive<u16>>,
    /// IP protocol numbers.
    pub protocols: Vec<u8>,
    /// What the flow's first bytes must tell, asked when everything above holds.
    pub payload: Vec<PayloadTest>,
}

/// A test of what a flow's first bytes tell, or its opposite.
#[derive(Clone, Debug)]
pub struct PayloadTest {
    /// The test must fail. Where there is nothing to test (no server name, an unknown protocol), it does.
    pub negated: bool,
    /// The test.
    pub test: Payload,
}

/// A test of what a flow's first bytes tell.
#[derive(Clone, Debug)]
pub enum Payload {
    /// TLS: the server name is one of these, in lower case.
    SniHost(Vec<String>),
    /// TLS: the server name is one of these, in lower case, or lies below one.
    SniDomain(Vec<String>),
    /// TLS: the server name, in lower case, matches somewhere.
    SniMatches(Arc<Regex>),
    /// The flow's protocol is one of these.
    Detected(Vec<Detected>),
}
