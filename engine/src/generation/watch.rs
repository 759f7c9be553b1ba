//! Whether anything comes back over HTTP/3 while packets leave: QUIC acknowledges all of them.

use std::time::{Duration, Instant};

/// It is looked so often;
const LOOK: Duration = Duration::from_millis(500);
/// after so much silence, HTTP/2 is tried beside it.
const SILENCE: Duration = Duration::from_secs(1);

/// A watch that begins when a packet leaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    /// When to look.
    pub(super) look_at: Instant,
    /// When the first packet left that may be unanswered,
    since: Instant,
    /// and when the last one did.
    sent_at: Instant,
}

impl Watch {
    pub(super) fn begin(now: Instant) -> Self {
        Self { look_at: now + LOOK, since: now, sent_at: now }
    }

    /// Another packet leaves.
    pub(super) fn sent(&mut self, now: Instant) {
        self.sent_at = now;
    }

    /// Looks. `heard`: when the last datagram came. False: all was answered, and the watch is over.
    pub(super) fn goes_on(&mut self, heard: Instant, now: Instant) -> bool {
        self.since = self.since.max(heard);
        self.look_at = now + LOOK;
        heard <= self.sent_at
    }

    /// True when nothing has come for too long.
    pub(super) fn is_silent(&self, heard: Instant, now: Instant) -> bool {
        heard <= self.since && now.saturating_duration_since(self.since) >= SILENCE
    }
}
