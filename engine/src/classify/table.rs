//! The flow table: one entry per connection, for both directions.

use super::hash::siphash;
use super::index::Index;
use super::{Direction, Entry, FlowKey, Phase};
use crate::packet::header::{Fragment, Headers, Tcp};
use crate::policy::Verdict;
use std::time::Instant;

/// How many slots are looked at for the one to give up when the table is full.
const EVICTION_PROBES: usize = 8;

/// How many slots a sweep could look at in the time in which it has one flow judged: a microsecond under large policies.
pub const JUDGING: usize = 8;

/// Names an entry as long as it lives; a reused slot gets another id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowId {
    pub(super) slot: u32,
    pub(super) generation: u32,
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
    next: usize,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) generation: u32,
    hash: u32,
    pub(super) entry: Option<Entry>,
}

/// Flows by connection, bounded, under a keyed hash.
///
/// All memory is reserved at once, and touched only as more flows live at a time: a full table moves nothing, and one whose flows
/// come and go stays as small as it was.
#[derive(Debug)]
pub struct FlowTable {
    seed: [u64; 2],
    pub(super) max_flows: usize,
    pub(super) slots: Vec<Slot>,
    /// The slots' peers, apart from them so that a sweep over a million flows reads eight megabytes, not two hundred.
    peers: Vec<u64>,
    free: Vec<u32>,
    index: Index,
    /// Redirected flows by their connection at the new destination; `None` before the first.
    pub(super) redirects: Option<Index>,
    /// Where eviction and expiry look next.
    eviction_hand: usize,
    expiry_hand: usize,
    evicted: u64,
    /// Buffers of flows that wait for their first bytes.
    pub(super) buffers: usize,
    /// The last packet's flow: packets come in runs.
    recent: Option<(FlowKey, FlowId, Direction)>,
}

impl FlowTable {
    /// An empty table for at most `max_flows` flows (at least one); `seed` is random and secret.
    #[must_use]
    pub fn new(max_flows: usize, seed: [u64; 2]) -> Self {
        let max_flows = max_flows.clamp(1, 1 << 30);
        Self {
            seed,
            max_flows,
            slots: Vec::with_capacity(max_flows),
            peers: Vec::with_capacity(max_flows),
            free: Vec::with_capacity(max_flows),
            index: Index::new(max_flows),
            redirects: None,
            eviction_hand: 0,
            expiry_hand: 0,
            evicted: 0,
            buffers: 0,
            recent: None,
        }
    }

    /// How many flows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// True without any flow.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many flows gave way to newer ones because the table was full.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The flow of a packet, and the packet's direction in it.
    ///
    /// A SYN on a closed connection's ports opens another connection: it finds nothing, so that its opener is judged.
    /// A later fragment finds nothing either: ask the [`FragmentTable`](super::FragmentTable).
    #[must_use]
    #[inline]
    pub fn lookup(&self, headers: &Headers) -> Option<(FlowId, Direction)> {
        if matches!(headers.fragment, Fragment::Later { .. }) {
            return None;
        }
        let found = self.lookup_key(&FlowKey::of(headers))?;
        self.unless_reopened(found, headers)
    }

    /// The same for a packet that probably is of the flow of the packet before it.
    #[must_use]
    #[inline]
    pub fn lookup_in_run(&mut self, headers: &Headers) -> Option<(FlowId, Direction)> {
        if matches!(headers.fragment, Fragment::Later { .. }) {
            return None;
        }
        let key = FlowKey::of(headers);
        let found = match self.recent {
            // A flow that lives is the only one of its key.
            Some((recent, flow, direction)) if recent == key && self.get(flow).is_some() => (flow, direction),
            _ => {
                let found = self.lookup_key(&key)?;
                self.recent = Some((key, found.0, found.1));
                found
            }
        };
        self.unless_reopened(found, headers)
    }

    fn unless_reopened(&self, found: (FlowId, Direction), headers: &Headers) -> Option<(FlowId, Direction)> {
        let opens = headers.tcp().is_some_and(|tcp| tcp.flags & (Tcp::SYN | Tcp::ACK | Tcp::RST) == Tcp::SYN);
        if opens && self.get(found.0).is_some_and(|entry| entry.phase() == Phase::Closed) {
            return None;
        }
        Some(found)
    }

    /// The flow of a key (from a quote, say), and the direction of a packet with that key.
    #[must_use]
    #[inline]
    pub fn lookup_key(&self, key: &FlowKey) -> Option<(FlowId, Direction)> {
        let Some(slot) = self.find(key, self.hash(key)) else { return self.lookup_redirected(key) };
        let Slot { generation, entry, .. } = self.slots.get(slot as usize)?;
        let forward = entry.as_ref()?.opener == *key;
        let direction = if forward { Direction::Forward } else { Direction::Reverse };
        Some((FlowId { slot, generation: *generation }, direction))
    }

    /// Adds the flow that the packet opens, in place of the connection's former entry if there is one. The packet
    /// itself is counted by [`Self::touch`]. A full table gives up one of its oldest entries, see [`Self::evicted`].
    pub fn insert(&mut self, headers: &Headers, peer: u64, epoch: u64, verdict: Verdict, now: Instant) -> FlowId {
        self.insert_key(FlowKey::of(headers), peer, epoch, verdict, now)
    }

