//! What control calls.

use super::names::NamesAsked;
use super::{Masque, TunnelEnd, TunnelNews};
use crate::core::peer::Peer;
use crate::core::{Engine, PeerId, PeerKind, PrepareError};
use crate::generation::{Bundle, Generation, MasqueConfig, MasqueEnd, MasqueTunnel, Transport};
use crate::masque::request::UriTemplate;
use crate::masque::session::{ConnectError, Settings};
use ipnet::IpNet;
use std::sync::Arc;
use std::time::Instant;

/// What a gateway serves tunnels with.
#[derive(Clone, Debug)]
pub struct MasqueServer {
    /// Its certificate and key ([`crate::masque::session::tls::server`]).
    pub tls: Arc<rustls::ServerConfig>,
    /// Paths of tunnels ([`UriTemplate::check_for_gateway`]).
    pub templates: Vec<UriTemplate>,
}

/// How tunnels to peers of others are set up.
#[derive(Clone, Debug)]
pub struct PlainMasque {
    /// Of every connection.
    pub settings: Settings,
    /// For those that come in; `None`: none may.
    pub server: Option<MasqueServer>,
    /// What is advertised to clients, of what they ask for; `None`: all of it.
    pub routes: Option<Vec<IpNet>>,
    /// Targets may be names: [`Event::NameWanted`](crate::core::Event::NameWanted) asks what they stand for.
    pub names: bool,
}

impl Engine {
    /// Sets up tunnels to peers of others. Call it before the first [`Self::prepare_masque`]: tunnels that exist are
    /// forgotten.
    ///
    /// # Errors
    /// The settings contradict each other, or the TLS settings do not fit QUIC.
    pub fn plain_masque(&mut self, plain: PlainMasque, now: Instant) -> Result<(), ConnectError> {
        let mut masque = Masque::with(plain.settings, plain.server, &mut self.sessions.random, now)?;
        masque.routes = plain.routes;
        masque.names = plain.names.then(NamesAsked::default);
        self.masque = Some(Box::new(masque));
        Ok(())
    }

    /// Lets devices connect over MASQUE, on the socket that WireGuard has. Call it once, before the first
    /// [`Self::prepare_masque`]: tunnels that exist are forgotten.
    ///
    /// # Errors
    /// The TLS settings do not fit QUIC.
    pub fn serve_masque(&mut self, server: MasqueServer, now: Instant) -> Result<(), ConnectError> {
        self.masque = Some(Box::new(Masque::new(Some(server), self.mtu, &mut self.sessions.random, now)?));
        Ok(())
    }

    /// Starts a generation over MASQUE beside the active one, whatever that one travels over. All else is as for
    /// [`Self::prepare`].
    ///
    /// # Errors
    /// Unknown peer, a client key of another peer, `swap_seq` not above every one seen, or the wrong end of a tunnel.
    pub fn prepare_masque(&mut self, peer: PeerId, config: MasqueConfig, now: Instant) -> Result<(), PrepareError> {
        let (slot, kind) = self.admit_order(peer, config.swap_seq)?;
        let connects = matches!(config.end, MasqueEnd::Device(_));
        if (kind == PeerKind::Gateway && !connects) || (kind == PeerKind::Device && connects) {
            return Err(PrepareError::WrongEnd);
        }
        let masque = match &mut self.masque {
            Some(masque) => masque,
            empty => {
                let made = Masque::new(None, self.mtu, &mut self.sessions.random, now);
                empty.insert(Box::new(made.map_err(|_| PrepareError::WrongEnd)?))
            }
        };
        if !masque.clients.add(&config.end, (slot, config.id)) {
            return Err(PrepareError::KeyInUse);
        }
        let transport = Transport::Masque(Box::new(MasqueTunnel::new(config.end.clone(), now)));
        let generation = Generation::new(peer, &Bundle::from(&config), transport, &self.counters, now);
        self.place(slot, Box::new(generation), now);
        self.connect_masque(slot, now);
        self.flush_masque(now);
        Ok(())
    }

    /// Tries the connections that are due for a peer's generations, and closes those that were replaced.
    pub(in crate::core) fn connect_masque(&mut self, slot: usize, now: Instant) {
        let Some(masque) = &mut self.masque else { return };
        let Peer { active, preparing, .. } = &mut self.peers[slot];
        let mut silent = Vec::new();
        for generation in active.iter_mut().chain(preparing) {
            let id = generation.id;
            let Some(tunnel) = generation.transport.masque() else { continue };
            tunnel.look(|path| masque.heard(path), now);
            if let Some((carrier, nowhere)) = tunnel.unanswered(|carrier| masque.answered(carrier), now) {
                masque.close(carrier);
                silent.extend(nowhere.then_some(id));
            }
            while let Some((http, gateway, place)) = tunnel.wants(now) {
                let begun = masque.connect(http, (gateway, place), (slot, id), now);
                self.counters.handshakes_sent.add(begun.iter().len() as u64);
                tunnel.begun(http, begun, now);
            }
            while let Some(outlived) = tunnel.outlived(now) {
                masque.close(outlived);
            }
        }
        for id in silent {
            self.tell_tunnel(slot, id, TunnelNews::Ended(TunnelEnd::Silent));
        }
    }

    /// When QUIC wants to be looked at.
    pub(in crate::core) fn masque_deadline(&self) -> Option<Instant> {
        self.masque.as_ref()?.endpoint.poll_deadline()
    }

    /// Makes an active tunnel anew: the gateway may have forgotten it. It is in use until the new one stands.
    pub(in crate::core) fn renew_masque(&mut self, slot: usize, now: Instant) {
        let Some(active) = &mut self.peers[slot].active else { return };
        if let Some(tunnel) = active.transport.masque()
            && let Some(path) = tunnel.path
        {
            tunnel.attempts.renew(path.carrier().http(), now);
        }
        self.connect_masque(slot, now);
        self.flush_masque(now);
    }
}
