//! The native session: keys in use and to come, and what travels under them (WireGuard paper, sections 5.4 and 6).
//!
//! The data path works on [`Sealing`] and [`Opening`] and notes once per batch what it did; everything else, timers
//! included, goes through [`Native::tick`] when [`Native::deadline`] has come. Handshakes are in `native_handshake.rs`.

use super::cookie::Jar;
use super::handshake::{Initiated, Parties};
use super::keypairs::Keypairs;
use super::limits::{LAST_MINUTE, REKEY_AFTER_MESSAGES, REKEY_AFTER_TIME};
use super::message::{DATA_HEAD, DATA_OVERHEAD, Message, data_head};
use super::session::{Opened, Sealed};
use super::stamps::Stamps;
use super::timers::{Role, Timers};
use super::transport::{Opening, Sealing, TransportKeys};
use super::waiting::Waiting;
use crate::generation::{GenerationConfig, PublicKey};
use crate::random::Random;
use std::sync::Arc;
use std::time::Instant;
use vestibule_aead::{Open, Seal};

/// One generation's session with its peer.
pub(crate) struct Native {
    pub(super) role: Role,
    pub(super) parties: Parties,
    pub(super) random: Random,
    pub(super) stamps: Arc<Stamps>,
    /// Upper 24 bits of our indices, in place.
    index: u32,
    last_index: u8,
    keypairs: Keypairs,
    pub(super) initiated: Option<Box<Initiated>>,
    pub(super) jar: Jar,
    pub(super) waiting: Waiting,
    pub(super) timers: Timers,
}

impl Native {
    /// `public` belongs to the configuration's private key.
    pub(crate) fn new(
        config: &GenerationConfig,
        public: PublicKey,
        role: Role,
        mut random: Random,
        stamps: Arc<Stamps>,
        now: Instant,
    ) -> Self {
        let preshared = config.preshared_key.as_ref().map(crate::generation::PrivateKey::expose);
        Self {
            role,
            parties: Parties::new(config.private_key.expose(), public.0, config.peer_public_key.0, preshared),
            stamps,
            index: config.index << 8,
            last_index: random.bits() as u8,
            random,
            keypairs: Keypairs::default(),
            initiated: None,
            jar: Jar::default(),
            waiting: Waiting::default(),
            timers: Timers::new(role, config.persistent_keepalive, now),
        }
    }

    /// The half to seal with; `None` without keys that may be used, or when packets wait that must leave first.
    pub(crate) fn sealing(&mut self, now: Instant) -> Option<&mut Sealing> {
        if !self.waiting.is_empty() {
            return None;
        }
        self.keypairs.usable(now).map(|keypair| &mut keypair.sealing)
    }

    /// The half that opens what names our index `receiver`.
    pub(crate) fn opening(&mut self, receiver: u32, now: Instant) -> Option<&mut Opening> {
        let keypair = self.keypairs.find(receiver)?;
        keypair.is_alive(now).then_some(&mut keypair.opening)
    }

    /// Notes that packets were sealed in a batch; `keepalive_only`: none of them had content.
    pub(crate) fn sent_data(&mut self, now: Instant, keepalive_only: bool) {
        self.timers.sent(now);
        if !keepalive_only {
            self.timers.sent_data(now);
        }
        let Some(current) = self.keypairs.current() else { return };
        let old = current.initiator && now.saturating_duration_since(current.created_at) >= REKEY_AFTER_TIME;
        if old || current.sealing.sealed() > REKEY_AFTER_MESSAGES {
            self.timers.want_handshake(now);
        }
    }

    /// Notes that authentic packets came under `receiver`; `data`: at least one had content. True when the peer has just
    /// confirmed new keys by them.
    pub(crate) fn received(&mut self, receiver: u32, now: Instant, data: bool) -> bool {
        self.timers.received(now);
        if data {
            self.timers.received_data(now);
        }
        if self.keypairs.confirm(receiver) {
            self.timers.expire_at = self.keypairs.expire_at();
            // An initiation of ours that crossed the peer's has become needless.
            self.initiated = None;
            self.timers.confirmed(now);
            return true;
        }
        let current = self.keypairs.current().filter(|current| current.initiator && !self.timers.last_minute);
        if current.is_some_and(|current| now.saturating_duration_since(current.created_at) >= LAST_MINUTE) {
            self.timers.last_minute = true;
            self.timers.want_handshake(now);
        }
        false
    }

    /// Seals one packet into `room` (as long as the packet and 32 bytes, and 148), or lets it wait for keys.
    pub(crate) fn seal(&mut self, packet: &[u8], room: &mut [u8], now: Instant) -> Sealed {
        if self.waiting.is_empty()
            && let Some(sealed) = self.seal_now(packet, room, now)
        {
            return sealed;
        }
        if packet.is_empty() {
            return Sealed::Failed;
        }
        self.waiting.push(packet);
        if self.keypairs.usable(now).is_some() {
            self.timers.flush_at = Some(now);
        }
        self.timers.want_handshake(now);
        let due = self.timers.handshake_is_due(now);
        Sealed::Waiting { initiation: if due { self.initiate(room, now) } else { 0 } }
    }

    /// Seals the next packet that waited; call until it gives `None`.
    pub(crate) fn seal_waiting(&mut self, room: &mut [u8], now: Instant) -> Option<Sealed> {
        let packet = self.waiting.front()?.to_vec();
        let sealed = self.seal_now(&packet, room, now)?;
        self.waiting.pop();
        Some(sealed)
    }

