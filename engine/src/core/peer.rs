//! A peer and its generations.

use super::sweep::Sweeping;
use super::{PeerId, PeerKind};
use crate::generation::{Generation, GenerationId};
use ipnet::IpNet;
use std::net::IpAddr;

/// Which part a generation plays for its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Everything leaves under it.
    Active,
    /// Its handshake is under way, or it waits for commit.
    Preparing,
    /// It opens what is in flight.
    Draining,
}

/// A device at the gateway, or the gateway at a device.
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) kind: PeerKind,
    pub(crate) addresses: Vec<IpNet>,
    pub(crate) active: Option<Generation>,
    pub(crate) preparing: Option<Generation>,
    /// Oldest first; at most `MAX_DRAINING`.
    pub(crate) draining: Vec<Generation>,
    /// Policy epoch: flow verdicts of another one are asked again.
    pub(crate) epoch: u64,
    /// Greatest swap order seen.
    pub(crate) highest_seq: u64,
    /// Flows judged under an older epoch may be left.
    pub(crate) sweeping: Option<Sweeping>,
}

impl Peer {
    pub(crate) fn new(id: PeerId, kind: PeerKind, addresses: Vec<IpNet>) -> Self {
        Self {
            id,
            kind,
            addresses,
            active: None,
            preparing: None,
            draining: Vec::new(),
            epoch: 0,
            highest_seq: 0,
            sweeping: None,
        }
    }

    /// True when `source` is an inner address of this peer.
    pub(crate) fn owns(&self, source: IpAddr) -> bool {
        self.addresses.iter().any(|net| net.contains(&source))
    }

    pub(crate) fn generation(&mut self, id: GenerationId) -> Option<(Stage, &mut Generation)> {
        if let Some(active) = self.active.as_mut().filter(|g| g.id == id) {
            return Some((Stage::Active, active));
        }
        if let Some(preparing) = self.preparing.as_mut().filter(|g| g.id == id) {
            return Some((Stage::Preparing, preparing));
        }
        self.draining.iter_mut().find(|g| g.id == id).map(|g| (Stage::Draining, g))
    }

    pub(crate) fn generations(&self) -> impl Iterator<Item = &Generation> {
        self.active.iter().chain(&self.preparing).chain(&self.draining)
    }
}
