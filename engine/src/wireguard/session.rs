//! One generation's WireGuard session: our own, or boringtun's behind the same calls.

use super::handshake::Initiation;
use super::native::Native;
use super::noise::Secret;
use super::stamps::Stamps;
use super::timers::Role;
use super::transport::{Opening, Sealing};
use super::tunn::Library;
use crate::generation::{GenerationConfig, PrivateKey, PublicKey};
use crate::packet::Ecn;
use crate::random::Random;
use boringtun::noise::rate_limiter::RateLimiter;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often boringtun's timers are run.
const LIBRARY_TICK: Duration = Duration::from_millis(250);

/// Whose code keeps the sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionBackend {
    /// Our own (`docs/decisions/0012-native-session.md`).
    #[default]
    Native,
    /// boringtun's `Tunn`: the one that many have attacked, slower, and the judge of the other in tests.
    Boringtun,
}

/// What sealing a packet gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sealed {
    /// A data message of this many bytes, sealed for the peer's session `receiver`.
    Data { len: usize, receiver: u32, counter: u64 },
    /// No session yet: the packet waits inside, and this many bytes are a handshake initiation (0: one is under way).
    Waiting { initiation: usize },
    /// Nothing could be done.
    Failed,
}

/// What opening a datagram gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    /// An inner packet of this many bytes.
    Packet(usize),
    /// An authentic packet without content.
    Keepalive,
    /// A message of this many bytes must be sent back.
    Reply(usize),
    /// Authentic and complete; nothing to do.
    Nothing,
    /// A counter that was already used or is too old.
    Replayed,
    /// Not sealed with our keys, or no such session.
    Refused,
}

/// Makes an engine's sessions.
pub(crate) struct Sessions {
    pub(crate) backend: SessionBackend,
    pub(crate) random: Random,
    pub(crate) stamps: Arc<Stamps>,
    pub(crate) started_at: Instant,
}

impl Sessions {
    /// A session. `public` belongs to the configuration's private key. `limiter` is shared by all that answer at one static key (boringtun's only).
    pub(crate) fn open(
        &mut self,
        config: &GenerationConfig,
        public: PublicKey,
        role: Role,
        limiter: Option<Arc<RateLimiter>>,
        now: Instant,
    ) -> Session {
        match self.backend {
            SessionBackend::Native => {
                let stamps = Arc::clone(&self.stamps);
                Session::Native(Native::new(config, public, role, self.random.fork(), stamps, now))
            }
            SessionBackend::Boringtun => {
                Session::Library(Box::new(Library::new(config, limiter)), next_tick(self.started_at, now))
            }
        }
    }
}

/// The first tick after `now` on the grid of `tick`, which all sessions share so that they are run together.
fn next_tick(tick: Instant, now: Instant) -> Instant {
    let ticks = now.saturating_duration_since(tick).as_millis() / LIBRARY_TICK.as_millis() + 1;
    tick + LIBRARY_TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
}

/// A session with its peer.
#[expect(clippy::large_enum_variant, reason = "the native one is the rule, and lies beside its generation in memory")]
pub(crate) enum Session {
    /// Ours.
    Native(Native),
    /// boringtun's, and when its timers are run next.
    Library(Box<Library>, Instant),
}

impl Session {
    /// The half to seal a batch with. `None`: there are no keys, packets wait that must leave first, or it is
    /// boringtun's; then [`Self::seal`] knows what to do. Note what was sealed by [`Self::sent_data`].
    pub(crate) fn sealing(&mut self, now: Instant) -> Option<&mut Sealing> {
        match self {
            Self::Native(native) => native.sealing(now),
            Self::Library(..) => None,
        }
    }

    /// The half that opens what names our index `receiver`; `None` also for boringtun's. Note what was opened by
    /// [`Self::received`].
    pub(crate) fn opening(&mut self, receiver: u32, now: Instant) -> Option<&mut Opening> {
        match self {
            Self::Native(native) => native.opening(receiver, now),
            Self::Library(..) => None,
        }
    }

    /// Seconds between keepalives on an idle tunnel from now on; the first leaves at once. False for boringtun's, which
    /// cannot be changed.
    pub(crate) fn set_persistent_keepalive(&mut self, seconds: Option<u16>, now: Instant) -> bool {
        let Self::Native(native) = self else { return false };
        native.timers.set_persistent(seconds, now);
        true
    }

    /// A keepalive that had nowhere to go may be tried again.
    pub(crate) fn resume_keepalive(&mut self, now: Instant) {
        if let Self::Native(native) = self {
            native.timers.resume_persistent(now);
        }
    }

    /// The preshared key of the next handshakes; keys in use stay. False for boringtun's, which cannot be changed.
    pub(crate) fn set_preshared_key(&mut self, key: Option<&PrivateKey>) -> bool {
        let Self::Native(native) = self else { return false };
        native.parties.set_preshared(key.map(PrivateKey::expose));
        true
    }

