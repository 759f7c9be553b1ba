//! The session on boringtun: one `Tunn`. It copies once, seals and opens under one borrow, and reads its own clock.

use super::message::Message;
use super::session::{Opened, Sealed};
use crate::generation::GenerationConfig;
use boringtun::noise::errors::WireGuardError;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Tunn, TunnResult};
use std::net::IpAddr;
use std::sync::Arc;
use x25519_dalek::{PublicKey as Point, StaticSecret};

/// Reads from the wire format what the library does not tell.
fn sealed(message: &[u8]) -> Sealed {
    match Message::parse(message) {
        Some(Message::Data { receiver, counter }) => Sealed::Data { len: message.len(), receiver, counter },
        _ => Sealed::Waiting { initiation: message.len() },
    }
}

/// A boringtun tunnel with what the engine must know beside it.
pub(crate) struct Library {
    tunn: Tunn,
}

impl Library {
    /// `limiter` is shared by all sessions of one responder key; `None` makes one for this key.
    pub(crate) fn new(config: &GenerationConfig, limiter: Option<Arc<RateLimiter>>) -> Self {
        let secret = StaticSecret::from(*config.private_key.expose());
        let limiter = limiter.unwrap_or_else(|| Arc::new(RateLimiter::new(&Point::from(&secret), u64::MAX)));
        Self {
            tunn: Tunn::new(
                secret,
                Point::from(config.peer_public_key.0),
                config.preshared_key.as_ref().map(|key| *key.expose()),
                config.persistent_keepalive,
                config.index,
                Some(limiter),
            ),
        }
    }

    /// Seals `packet` into `room` (at least `packet.len() + 32` and 148 bytes).
    pub(crate) fn seal(&mut self, packet: &[u8], room: &mut [u8]) -> Sealed {
        match self.tunn.encapsulate(packet, room) {
            TunnResult::WriteToNetwork(message) => sealed(message),
            TunnResult::Done => Sealed::Waiting { initiation: 0 },
            _ => Sealed::Failed,
        }
    }

    /// Seals the next packet that waited for a session; call until it gives `None`.
    pub(crate) fn seal_waiting(&mut self, room: &mut [u8]) -> Option<Sealed> {
        match self.tunn.decapsulate(None, &[], room) {
            TunnResult::WriteToNetwork(message) => match sealed(message) {
                Sealed::Waiting { .. } => None,
                data => Some(data),
            },
            _ => None,
        }
    }

    /// Opens a datagram into `room` (at least the datagram's length, and 148 bytes for handshakes).
    pub(crate) fn open(&mut self, source: IpAddr, datagram: &[u8], room: &mut [u8]) -> Opened {
        match self.tunn.decapsulate(Some(source), datagram, room) {
            TunnResult::WriteToTunnelV4(packet, _) => Opened::Packet(packet.len()),
            TunnResult::WriteToTunnelV6(packet, _) => Opened::Packet(packet.len()),
            TunnResult::WriteToNetwork(message) => Opened::Reply(message.len()),
            TunnResult::Done if datagram.first() == Some(&4) => Opened::Keepalive,
            TunnResult::Done => Opened::Nothing,
            TunnResult::Err(WireGuardError::DuplicateCounter | WireGuardError::InvalidCounter) => Opened::Replayed,
            TunnResult::Err(_) => Opened::Refused,
        }
    }

    /// A handshake initiation, also when one is already under way.
    pub(crate) fn initiate(&mut self, room: &mut [u8]) -> usize {
        match self.tunn.format_handshake_initiation(room, true) {
            TunnResult::WriteToNetwork(message) => message.len(),
            _ => 0,
        }
    }

    /// Runs the library's timers: a message of that many bytes to send (0: none), or `Err` when all keys have expired.
    pub(crate) fn tick(&mut self, room: &mut [u8]) -> Result<usize, ()> {
        match self.tunn.update_timers(room) {
            TunnResult::WriteToNetwork(message) => Ok(message.len()),
            TunnResult::Err(WireGuardError::ConnectionExpired) => Err(()),
            _ => Ok(0),
        }
    }
}
