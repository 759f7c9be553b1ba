//! Generations: identity, keys, transport and policy as one bundle, and its life
//! `prepare -> ready -> commit -> drain -> retire` (or `abort`).

mod attempts;
mod candidates;
mod live;
mod masque;
mod tunnel;
mod watch;

pub(crate) use attempts::Carrier;
pub use attempts::{Http, HttpChoice, StreamKey};
pub(crate) use live::{Bundle, Drain, Generation, Marker, Transport};
pub use masque::{MasqueAsks, MasqueConfig, MasqueEnd, MasqueGateway};
pub(crate) use tunnel::{MasqueTunnel, Path, Width};

use crate::policy::Policy;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use zeroize::Zeroizing;

/// Names a generation for ever; the caller never reuses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GenerationId(pub u64);

/// A WireGuard (X25519) private key. Zeroised on drop, redacted in `Debug`.
#[derive(Clone)]
pub struct PrivateKey(Zeroizing<[u8; 32]>);

impl PrivateKey {
    /// Takes 32 secret bytes (clamped by X25519 itself).
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The secret bytes, for storing them in a secret store.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The public key that belongs to it.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let secret = x25519_dalek::StaticSecret::from(*self.0);
        PublicKey(x25519_dalek::PublicKey::from(&secret).to_bytes())
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey(redacted)")
    }
}

/// A WireGuard (X25519) public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// Everything that makes one generation over WireGuard. [`MasqueConfig`] is its like over MASQUE.
#[derive(Clone, Debug)]
pub struct GenerationConfig {
    /// Its id.
    pub id: GenerationId,
    /// The order to swap that this generation answers; higher wins, a lower one never commits.
    pub swap_seq: u64,
    /// Who the traffic belongs to, for counters and logs (a mail address).
    pub identity: Arc<str>,
    /// Our static key. A gateway passes its one key for all.
    pub private_key: PrivateKey,
    /// The peer's static key.
    pub peer_public_key: PublicKey,
    /// Optional preshared key.
    pub preshared_key: Option<PrivateKey>,
    /// Where the peer is; `None` until its first authenticated packet tells.
    pub endpoint: Option<SocketAddr>,
    /// Seconds between keepalives on an idle tunnel; `None` for none.
    pub persistent_keepalive: Option<u16>,
    /// The rules that judge this generation's packets.
    pub policy: Arc<Policy>,
    /// Greatest TAI64N timestamp already seen from `peer_public_key` (persisted by the caller); zeros if none.
    pub last_handshake: [u8; 12],
    /// 24 random bits, unlike those of every other live generation: the WireGuard receiver index's upper part.
    pub index: u32,
}

/// How long a receiver holds the packets of a new generation back at most for the end of the old one, when they travel by
/// different ways.
pub const HOLD_MOST: Duration = Duration::from_millis(50);
/// Most bytes that it holds.
pub const HOLD_BYTES: usize = 4 << 20;
/// How long drain lasts at least: `max(3 RTT, DRAIN_MIN)`, counted from when nothing more can be on its way.
pub const DRAIN_MIN: Duration = Duration::from_secs(1);
/// How long it lasts at most, not counting the time that we could not look.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);
/// A generation that has drained this long (and 3 RTT) gives way when a fifth would drain.
pub const DRAIN_EARLY: Duration = Duration::from_millis(100);
/// A generation whose handshake found no answer for this long has failed.
pub const PREPARE_TIMEOUT: Duration = Duration::from_secs(15);
/// Most generations of one peer that drain at a time.
pub const MAX_DRAINING: usize = 4;
