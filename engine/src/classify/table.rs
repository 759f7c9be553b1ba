//! The flow table: one entry per connection, for both directions.

use super::FlowKey;
use crate::packet::header::Headers;
use crate::policy::Verdict;
use std::time::Instant;

/// Names an entry as long as it lives; a reused slot gets another id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowId {
    slot: u32,
    generation: u32,
}

/// A packet's direction within its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the opener.
    Forward,
    /// To the opener.
    Reverse,
}

/// How far a TCP connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpPhase {
    /// Not both ends have been heard yet.
    Opening,
    /// Both ends have been heard.
    Established,
    /// Both FINs or a RST were seen.
    Closed,
}

/// What went one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// Packets, each segment of a super-packet counted.
    pub packets: u64,
    /// IP bytes.
    pub bytes: u64,
    /// TCP: the sequence number after the last byte sent this way.
    pub next_seq: u32,
    /// TCP: the last acknowledgement sent this way.
    pub last_ack: u32,
    /// TCP: `next_seq` counts, a segment was seen.
    pub has_seq: bool,
    /// TCP: `last_ack` counts, a segment with ACK was seen.
    pub has_ack: bool,
    /// TCP: a FIN was seen.
    pub fin: bool,
}

/// One connection.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The caller's policy epoch under which the verdict was reached.
    pub epoch: u64,
    /// What the policy said.
    pub verdict: Verdict,
    /// From the opener.
    pub forward: Side,
    /// To the opener.
    pub reverse: Side,
    peer: u64,
    opener: FlowKey,
    last_seen: Instant,
    phase: TcpPhase,
}

impl Entry {
    /// Whom the flow belongs to.
    #[must_use]
    pub fn peer(&self) -> u64 {
        self.peer
    }

    /// The flow as its opener sent it.
    #[must_use]
    pub fn opener(&self) -> &FlowKey {
        &self.opener
    }

    /// When its last packet passed.
    #[must_use]
    pub fn last_seen(&self) -> Instant {
        self.last_seen
    }

    /// How far TCP has come; `Established` for other protocols once both ends were heard.
    #[must_use]
    pub fn phase(&self) -> TcpPhase {
        self.phase
    }
}

/// What a sweep does with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// It stays.
    Keep,
    /// It goes.
    Remove,
}

/// How far a sweep has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepProgress {
    next: u32,
}

/// Flows by connection, bounded, with keyed hashing.
#[derive(Debug)]
pub struct FlowTable {
    max_flows: usize,
    seed: [u64; 2],
}

impl FlowTable {
    /// An empty table for at most `max_flows` flows; `seed` is random and secret.
    #[must_use]
    pub fn new(max_flows: usize, seed: [u64; 2]) -> Self {
        Self { max_flows, seed }
    }

    /// How many flows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let _ = (self.max_flows, self.seed);
        unimplemented!()
    }

    /// True without any flow.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many flows gave way to newer ones because the table was full.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        unimplemented!()
    }

    /// The flow of a packet, and the packet's direction in it.
    #[must_use]
    pub fn lookup(&self, _headers: &Headers) -> Option<(FlowId, Direction)> {
        unimplemented!()
    }

    /// The flow of a key (from a quote, say), and the direction of a packet with that key.
    #[must_use]
    pub fn lookup_key(&self, _key: &FlowKey) -> Option<(FlowId, Direction)> {
        unimplemented!()
    }

    /// Adds the flow that the packet opens (or replaces it); the packet itself is counted by [`Self::touch`].
    /// A full table drops one of its oldest.
    pub fn insert(&mut self, _headers: &Headers, _peer: u64, _epoch: u64, _verdict: Verdict, _now: Instant) -> FlowId {
        unimplemented!()
    }

    /// An entry, if it still lives.
    #[must_use]
    pub fn get(&self, _id: FlowId) -> Option<&Entry> {
        unimplemented!()
    }

    /// The same, to change verdict and epoch.
    #[must_use]
    pub fn get_mut(&mut self, _id: FlowId) -> Option<&mut Entry> {
        unimplemented!()
    }

    /// Removes a flow.
    pub fn remove(&mut self, _id: FlowId) {
        unimplemented!()
    }

    /// Counts a packet (`packets` of them for a super-packet) and notes TCP's numbers and state.
    pub fn touch(&mut self, _id: FlowId, _direction: Direction, _headers: &Headers, _packets: u32, _now: Instant) {
        unimplemented!()
    }

    /// Looks at the next `budget` slots and removes what has been idle too long. Returns how many went.
    pub fn expire(&mut self, _now: Instant, _budget: usize) -> usize {
        unimplemented!()
    }

    /// Looks at the next `budget` slots for flows of `peer` and lets `judge` decide. Start with the default
    /// progress; true when the whole table was seen. Flows inserted meanwhile may be missed: they are judged anew.
    pub fn sweep(
        &mut self,
        _progress: &mut SweepProgress,
        _budget: usize,
        _peer: u64,
        _judge: impl FnMut(&mut Entry) -> Sweep,
    ) -> bool {
        unimplemented!()
    }
}
