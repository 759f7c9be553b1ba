//! A peer and its generations.

use super::configure::Traffic;
use super::hold::Holding;
use super::sweep::Sweeping;
use super::{PeerId, PeerKind};
use crate::generation::{Generation, GenerationId};
use crate::policy::Policy;
use ipnet::IpNet;
use std::sync::Arc;

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

/// A device at the gateway, or the gateway at a device. Small, since a gateway has them by the ten thousand in one piece
/// of memory, and the packet path goes on from here to what is in use.
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) kind: PeerKind,
    /// As they were given; another peer may have got some since.
    pub(crate) addresses: Vec<IpNet>,
    pub(crate) active: Option<Box<Generation>>,
    pub(crate) preparing: Option<Box<Generation>>,
    /// Oldest first; at most `MAX_DRAINING`.
    pub(crate) draining: Vec<Generation>,
    /// Policy epoch: flow verdicts of another one are asked again.
    pub(crate) epoch: u64,
    /// Greatest swap order seen.
    pub(crate) highest_seq: u64,
    /// Flows judged under an older epoch may be left.
    pub(crate) sweeping: Option<Sweeping>,
    /// Of the generations that have ended.
    pub(crate) ended: Traffic,
    /// Packets of the active generation that wait for the end of the one before.
    pub(super) holding: Option<Box<Holding>>,
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
            ended: Traffic::default(),
            holding: None,
        }
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

    /// True when `rules` are those of the active generation.
    pub(crate) fn rules_are(&self, rules: &Arc<Policy>) -> bool {
        self.active.as_ref().is_some_and(|active| Arc::ptr_eq(&active.policy, rules))
    }

    pub(crate) fn generations(&self) -> impl Iterator<Item = &Generation> {
        self.active.iter().chain(&self.preparing).map(|generation| &**generation).chain(&self.draining)
    }
}