    /// The same for a flow whose opener is known otherwise.
    pub fn insert_key(&mut self, key: FlowKey, peer: u64, epoch: u64, verdict: Verdict, now: Instant) -> FlowId {
        let hash = self.hash(&key);
        if let Some(former) = self.find(&key, hash) {
            self.vacate(former);
        }
        if self.len() >= self.max_flows {
            self.evict();
        }
        let entry = Some(Entry::new(key, peer, epoch, verdict, now));
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(Slot { generation: 0, hash, entry: None });
                self.peers.push(peer);
                (self.slots.len() - 1) as u32
            }
        };
        let place = &mut self.slots[slot as usize];
        place.generation = place.generation.wrapping_add(1);
        place.hash = hash;
        place.entry = entry;
        self.peers[slot as usize] = peer;
        self.index.insert(hash, slot);
        FlowId { slot, generation: place.generation }
    }

    /// An entry, if it still lives.
    #[must_use]
    pub fn get(&self, id: FlowId) -> Option<&Entry> {
        let slot = self.slots.get(id.slot as usize)?;
        slot.entry.as_ref().filter(|_| slot.generation == id.generation)
    }

    /// The same, to change verdict and epoch.
    #[must_use]
    pub fn get_mut(&mut self, id: FlowId) -> Option<&mut Entry> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        slot.entry.as_mut().filter(|_| slot.generation == id.generation)
    }

    /// Removes a flow.
    pub fn remove(&mut self, id: FlowId) {
        if self.get(id).is_some() {
            self.vacate(id.slot);
        }
    }

    /// Counts a packet (`packets` of them for a super-packet) and notes TCP's numbers and state.
    #[inline]
    pub fn touch(&mut self, id: FlowId, direction: Direction, headers: &Headers, packets: u32, now: Instant) {
        if let Some(entry) = self.get_mut(id) {
            entry.note(direction, headers, packets, now);
        }
    }

    /// Looks at the next `budget` slots and removes what has been idle too long. Returns how many went.
    pub fn expire(&mut self, now: Instant, budget: usize) -> usize {
        let mut gone = 0;
        for _ in 0..budget.min(self.slots.len()) {
            if self.expiry_hand >= self.slots.len() {
                self.expiry_hand = 0;
            }
            let slot = self.expiry_hand;
            self.expiry_hand += 1;
            let Some(entry) = &self.slots[slot].entry else { continue };
            if now.saturating_duration_since(entry.last_seen) >= entry.idle_limit() {
                self.vacate(slot as u32);
                gone += 1;
            }
        }
        gone
    }

    /// Looks at the next slots for flows of `peer` and lets `judge` decide: at most `budget` slots, of which a flow to be
    /// judged counts as [`JUDGING`]. Start with the default progress; true when the whole table was seen.
    ///
    /// A flow inserted meanwhile may be missed: it was judged when it was inserted.
    pub fn sweep(
        &mut self,
        progress: &mut SweepProgress,
        budget: usize,
        peer: u64,
        mut judge: impl FnMut(&mut Entry) -> Sweep,
    ) -> bool {
        let (mut left, mut slot) = (budget.max(1), progress.next);
        while slot < self.slots.len() && left > 0 {
            left -= 1;
            if self.peers[slot] == peer {
                left = left.saturating_sub(JUDGING - 1);
                if self.slots[slot].entry.as_mut().map(&mut judge) == Some(Sweep::Remove) {
                    self.vacate(slot as u32);
                }
            }
            slot += 1;
        }
        progress.next = slot;
        slot == self.slots.len()
    }

    pub(super) fn hash(&self, key: &FlowKey) -> u32 {
        fold(siphash(self.seed, &key.symmetric()))
    }

    fn find(&self, key: &FlowKey, hash: u32) -> Option<u32> {
        self.index.find(hash, |slot| {
            let entry = self.slots.get(slot as usize).and_then(|slot| slot.entry.as_ref());
            entry.is_some_and(|entry| entry.opener == *key || entry.opener == key.reversed())
        })
    }

    fn vacate(&mut self, slot: u32) {
        let Some(place) = self.slots.get_mut(slot as usize) else { return };
        if let Some(entry) = place.entry.take() {
            self.buffers -= entry.buffers();
            let redirect = entry.redirect.as_deref().map(|key| siphash(self.seed, &key.symmetric()));
            if let (Some(hash), Some(redirects)) = (redirect.map(fold), &mut self.redirects) {
                redirects.remove(hash, slot);
            }
            self.index.remove(place.hash, slot);
            self.free.push(slot);
        }
    }

    /// Gives up the best candidate of a few: cheap ones before established ones, then the longest idle. A flood of
    /// new flows thus eats itself, not the connections that live.
    fn evict(&mut self) {
        let mut victim: Option<(bool, Instant, usize)> = None;
        for _ in 0..EVICTION_PROBES.min(self.slots.len()) {
            if self.eviction_hand >= self.slots.len() {
                self.eviction_hand = 0;
            }
            let slot = self.eviction_hand;
            self.eviction_hand += 1;
            let Some(entry) = &self.slots[slot].entry else { continue };
            let candidate = (!entry.is_cheap(), entry.last_seen, slot);
            victim = Some(victim.map_or(candidate, |best| best.min(candidate)));
        }
        if let Some((_, _, slot)) = victim {
            self.vacate(slot as u32);
            self.evicted += 1;
        }
    }
}

fn fold(hash: u64) -> u32 {
    (hash ^ (hash >> 32)) as u32
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
