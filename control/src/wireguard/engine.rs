//! Orders to the packet worker.

use super::device::ApplyError;
use ipnet::IpNet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use subtle::ConstantTimeEq;
use vestibule_engine::core::{Engine, PeerId, PeerKind, PeerStatistics, PrepareError};
use vestibule_engine::generation::{GenerationConfig, GenerationId, PrivateKey, PublicKey};
use vestibule_engine::policy::Policy;
use vestibule_platform::clock;
use vestibule_platform::runtime::{Handle, Stopped};

/// Peers per closure on the worker. A new peer costs two or three X25519 products, 0.1 ms each: packets wait 2 ms.
const ORDERS: usize = 8;
/// Peers removed per closure, or asked for their counters: microseconds each.
const LOOKS: usize = 512;
/// How often another receiver index is drawn when one is taken (out of 16 million).
const DRAWS: usize = 32;

/// What makes a peer's generation; another of these is another generation.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) private_key: PrivateKey,
    pub(super) preshared_key: Option<PrivateKey>,
    pub(super) persistent_keepalive: u16,
}

impl PartialEq for Wanted {
    fn eq(&self, other: &Self) -> bool {
        let preshared = |wanted: &Self| *wanted.preshared_key.as_ref().map_or(&[0; 32], PrivateKey::expose);
        self.has_key_of(other)
            && bool::from(preshared(self).ct_eq(&preshared(other)))
            && self.persistent_keepalive == other.persistent_keepalive
    }
}

impl Wanted {
    /// True when the static keys are the same.
    pub(super) fn has_key_of(&self, other: &Self) -> bool {
        self.private_key.expose().ct_eq(other.private_key.expose()).into()
    }

    pub(super) fn generation(
        &self,
        id: GenerationId,
        peer_public_key: PublicKey,
        endpoint: Option<SocketAddr>,
        policy: &Arc<Policy>,
    ) -> GenerationConfig {
        GenerationConfig {
            id,
            swap_seq: 0,
            identity: "".into(),
            private_key: self.private_key.clone(),
            peer_public_key,
            preshared_key: self.preshared_key.clone(),
            endpoint,
            persistent_keepalive: Some(self.persistent_keepalive).filter(|seconds| *seconds != 0),
            policy: Arc::clone(policy),
            last_handshake: [0; 12],
            index: 0,
        }
    }
}

/// What the engine is to change of one peer.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) peer: PeerId,
    pub(super) addresses: Option<Vec<IpNet>>,
    pub(super) endpoint: Option<SocketAddr>,
    pub(super) generation: Option<GenerationConfig>,
    /// The new generation goes where the old one was.
    pub(super) keep_endpoint: bool,
    /// There is no key any more.
    pub(super) retire: bool,
    /// Its static key, not only its other settings, are new: it cannot be the active one, changed.
    pub(super) fresh: bool,
}

impl Order {
    pub(super) fn new(peer: PeerId) -> Self {
        Self {
            peer,
            addresses: None,
            endpoint: None,
            generation: None,
            keep_endpoint: false,
            retire: false,
            fresh: false,
        }
    }

    fn carry_out(self, engine: &mut Engine, now: Instant) -> io::Result<()> {
        let peer = self.peer;
        if let Some(addresses) = self.addresses {
            engine.set_peer(peer, PeerKind::Plain, addresses);
        }
        if self.retire
            && let Some(active) = engine.active(peer)
        {
            engine.retire(peer, active, now);
        }
        if let Some(endpoint) = self.endpoint {
            engine.set_endpoint(peer, endpoint, now);
        }
        if let Some(mut generation) = self.generation {
            let preshared = generation.preshared_key.as_ref();
            if !self.fresh
                && engine.set_preshared_key(peer, preshared)
                && engine.set_keepalive(peer, generation.persistent_keepalive, now)
            {
                return Ok(());
            }
            if self.keep_endpoint
                && let Some(known) = engine.peer_statistics(peer).and_then(|known| known.endpoint)
            {
                generation.endpoint = Some(known);
            }
            generation.index = draw_index(engine)?;
            if let Err(error) = engine.renew(peer, generation, now) {
                tracing::error!(%error, "the engine refused a peer");
                debug_assert!(false, "{error}");
            }
        }
        Ok(())
    }
}

fn draw_index(engine: &Engine) -> io::Result<u32> {
    for _ in 0..DRAWS {
        let mut bytes = [0; 4];
        clock::entropy(&mut bytes[1..])?;
        let index = u32::from_be_bytes(bytes);
        if engine.is_index_free(index) {
            return Ok(index);
        }
    }
    Err(io::Error::other(PrepareError::IndexInUse(0)))
}

/// Removes peers, then gives the others what they lack.
pub(super) fn carry_out(worker: &Handle, removed: &[PeerId], orders: Vec<Order>) -> Result<(), ApplyError> {
    for peers in removed.chunks(LOOKS) {
        let peers = peers.to_vec();
        worker.with(move |engine, now| peers.into_iter().for_each(|peer| engine.remove_peer(peer, now)))?;
    }
    let mut orders = orders.into_iter().peekable();
    while orders.peek().is_some() {
        let some: Vec<_> = orders.by_ref().take(ORDERS).collect();
        let done =
            worker.with(move |engine, now| some.into_iter().try_for_each(|order| order.carry_out(engine, now)))?;
        done.map_err(ApplyError::Random)?;
    }
    Ok(())
}

/// The engine's numbers, in the order of `peers`.
pub(super) fn statistics(worker: &Handle, peers: Vec<PeerId>) -> Result<Vec<PeerStatistics>, Stopped> {
    let mut statistics = Vec::with_capacity(peers.len());
    for some in peers.chunks(LOOKS) {
        let some = some.to_vec();
        let found = worker.with(move |engine, _| {
            some.into_iter().map(|peer| engine.peer_statistics(peer).unwrap_or_default()).collect::<Vec<_>>()
        })?;
        statistics.extend(found);
    }
    Ok(statistics)
}
