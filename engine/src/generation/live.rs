//! A generation while it lives.

use super::{GenerationConfig, GenerationId, MasqueConfig, MasqueTunnel, PublicKey};
use crate::core::{Counters, GenerationCounters, PeerId};
use crate::policy::Policy;
use crate::wireguard::Session;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first pause between two handshake initiations of a preparing generation; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(750);
const RETRY_MAX: Duration = Duration::from_secs(3);
/// A device renews its keys at this age, with or without traffic, so that the gateway can always reach it. Sooner than
/// the paper's 120 s (section 6.2): a gateway that hears nothing for 15 s makes its library begin a handshake, which is
/// never sent and wipes every key 90 s later unless the device has initiated by then.
const REKEY_AFTER: Duration = Duration::from_secs(100);
/// Keys of this age are of no use any more (`Reject-After-Time`).
const REJECT_AFTER: Duration = Duration::from_secs(180);
/// While the keys are of use, two attempts to renew them follow each other after this pause,
const RENEW_SOON: Duration = Duration::from_secs(1);
/// and later ones after this, until the keys are of no use. Each unanswered initiation takes one of the peer's eight
/// session places, and the eighth would take the one in use: 2 + 80 s / 20 s stays below, also when the first handshake
/// took two places.
const RENEW_LATER: Duration = Duration::from_secs(20);
/// The first pause before a marker is sent again; it doubles up to [`MARKER_MAX`].
const MARKER_MIN: Duration = Duration::from_millis(50);
const MARKER_MAX: Duration = Duration::from_secs(1);

/// A generation's end of life: it opens what is in flight and seals nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drain {
    /// When it began.
    pub(crate) since: Instant,
    /// When it ends, unless something is still to come (`core/drains.rs`).
    pub(crate) until: Instant,
    /// How long it lasts when nothing is in its way, and longer than the last sign that something was.
    pub(crate) length: Duration,
    /// The peer has moved on, too: at a device, the gateway has said so.
    pub(crate) followed: bool,
    /// From the peer's marker: (our receiver index, greatest counter) of its last packet.
    pub(crate) limit: Option<(u32, u64)>,
}

/// A marker that is not acknowledged yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marker {
    /// The peer's receiver index of the old generation, 0 for none.
    pub(crate) old_receiver: u32,
    /// Counter of our last packet under the old generation.
    pub(crate) old_counter: u64,
    /// When it is sent again.
    pub(crate) resend_at: Instant,
    pause: Duration,
}

impl Marker {
    pub(crate) fn new(old: Option<(u32, u64)>, rtt: Duration, now: Instant) -> Self {
        let (old_receiver, old_counter) = old.unwrap_or_default();
        let pause = (rtt * 2).clamp(MARKER_MIN, MARKER_MAX);
        Self { old_receiver, old_counter, resend_at: now + pause, pause }
    }

    /// Notes that it was sent again.
    pub(crate) fn resent(&mut self, now: Instant) {
        self.pause = (self.pause * 2).min(MARKER_MAX);
        self.resend_at = now + self.pause;
    }
}

/// What carries a generation's packets.
#[expect(clippy::large_enum_variant, reason = "a session is the rule, and lies beside its generation in memory")]
pub(crate) enum Transport {
    WireGuard(Session),
    Masque(Box<MasqueTunnel>),
}

impl Transport {
    pub(crate) fn wireguard(&mut self) -> Option<&mut Session> {
        match self {
            Self::WireGuard(session) => Some(session),
            Self::Masque(_) => None,
        }
    }

    pub(crate) fn masque(&mut self) -> Option<&mut MasqueTunnel> {
        match self {
            Self::Masque(tunnel) => Some(tunnel),
            Self::WireGuard(_) => None,
        }
    }

    /// True when a tunnel over MASQUE is open.
    pub(crate) fn has_tunnel(&self) -> bool {
        matches!(self, Self::Masque(masque) if masque.path.is_some())
    }

    pub(crate) fn is_masque(&self) -> bool {
        matches!(self, Self::Masque(_))
    }

    /// True of what we have written ourselves and keeps its own times; boringtun's sessions are told when to initiate.
    pub(crate) fn keeps_time(&self) -> bool {
        match self {
            Self::WireGuard(session) => session.is_native(),
            Self::Masque(_) => true,
        }
    }

    fn is_later(&self, one: u32, other: u32) -> bool {
        match self {
            Self::WireGuard(session) => session.is_later(one, other),
            Self::Masque(_) => false,
        }
    }
}

/// What every generation has, whatever carries it.
pub(crate) struct Bundle<'a> {
    pub(crate) id: GenerationId,
    pub(crate) swap_seq: u64,
    pub(crate) identity: &'a Arc<str>,
    pub(crate) policy: &'a Arc<Policy>,
}

impl<'a> From<&'a GenerationConfig> for Bundle<'a> {
    fn from(config: &'a GenerationConfig) -> Self {
        Self { id: config.id, swap_seq: config.swap_seq, identity: &config.identity, policy: &config.policy }
    }
}

impl<'a> From<&'a MasqueConfig> for Bundle<'a> {
    fn from(config: &'a MasqueConfig) -> Self {
        Self { id: config.id, swap_seq: config.swap_seq, identity: &config.identity, policy: &config.policy }
    }
}

