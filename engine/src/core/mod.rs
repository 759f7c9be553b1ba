//! The engine: peers, generations and the packet's two walks.
//!
//! Read `outbound.rs` and `inbound.rs` for the walks, `swap.rs` for the life of a generation.

#[cfg(test)]
mod carried_tests;
#[cfg(test)]
mod carried_traffic;
mod configure;
mod control_packet;
mod counters;
mod deadlines;
mod drains;
mod drop;
mod event;
mod handshake;
mod hold;
mod inbound;
mod index;
mod judge;
mod knocks;
mod marker;
mod masque;
mod outbound;
mod peer;
mod routes;
mod seal;
mod send;
mod standing;
mod swap;
mod sweep;
mod timers;

pub use configure::PeerStatistics;
pub use counters::{Counter, Counters, GenerationCounters};
pub use drop::DropReason;
pub use event::{CommitError, Event, PrepareError};
pub use masque::{
    MasqueServer, NameRequest, PlainMasque, StreamInput, StreamLoss, StreamOrder, StreamTarget, TunnelEnd, TunnelNews,
    unresolved,
};

use crate::classify::{FlowTable, FragmentTable};
use crate::generation::{GenerationId, PrivateKey, PublicKey};
use crate::packet::{DeliveryQueue, TransmitQueue};
use crate::random::{Random, Seed};
use crate::wireguard::{Responder, SessionBackend, Sessions, Stamps};
use configure::Traffic;
use index::Indices;
use ipnet::IpNet;
use peer::Peer;
use routes::Routes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Fragmented packets under way that are remembered.
const MAX_FRAGMENTED: usize = 1024;
/// The largest IP packet, and what sealing adds to it.
const SCRATCH: usize = 65_535 + 32;

/// Names a peer for ever (a device at the gateway, the gateway at a device).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub u64);

/// What stands at the peer's end, which decides who initiates and how a generation commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerKind {
    /// We are the device, the peer is a Vestibule gateway: we initiate; `commit` is ours and sends the marker.
    Gateway,
    /// We are the gateway, the peer is a Vestibule device: it initiates; its marker or first data packet commits.
    Device,
    /// Any other WireGuard implementation: both ends initiate; a generation is active as soon as it is prepared.
    Plain,
}

/// Settings of an engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The static key at which unknown initiators knock (a gateway's key; any key for a device).
    pub private_key: PrivateKey,
    /// Where all the engine's randomness comes from; fresh for every engine.
    pub seed: Seed,
    /// The wall clock at the time of [`Engine::new`], for handshake timestamps.
    pub wall_clock: SystemTime,
    /// Most flows held at once; the oldest give way. 65,536 is a good device, 1,048,576 a good gateway.
    pub max_flows: usize,
    /// Whose code keeps the WireGuard sessions.
    pub backend: SessionBackend,
}

impl EngineConfig {
    /// A device's settings: 65,536 flows, native sessions.
    #[must_use]
    pub fn new(private_key: PrivateKey, seed: Seed, wall_clock: SystemTime) -> Self {
        Self { private_key, seed, wall_clock, max_flows: 65_536, backend: SessionBackend::default() }
    }
}

/// A sans-IO tunnel engine. Feed it frames and datagrams, then drain [`Engine::transmits`], [`Engine::deliveries`] and
/// [`Engine::poll_event`], and call [`Engine::handle_deadline`] when [`Engine::poll_deadline`] says so.
pub struct Engine {
    responder: Responder,
    sessions: Sessions,
    /// Slots are reused only by the peer that had them.
    peers: Vec<Peer>,
    slots: BTreeMap<PeerId, usize>,
    routes: Routes,
    indices: Indices,
    /// Static key of an initiator -> the generation that waits for it.
    initiators: BTreeMap<[u8; 32], (usize, GenerationId)>,
    flows: FlowTable,
    fragments: FragmentTable,
    knocks: knocks::Knocks,
    masque: Option<Box<masque::Masque>>,
    transmits: TransmitQueue,
    deliveries: DeliveryQueue,
    events: VecDeque<Event>,
    counters: Arc<Counters>,
    /// The last policy epoch given out; they are unlike across peers.
    last_epoch: u64,
    deadlines: deadlines::Deadlines,
    housekeeping: timers::Housekeeping,
    /// For answers and handshakes that are not written in place.
    scratch: Box<[u8]>,
    staging: Box<seal::Staging>,
    /// Padding never makes a packet longer than this.
    mtu: usize,
}

