//! The fragment table: later fragments follow the first one's flow.

use super::FlowId;
use crate::packet::header::Headers;
use std::time::{Duration, Instant};

/// How long a fragmented packet's later fragments may follow the first (RFC 791 suggests 15 s, Linux takes 30).
pub const LIFETIME: Duration = Duration::from_secs(30);

/// Why a later fragment has no flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FragmentMiss {
    /// It is not a later fragment.
    #[error("not a later fragment")]
    NotLater,
    /// Its first fragment was not seen (yet), or gave way to others.
    #[error("the first fragment was not seen")]
    Unknown,
    /// Its first fragment was seen too long ago.
    #[error("the first fragment was seen more than {} s ago", LIFETIME.as_secs())]
    Expired,
}

/// Flows of first fragments by source, destination, protocol and identification. Bounded: the oldest give way.
#[derive(Debug)]
pub struct FragmentTable {
    seed: [u64; 2],
}

impl FragmentTable {
    /// An empty table for `capacity` fragmented packets under way; `seed` is random and secret.
    #[must_use]
    pub fn new(capacity: usize, seed: [u64; 2]) -> Self {
        let _ = capacity;
        Self { seed }
    }

    /// Notes a first fragment's flow. Other packets are ignored.
    pub fn insert(&mut self, _headers: &Headers, _flow: FlowId, _now: Instant) {
        let _ = self.seed;
        unimplemented!()
    }

    /// The flow of a later fragment.
    ///
    /// # Errors
    /// Why there is none.
    pub fn lookup(&self, _headers: &Headers, _now: Instant) -> Result<FlowId, FragmentMiss> {
        unimplemented!()
    }
}