/// One generation with its session.
pub(crate) struct Generation {
    pub(crate) peer: PeerId,
    pub(crate) id: GenerationId,
    pub(crate) swap_seq: u64,
    pub(crate) policy: Arc<Policy>,
    pub(crate) transport: Transport,
    pub(crate) endpoint: Option<SocketAddr>,
    /// Where else the peer may be: initiations go there as well while nobody answers.
    pub(crate) further: Vec<SocketAddr>,
    /// Upper 24 bits of its receiver indices; `None` where there are none.
    pub(crate) index: Option<u32>,
    /// All zeros without WireGuard.
    pub(crate) peer_public_key: PublicKey,
    /// Greatest handshake timestamp seen from that key.
    pub(crate) last_handshake: [u8; 12],
    pub(crate) counters: Arc<GenerationCounters>,
    pub(crate) prepared_at: Instant,
    /// The handshake is confirmed.
    pub(crate) ready: bool,
    pub(crate) rtt: Duration,
    /// (The peer's receiver index, counter) of the last packet sealed.
    pub(crate) last_sealed: Option<(u32, u64)>,
    pub(crate) marker: Option<Marker>,
    pub(crate) drain: Option<Drain>,
    /// When the peer said that nothing more comes under this generation.
    pub(crate) ended_at: Option<Instant>,
    /// Our receiver index of the newest session whose handshake both ends have completed.
    pub(crate) completed: Option<u32>,
    initiated_at: Option<Instant>,
    established_at: Option<Instant>,
    retry_at: Instant,
    retry_pause: Duration,
    /// Initiations since the peer last answered one.
    attempts: u32,
    /// (Our receiver index, greatest counter) of the newest session the peer has used.
    newest: Option<(u32, u64)>,
}

impl Generation {
    pub(crate) fn new(
        peer: PeerId,
        bundle: &Bundle<'_>,
        transport: Transport,
        counters: &Counters,
        now: Instant,
    ) -> Self {
        Self {
            peer,
            id: bundle.id,
            swap_seq: bundle.swap_seq,
            policy: Arc::clone(bundle.policy),
            transport,
            endpoint: None,
            further: Vec::new(),
            index: None,
            peer_public_key: PublicKey([0; 32]),
            last_handshake: [0; 12],
            counters: counters.open_generation(bundle.id, bundle.identity),
            prepared_at: now,
            ready: false,
            rtt: Duration::ZERO,
            last_sealed: None,
            marker: None,
            drain: None,
            ended_at: None,
            completed: None,
            initiated_at: None,
            established_at: None,
            retry_at: now,
            retry_pause: RETRY_MIN,
            attempts: 0,
            newest: None,
        }
    }

    /// When its transport wants to be looked at.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        match &self.transport {
            Transport::WireGuard(session) => session.deadline(),
            Transport::Masque(tunnel) => tunnel.deadline(self.ready, now),
        }
    }

    /// Where an initiation of this time goes besides the endpoint. From where it is answered is the endpoint.
    pub(crate) fn elsewhere(&self, now: Instant) -> impl Iterator<Item = SocketAddr> + use<> {
        let has_session = self.established_at.is_some_and(|at| now < at + REJECT_AFTER);
        let silent = self.attempts > 0 && !has_session;
        if silent { self.further.clone() } else { Vec::new() }.into_iter()
    }

    /// Notes that a handshake initiation leaves now.
    pub(crate) fn initiated(&mut self, now: Instant) {
        self.initiated_at = Some(now);
        self.attempts += 1;
        let end_of_use = self.established_at.map(|at| at + REJECT_AFTER).filter(|end| now < *end);
        self.retry_at = match (end_of_use, self.attempts) {
            (Some(end), 1) => end.min(now + RENEW_SOON),
            (Some(end), _) => end.min(now + RENEW_LATER),
            (None, _) => now + self.retry_pause,
        };
        self.retry_pause = (self.retry_pause * 2).min(RETRY_MAX);
    }

    /// When the next initiation is due while no answer has come. boringtun's sessions alone; a native one keeps its own
    /// times.
    pub(crate) fn retry_at(&self) -> Instant {
        self.retry_at
    }

    /// The same, before the first answer: `None` when there is nothing to try again.
    pub(crate) fn retries(&self) -> Option<Instant> {
        (!self.ready && !self.transport.keeps_time()).then_some(self.retry_at)
    }

    /// Notes that the peer answered our handshake.
    pub(crate) fn answered(&mut self, now: Instant) {
        if let Some(sent) = self.initiated_at.take() {
            self.rtt = now.saturating_duration_since(sent);
        }
        self.retry_pause = RETRY_MIN;
        self.attempts = 0;
        self.established_at = Some(now);
    }

    /// True when the keys are old enough for new ones and no attempt at that is fresh.
    pub(crate) fn wants_rekey(&self, now: Instant) -> bool {
        self.established_at.is_some_and(|at| now.saturating_duration_since(at) >= REKEY_AFTER) && now >= self.retry_at
    }

    /// True when an authentic packet is the first of a session that the peer has just confirmed.
    pub(crate) fn begins_session(&self, receiver: u32) -> bool {
        self.newest.is_none_or(|(session, _)| session != receiver && self.transport.is_later(receiver, session))
    }

    /// True when an authentic packet is the newest of this generation, which lets it move the endpoint.
    pub(crate) fn is_newest(&mut self, receiver: u32, counter: u64) -> bool {
        let newer = match self.newest {
            None => true,
            Some((same, greatest)) if same == receiver => counter > greatest,
            Some((other, _)) => self.transport.is_later(receiver, other),
        };
        if newer {
            self.newest = Some((receiver, counter));
        }
        newer
    }
}
