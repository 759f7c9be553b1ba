//! Which servers are asked for a name.

use crate::daemon::settings::Dns;
use hickory_server::proto::rr::Name;
use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Where servers listen.
const PORT: u16 = 53;

/// Servers that are asked in turn, beginning with the one that answered last.
#[derive(Debug, Default)]
pub(super) struct Servers {
    all: Vec<SocketAddr>,
    good: AtomicUsize,
}

impl Servers {
    pub(super) fn new(all: Vec<SocketAddr>) -> Arc<Self> {
        Arc::new(Self { all, good: AtomicUsize::new(0) })
    }

    /// In the order in which they are asked, each with its number.
    pub(super) fn in_turn(&self) -> impl Iterator<Item = (usize, SocketAddr)> {
        let numbers = (0..self.all.len()).cycle().skip(self.good.load(Ordering::Relaxed)).take(self.all.len());
        numbers.filter_map(|number| Some((number, *self.all.get(number)?)))
    }

    /// The next question goes to `number` first.
    pub(super) fn prefer(&self, number: usize) {
        self.good.store(number, Ordering::Relaxed);
    }
}

/// Suffixes with servers of their own, and the servers for everything else. The same name always has the same servers.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// The longest suffix first.
    zones: Vec<(Name, Arc<Servers>)>,
    rest: Arc<Servers>,
}

impl Routes {
    /// What a profile says, on a system that asks `system` otherwise. Suffixes that are no names are left out and told.
    pub(super) fn new(dns: &Dns, system: &[IpAddr]) -> Self {
        let at_port = |addresses: &[IpAddr]| addresses.iter().map(|address| SocketAddr::new(*address, PORT)).collect();
        let rest = Servers::new(at_port(system));
        let zones = dns.fallback_domains.iter().filter_map(|domain| {
            let Some(suffix) = suffix(&domain.suffix) else {
                tracing::warn!(suffix = domain.suffix, "a fallback domain that is no name is left out");
                return None;
            };
            let servers = match (&domain.dns_server[..], dns.auto_fallback) {
                // The system's own are guessed: they knew the domain before the tunnel was there.
                ([], true) => Arc::clone(&rest),
                (servers, _) => Servers::new(at_port(servers)),
            };
            Some((suffix, servers))
        });
        Self::of(zones.collect(), rest)
    }

    /// Routes by suffix, and those for the rest.
    pub(super) fn of(mut zones: Vec<(Name, Arc<Servers>)>, rest: Arc<Servers>) -> Self {
        // Stable: of two equal ones the first counts.
        zones.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.num_labels()));
        Self { zones, rest }
    }

    /// The servers for `name`: those of the longest suffix it has, label by label and without regard to letter case.
    pub(super) fn servers(&self, name: &Name) -> Arc<Servers> {
        let zone = self.zones.iter().find(|(suffix, _)| suffix.zone_of(name));
        Arc::clone(zone.map_or(&self.rest, |(_, servers)| servers))
    }
}

/// A suffix as the profile writes it: `corp.example`, `.corp.example`, `*.corp.example` or with a dot at its end.
pub(super) fn suffix(text: &str) -> Option<Name> {
    let text = text.trim();
    let text = text.strip_prefix("*.").or_else(|| text.strip_prefix('.')).unwrap_or(text);
    let mut name = Name::from_utf8(text).ok().filter(|name| name.iter().next().is_some())?;
    name.set_fqdn(true);
    Some(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::api::profile::FallbackDomain;

    fn domain(suffix: &str, servers: &[&str]) -> FallbackDomain {
        let dns_server = servers.iter().map(|text| text.parse().unwrap()).collect();
        FallbackDomain { suffix: suffix.into(), description: String::new(), dns_server }
    }

    fn asked(routes: &Routes, name: &str) -> Vec<String> {
        let servers = routes.servers(&Name::from_ascii(name).unwrap());
        servers.in_turn().map(|(_, server)| server.ip().to_string()).collect()
    }

    #[test]
    fn the_longest_suffix_wins_by_whole_labels_in_any_case() {
        let domains = vec![
            domain("corp.example", &["10.20.0.10", "10.20.0.11"]),
            domain("*.Lab.Corp.Example.", &["10.30.0.10"]),
            domain(".0.20.10.in-addr.arpa", &["10.20.0.10"]),
            domain("CORP.example", &["10.99.0.99"]),
        ];
        let dns = Dns { connected: true, fallback_domains: domains, search_suffixes: Vec::new(), auto_fallback: true };
        let routes = Routes::new(&dns, &["192.0.2.53".parse().unwrap()]);
        assert_eq!(asked(&routes, "_ldap._tcp.dc._msdcs.CORP.EXAMPLE."), ["10.20.0.10", "10.20.0.11"]);
        assert_eq!(asked(&routes, "corp.example."), ["10.20.0.10", "10.20.0.11"]);
        assert_eq!(asked(&routes, "host.lab.corp.example."), ["10.30.0.10"]);
        assert_eq!(asked(&routes, "10.0.20.10.in-addr.arpa."), ["10.20.0.10"]);
        for other in ["notcorp.example.", "example.", "corp.example.net.", "."] {
            assert_eq!(asked(&routes, other), ["192.0.2.53"], "{other}");
        }
    }

    #[test]
    fn a_domain_without_servers_goes_to_the_system_or_nowhere() {
        let mut dns =
            Dns { fallback_domains: vec![domain("corp.example", &[])], auto_fallback: true, ..Dns::default() };
        let system = ["192.0.2.53".parse().unwrap()];
        assert_eq!(asked(&Routes::new(&dns, &system), "dc1.corp.example."), ["192.0.2.53"]);
        dns.auto_fallback = false;
        assert_eq!(asked(&Routes::new(&dns, &system), "dc1.corp.example."), [""; 0]);
    }

    #[test]
    fn what_is_no_name_is_left_out() {
        for bad in ["", ".", "*.", "a..b", &"x".repeat(64)] {
            assert_eq!(suffix(bad), None, "{bad:?}");
        }
        assert_eq!(suffix("bücher.example").unwrap().to_ascii(), "xn--bcher-kva.example.");
    }

    #[test]
    fn the_server_that_answered_is_asked_first() {
        let servers = Servers::new((1..=3).map(|last| SocketAddr::from(([10, 0, 0, last], 53))).collect());
        servers.prefer(1);
        assert_eq!(servers.in_turn().map(|(number, _)| number).collect::<Vec<_>>(), [1, 2, 0]);
    }
}
