//! What waits to be sent on a stream, and how much may.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Most bytes of one batch. Room for packets is allocated in pieces of this size.
pub const MAX_BATCH: usize = 64 << 10;
/// What left in spans of this length says what the path carries.
const SPAN: Duration = Duration::from_secs(1);

/// Batches in the order in which they were filled.
pub(super) struct Queue {
    filled: VecDeque<Bytes>,
    filling: BytesMut,
    waiting: usize,
    carried: Carried,
}

impl Queue {
    pub(super) fn new(now: Instant) -> Self {
        let carried = Carried { since: now, now: 0, before: 0 };
        Self { filled: VecDeque::new(), filling: BytesMut::new(), waiting: 0, carried }
    }

    /// Adds pieces that belong together, `len` bytes in all.
    pub(super) fn push<const N: usize>(&mut self, pieces: [&[u8]; N], len: usize) {
        if self.filling.capacity() - self.filling.len() < len {
            if !self.filling.is_empty() {
                self.filled.push_back(self.filling.split().freeze());
            }
            self.filling.reserve(MAX_BATCH.max(len));
        }
        for piece in pieces {
            self.filling.extend_from_slice(piece);
        }
        self.waiting += len;
    }

    /// The next batch.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Bytes> {
        let batch = self.filled.pop_front().unwrap_or_else(|| self.filling.split().freeze());
        if batch.is_empty() {
            return None;
        }
        self.waiting -= batch.len();
        self.carried.add(batch.len(), now);
        Some(batch)
    }

    /// All of it.
    pub(super) fn take(&mut self) -> Bytes {
        self.waiting = 0;
        let last = self.filling.split();
        if self.filled.is_empty() {
            return last.freeze();
        }
        let mut all: Vec<u8> = self.filled.drain(..).flatten().collect();
        all.extend_from_slice(&last);
        all.into()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Bytes per second that left, by the better of the last two spans.
    pub(super) fn carried(&self) -> u64 {
        self.carried.now.max(self.carried.before)
    }

    pub(super) fn expect(&mut self, carried: u64, now: Instant) {
        self.carried = Carried { since: now, now: 0, before: carried };
    }

    /// Bytes that leave in `time` if the path goes on as it did.
    pub(super) fn carries_in(&self, time: Duration) -> usize {
        let bytes = u128::from(self.carried()) * time.as_millis() / SPAN.as_millis();
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

/// Bytes that left in this span and in the one before.
struct Carried {
    since: Instant,
    now: u64,
    before: u64,
}

impl Carried {
    fn add(&mut self, bytes: usize, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        if passed >= SPAN {
            self.before = if passed < SPAN * 2 { self.now } else { 0 };
            (self.since, self.now) = (now, 0);
        }
        self.now += bytes as u64;
    }
}