    /// A keepalive; 0 when there are no keys.
    pub(super) fn keepalive(&mut self, room: &mut [u8], now: Instant) -> usize {
        match self.seal_now(&[], room, now) {
            Some(Sealed::Data { len, .. }) => len,
            _ => 0,
        }
    }

    fn seal_now(&mut self, packet: &[u8], room: &mut [u8], now: Instant) -> Option<Sealed> {
        let len = packet.len() + DATA_OVERHEAD;
        let message = room.get_mut(..len)?;
        let sealing = &mut self.keypairs.usable(now)?.sealing;
        let counter = sealing.reserve(1)?;
        let receiver = sealing.receiver();
        let (head, out) = message.split_at_mut(DATA_HEAD);
        head.copy_from_slice(&data_head(receiver, counter));
        sealing.key().seal(&mut [Seal { counter, head: &[], body: packet, out }]);
        self.sent_data(now, packet.is_empty());
        Some(Sealed::Data { len, receiver, counter })
    }

    /// Opens one data message into `room`.
    pub(crate) fn open(&mut self, datagram: &[u8], room: &mut [u8], now: Instant) -> Opened {
        let Some(Message::Data { receiver, counter }) = Message::parse(datagram) else { return Opened::Refused };
        let Some(opening) = self.opening(receiver, now) else { return Opened::Refused };
        if !opening.window.would_accept(counter) {
            return Opened::Replayed;
        }
        let len = datagram.len() - DATA_OVERHEAD;
        let Some(out) = room.get_mut(..len) else { return Opened::Refused };
        let mut batch = [Open { counter, sealed: &datagram[DATA_HEAD..], out, authentic: false }];
        opening.key().open(&mut batch);
        if !batch[0].authentic {
            return Opened::Refused;
        }
        opening.window.accept(counter);
        self.received(receiver, now, len > 0);
        if len == 0 { Opened::Keepalive } else { Opened::Packet(unpadded(&room[..len])) }
    }

    /// Runs what is due: a message of that many bytes to send, 0 for none. Call until it gives 0. A peer that is not
    /// `reachable` (nobody knows where it is) is sent nothing.
    pub(crate) fn tick(&mut self, room: &mut [u8], now: Instant, reachable: bool) -> usize {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.timers.zero_at) {
            self.zero(now);
        }
        if due(self.timers.expire_at) {
            self.keypairs.expire(now);
            self.timers.expire_at = self.keypairs.expire_at();
        }
        if self.timers.is_hopeless(now) {
            self.initiated = None;
            self.waiting.clear();
            self.timers.gave_up(now);
        }
        if self.timers.handshake_is_due(now) {
            self.timers.no_handshake();
            if reachable && self.role != Role::Gateway {
                return self.initiate(room, now);
            }
        }
        if due(self.timers.flush_at) {
            // The caller asks for what waited after every tick.
            self.timers.flush_at = None;
        }
        let persistent = due(self.timers.persistent_at);
        if persistent || due(self.timers.keepalive_at) {
            self.timers.keepalive_done(now);
            if persistent {
                self.timers.persistent_at = None;
            }
            let again = self.timers.keepalive_at;
            let len = if reachable { self.keepalive(room, now) } else { 0 };
            if len > 0 {
                self.timers.keepalive_at = again;
                return len;
            }
            if persistent && reachable {
                self.timers.want_handshake(now);
                if self.timers.handshake_is_due(now) {
                    return self.initiate(room, now);
                }
            }
        }
        0
    }

    /// When [`Self::tick`] wants to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// True when our session `session` is younger than `than`.
    pub(crate) fn is_later(&self, session: u32, than: u32) -> bool {
        self.keypairs.is_later(session, than)
    }

    /// New keys: as initiator for use at once, as responder once the peer has used them.
    pub(super) fn establish(&mut self, keys: &TransportKeys, now: Instant) {
        self.keypairs.establish(keys, now);
        self.timers.established(now);
        self.timers.expire_at = self.keypairs.expire_at();
    }

    /// When the keys in use end, if they still serve.
    pub(super) fn usable_until(&self, now: Instant) -> Option<Instant> {
        self.keypairs.usable_until(now)
    }

    /// Forgets every key and what waits.
    fn zero(&mut self, now: Instant) {
        self.keypairs.zero();
        self.initiated = None;
        self.jar = Jar::default();
        self.waiting.clear();
        self.timers.zeroed(now);
    }

    /// An index of ours that names no live session.
    pub(super) fn fresh_index(&mut self) -> u32 {
        loop {
            self.last_index = self.last_index.wrapping_add(1);
            let index = self.index | u32::from(self.last_index);
            let offered = self.initiated.as_ref().is_some_and(|initiated| initiated.index == index);
            if index != 0 && !offered && !self.keypairs.iter().any(|keypair| keypair.opening.index() == index) {
                return index;
            }
        }
    }
}

/// The length of an inner packet without the zeros that its sender may have filled it up with (5.4.6). What is no IP
/// packet keeps its length; the walk finds it malformed.
fn unpadded(packet: &[u8]) -> usize {
    let word = |at: usize| packet.get(at..at + 2).map(|word| usize::from(u16::from_be_bytes([word[0], word[1]])));
    let len = match packet.first().map(|byte| byte >> 4) {
        Some(4) => word(2),
        Some(6) => word(4).map(|len| len + 40),
        _ => None,
    };
    len.filter(|len| (1..packet.len()).contains(len)).unwrap_or(packet.len())
}

#[cfg(test)]
#[path = "native_tests.rs"]
mod tests;