impl Engine {
    /// A new engine without peers.
    #[must_use]
    pub fn new(config: EngineConfig, now: Instant) -> Self {
        let mut random = Random::new(&config.seed);
        let hash_seed = [random.bits(), random.bits()];
        Self {
            responder: Responder::new(&config.private_key, random.fork(), now),
            sessions: Sessions {
                backend: config.backend,
                random,
                stamps: Arc::new(Stamps::new(config.wall_clock, now)),
                started_at: now,
            },
            peers: Vec::new(),
            slots: BTreeMap::new(),
            routes: Routes::default(),
            indices: Indices::default(),
            initiators: BTreeMap::new(),
            flows: FlowTable::new(config.max_flows, hash_seed),
            fragments: FragmentTable::new(MAX_FRAGMENTED, hash_seed),
            knocks: knocks::Knocks::default(),
            masque: None,
            transmits: TransmitQueue::new(),
            deliveries: DeliveryQueue::default(),
            events: VecDeque::new(),
            counters: Arc::new(Counters::default()),
            last_epoch: 0,
            deadlines: deadlines::Deadlines::default(),
            housekeeping: timers::Housekeeping::default(),
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            staging: seal::Staging::new(),
            mtu: 1280,
        }
    }

    /// The public key at which initiators knock.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.responder.public_key()
    }

    /// Datagrams to send; `release` what was sent.
    pub fn transmits(&mut self) -> &mut TransmitQueue {
        &mut self.transmits
    }

    /// Frames to write to the adapter; `clear` when written.
    pub fn deliveries(&mut self) -> &mut DeliveryQueue {
        &mut self.deliveries
    }

    /// The next thing control must know, or `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Counters that may be read from any thread while the engine runs.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// The active generation of a peer.
    #[must_use]
    pub fn active(&self, peer: PeerId) -> Option<GenerationId> {
        self.peers.get(*self.slots.get(&peer)?)?.active.as_ref().map(|generation| generation.id)
    }

    /// Adds a peer that owns `addresses` inside the tunnel (a device: `0.0.0.0/0` and `::/0` for its gateway).
    /// Replaces the addresses when the peer exists; its kind stays what it was. A prefix that another peer had moves.
    pub fn set_peer(&mut self, peer: PeerId, kind: PeerKind, addresses: Vec<IpNet>) {
        let slot = *self.slots.entry(peer).or_insert_with(|| {
            self.peers.push(Peer::new(peer, kind, Vec::new()));
            self.peers.len() - 1
        });
        self.routes.set(slot, &self.peers[slot].addresses, &addresses);
        self.peers[slot].addresses = addresses;
    }

    /// Removes a peer's addresses and all its generations at once. The id may be set again later.
    pub fn remove_peer(&mut self, peer: PeerId, now: Instant) {
        let Some(&slot) = self.slots.get(&peer) else { return };
        let all: Vec<_> = self.peers[slot].generations().map(|generation| generation.id).collect();
        for generation in all {
            self.retire(peer, generation, now);
        }
        let addresses = std::mem::take(&mut self.peers[slot].addresses);
        self.routes.remove(slot, &addresses);
        self.peers[slot].ended = Traffic::default();
        self.peers[slot].holding = None;
    }

    /// Tells the adapter's MTU in bytes (1280, IPv6's least, unless told): padding never makes a packet longer.
    pub fn set_mtu(&mut self, mtu: u32) {
        let mtu = mtu as usize;
        if std::mem::replace(&mut self.mtu, mtu) != mtu
            && let Some(masque) = &mut self.masque
        {
            masque.fit(mtu);
        }
    }

    fn next_epoch(&mut self) -> u64 {
        self.last_epoch += 1;
        self.last_epoch
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("peers", &self.slots.len())
            .field("deadline", &self.poll_deadline())
            .finish_non_exhaustive()
    }
}