    /// True when batches go through [`Self::sealing`] and [`Self::opening`].
    pub(crate) fn is_native(&self) -> bool {
        matches!(self, Self::Native(_))
    }

    /// Once per batch that was sealed through [`Self::sealing`]. `keepalive_only`: no packet had content.
    pub(crate) fn sent_data(&mut self, now: Instant, keepalive_only: bool) {
        if let Self::Native(native) = self {
            native.sent_data(now, keepalive_only);
        }
    }

    /// Once per batch that was opened through [`Self::opening`] and was authentic. `data`: a packet had content. True
    /// when the peer has just confirmed new keys by it.
    pub(crate) fn received(&mut self, receiver: u32, now: Instant, data: bool) -> bool {
        match self {
            Self::Native(native) => native.received(receiver, now, data),
            Self::Library(..) => false,
        }
    }

    /// Seals `packet` into `room` (at least `packet.len() + 32` and 148 bytes).
    pub(crate) fn seal(&mut self, packet: &[u8], room: &mut [u8], now: Instant) -> Sealed {
        match self {
            Self::Native(native) => native.seal(packet, room, now),
            Self::Library(library, _) => library.seal(packet, room),
        }
    }

    /// Seals the next packet that waited for a session; call until it gives `None`.
    pub(crate) fn seal_waiting(&mut self, room: &mut [u8], now: Instant) -> Option<Sealed> {
        match self {
            Self::Native(native) => native.seal_waiting(room, now),
            Self::Library(library, _) => library.seal_waiting(room),
        }
    }

    /// The ECN field of the packet that [`Self::seal_waiting`] seals next. boringtun does not tell: Not-ECT, which RFC
    /// 6040 calls compatibility mode.
    pub(crate) fn waiting_ecn(&self) -> Ecn {
        match self {
            Self::Native(native) => native.waiting.front().map_or(Ecn::NotEct, Ecn::of),
            Self::Library(..) => Ecn::NotEct,
        }
    }

    /// How many packets that waited were given up since the last question (boringtun does not tell).
    pub(crate) fn take_given_up(&mut self) -> u64 {
        match self {
            Self::Native(native) => native.waiting.take_dropped(),
            Self::Library(..) => 0,
        }
    }

    /// Opens a data message into `room` (at least the datagram's length).
    pub(crate) fn open(&mut self, source: IpAddr, datagram: &[u8], room: &mut [u8], now: Instant) -> Opened {
        match self {
            Self::Native(native) => native.open(datagram, room, now),
            Self::Library(library, _) => library.open(source, datagram, room),
        }
    }

    /// `DH` of both static keys, if it is kept here.
    pub(crate) fn shared(&mut self) -> Option<&Secret> {
        match self {
            Self::Native(native) => native.shared(),
            Self::Library(..) => None,
        }
    }

    /// Answers an initiation that is authentic and newer than all before. `room` takes 148 bytes.
    pub(crate) fn respond(
        &mut self,
        initiation: Initiation,
        source: IpAddr,
        message: &[u8],
        room: &mut [u8],
        now: Instant,
    ) -> Opened {
        match self {
            Self::Native(native) => native.respond(initiation, room, now),
            Self::Library(library, _) => library.open(source, message, room),
        }
    }

    /// Takes the answer to our initiation, a response or a cookie. `room` takes 148 bytes.
    pub(crate) fn answered(&mut self, source: IpAddr, message: &[u8], room: &mut [u8], now: Instant) -> Opened {
        match self {
            Self::Native(native) => native.answered(message, room, now),
            Self::Library(library, _) => library.open(source, message, room),
        }
    }

    /// A handshake initiation, also when one is already under way.
    pub(crate) fn initiate(&mut self, room: &mut [u8], now: Instant) -> usize {
        match self {
            Self::Native(native) => native.initiate(room, now),
            Self::Library(library, _) => library.initiate(room),
        }
    }

    /// Runs what is due: a message of that many bytes to send, and again until it gives 0. `Err`: boringtun's keys have
    /// all expired. Nothing is sent to a peer that is not `reachable`.
    pub(crate) fn tick(&mut self, room: &mut [u8], now: Instant, reachable: bool) -> Result<usize, ()> {
        match self {
            Self::Native(native) => Ok(native.tick(room, now, reachable)),
            Self::Library(_, due) if now < *due => Ok(0),
            Self::Library(library, due) => {
                *due = next_tick(*due, now);
                library.tick(room)
            }
        }
    }

    /// When [`Self::tick`] wants to be called. Cheap: the data path asks once per batch.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Native(native) => native.deadline(),
            Self::Library(_, due) => Some(*due),
        }
    }

    /// True when our session `session` is younger than `than`.
    pub(crate) fn is_later(&self, session: u32, than: u32) -> bool {
        match self {
            Self::Native(native) => native.is_later(session, than),
            // The library counts its sessions in the index's low byte.
            Self::Library(..) => (session as u8).wrapping_sub(than as u8) < 128,
        }
    }
}
