//! Targets that are names. Somebody above resolves them, before the request is answered (RFC 9484 section 4.1).

use crate::core::{Engine, Event};
use crate::masque::request::{Answer, Incoming};
use crate::masque::session::{TunnelId, tls};
use rustls::pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

/// Requests that may wait; further ones are answered 503.
const MOST: usize = 256;
/// Who tells of names that could not be resolved (RFC 9209 section 2).
const PROXY: &str = "vestibule";

/// Names a request whose target is being resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameRequest(u64);

/// Requests that wait for their names.
#[derive(Debug, Default)]
pub(super) struct NamesAsked {
    last: u64,
    waiting: BTreeMap<NameRequest, (TunnelId, Incoming)>,
}

impl NamesAsked {
    /// A request waits. `None`: too many do.
    pub(super) fn ask(&mut self, tunnel: TunnelId, incoming: Incoming) -> Option<NameRequest> {
        if self.waiting.len() >= MOST {
            return None;
        }
        self.last += 1;
        let request = NameRequest(self.last);
        self.waiting.insert(request, (tunnel, incoming));
        Some(request)
    }

    /// Nobody waits for this one's answer any longer; its number may be another's soon.
    pub(super) fn forget(&mut self, tunnel: TunnelId) {
        self.waiting.retain(|_, (of, _)| *of != tunnel);
    }
}

impl Engine {
    /// The addresses of a name that [`Event::NameWanted`] asked for; none: the request is refused (RFC 9209: `dns_error`).
    pub fn name_resolved(&mut self, request: NameRequest, addresses: Vec<IpAddr>, now: Instant) {
        let Some(masque) = &mut self.masque else { return };
        let Some(names) = &mut masque.names else { return };
        let Some((tunnel, mut incoming)) = names.waiting.remove(&request) else { return };
        if addresses.is_empty() {
            masque.endpoint.refuse(tunnel, &unresolved(), now);
            self.counters.tunnels_refused.add(1);
        } else {
            incoming.resolved = Some(addresses);
            self.tunnel_requested(tunnel, &incoming, now);
        }
        self.flush_masque(now);
    }

    /// Whether a client would be let in, before its target's name is resolved for it: over HTTP/2, where the request waits
    /// with whoever took it.
    ///
    /// # Errors
    /// The answer that refuses it.
    pub fn admits(&self, incoming: &Incoming, certificates: &[CertificateDer<'_>]) -> Result<(), Answer> {
        let client = certificates.first().and_then(|own| Some(tls::key_id(&tls::public_key(own).ok()?)));
        self.admit_owner(client, incoming).map(drop).map_err(Answer::refused)
    }

    /// A client that would be let in has asked for a name, over HTTP/3.
    pub(super) fn want_name(&mut self, tunnel: TunnelId, incoming: &Incoming, name: String, now: Instant) {
        let Some(masque) = &mut self.masque else { return };
        match masque.names.as_mut().and_then(|names| names.ask(tunnel, incoming.clone())) {
            Some(request) => self.events.push_back(Event::NameWanted { request, name }),
            None => {
                masque.endpoint.refuse(tunnel, &Answer::refused(503), now);
                self.counters.tunnels_refused.add(1);
            }
        }
    }
}

/// The answer to a request for a name that stands for nothing.
#[must_use]
pub fn unresolved() -> Answer {
    Answer::dns_error(PROXY, None)
}
