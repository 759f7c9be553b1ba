//! The engine: peers, generations and the packet's two walks.

mod event;
pub use event::{CommitError, Event, PrepareError};

use crate::generation::{GenerationConfig, GenerationId, PrivateKey, PublicKey};
use crate::packet::{Datagrams, DeliveryQueue, Frames, TransmitQueue};
use crate::policy::Policy;
use ipnet::IpNet;
use std::{sync::Arc, time::Instant};

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
    /// Any other WireGuard implementation: both ends initiate; a generation commits when its handshake is done.
    Plain,
}

/// Settings of an engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The static key at which unknown initiators knock (a gateway's key; any key for a device).
    pub private_key: PrivateKey,
    /// Random, for the flow table's hash.
    pub seed: [u64; 2],
    /// Most flows held at once; the oldest give way. 65,536 is a good device, 1,048,576 a good gateway.
    pub max_flows: usize,
}

/// A sans-IO tunnel engine. Feed it frames and datagrams, then drain [`Engine::transmits`], [`Engine::deliveries`] and
/// [`Engine::poll_event`], and call [`Engine::handle_deadline`] when [`Engine::poll_deadline`] says so.
#[derive(Debug)]
pub struct Engine {
    transmits: TransmitQueue,
    deliveries: DeliveryQueue,
}

impl Engine {
    /// A new engine without peers.
    #[must_use]
    pub fn new(_config: EngineConfig, _now: Instant) -> Self {
        unimplemented!()
    }

    // --- the walk ---

    /// Outbound: a batch from the adapter. Fills [`Self::transmits`] (and [`Self::deliveries`] with deny answers).
    pub fn handle_frames(&mut self, _frames: &mut impl Frames, _now: Instant) {
        unimplemented!()
    }

    /// Inbound: a batch from the socket. Fills [`Self::deliveries`] and [`Self::transmits`].
    pub fn handle_datagrams(&mut self, _datagrams: &mut impl Datagrams, _now: Instant) {
        unimplemented!()
    }

    /// Datagrams to send; `release` what was sent.
    pub fn transmits(&mut self) -> &mut TransmitQueue {
        &mut self.transmits
    }

    /// Frames to write to the adapter; `clear` when written.
    pub fn deliveries(&mut self) -> &mut DeliveryQueue {
        &mut self.deliveries
    }

    /// Timers: call when the deadline has come (early calls are harmless).
    pub fn handle_deadline(&mut self, _now: Instant) {
        unimplemented!()
    }

    /// When [`Self::handle_deadline`] wants to be called next.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Instant> {
        unimplemented!()
    }

    /// The next thing control must know, or `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        unimplemented!()
    }

    // --- steering (between batches) ---

    /// Adds a peer that owns `addresses` inside the tunnel (a device: `0.0.0.0/0` and `::/0` for its gateway).
    /// Replaces the addresses when the peer exists.
    pub fn set_peer(&mut self, _peer: PeerId, _kind: PeerKind, _addresses: Vec<IpNet>) {
        unimplemented!()
    }

    /// Removes a peer and all its generations at once.
    pub fn remove_peer(&mut self, _peer: PeerId, _now: Instant) {
        unimplemented!()
    }

    /// Starts a generation beside the active one. `Device` and `Gateway` kinds: a still preparing one gives way.
    ///
    /// # Errors
    /// Unknown peer, index in use, or `swap_seq` not above every one seen.
    pub fn prepare(&mut self, _peer: PeerId, _config: GenerationConfig, _now: Instant) -> Result<(), PrepareError> {
        unimplemented!()
    }

    /// Makes a ready generation the one that everything leaves under, from the next batch on. The former one drains.
    ///
    /// # Errors
    /// Not prepared, handshake not confirmed yet, or too many generations still draining (`retry_after` says when).
    pub fn commit(&mut self, _peer: PeerId, _generation: GenerationId, _now: Instant) -> Result<(), CommitError> {
        unimplemented!()
    }

    /// Gives up a generation that was not committed; the active one is not disturbed.
    pub fn abort(&mut self, _peer: PeerId, _generation: GenerationId) {
        unimplemented!()
    }

    /// Ends a generation at once, whatever its state (revocation). Its keys are zeroised.
    pub fn retire(&mut self, _peer: PeerId, _generation: GenerationId, _now: Instant) {
        unimplemented!()
    }

    /// New rules for the active (and preparing) generation `generation`: a new epoch, no new keys.
    pub fn publish(&mut self, _peer: PeerId, _generation: GenerationId, _policy: Arc<Policy>, _now: Instant) {
        unimplemented!()
    }

    /// Counters that may be read from any thread while the engine runs.
    #[must_use]
    pub fn counters(&self) -> Arc<crate::core::Counters> {
        unimplemented!()
    }
}

/// Counters of flow verdicts, drop reasons, generations and stages, readable while the engine runs.
#[derive(Debug, Default)]
pub struct Counters {}

#[allow(dead_code)]
fn keys(_: PublicKey) {}
