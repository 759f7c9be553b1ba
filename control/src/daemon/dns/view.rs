//! What `vestibule status` says of names.

use crate::daemon::settings::Dns;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// Whether the system asks the local resolver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DnsState {
    /// No: the tunnel is down, or the profile names no domains.
    #[default]
    Off,
    /// Yes.
    On,
    /// It should, and cannot.
    Failed,
    /// It did, and somebody else has changed the system's resolvers since.
    Displaced,
}

/// How names are resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsView {
    /// In one word.
    pub state: DnsState,
    /// Where the local resolver listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// What was changed to make the system ask it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeper: Option<String>,
    /// Domains with servers of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback_domains: Vec<DomainView>,
    /// Suffixes tried for short names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Who is asked for everything else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub system_servers: Vec<IpAddr>,
    /// Why it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A domain with servers of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainView {
    /// The domain, and all below it.
    pub suffix: String,
    /// Its servers; none means the system's, or nobody's where guessing is switched off.
    pub servers: Vec<IpAddr>,
}

/// The resolver stands.
pub(super) fn up(dns: &Dns, address: SocketAddr, former: &[IpAddr], keeper: Option<String>) -> DnsView {
    let domains = dns.fallback_domains.iter();
    let domains =
        domains.map(|domain| DomainView { suffix: domain.suffix.clone(), servers: domain.dns_server.clone() });
    DnsView {
        state: DnsState::On,
        address: Some(address),
        keeper,
        fallback_domains: domains.collect(),
        search: dns.search_suffixes.clone(),
        system_servers: former.to_vec(),
        error: None,
    }
}
