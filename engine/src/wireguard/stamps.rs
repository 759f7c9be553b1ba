//! Handshake timestamps (WireGuard paper, section 5.1): TAI64N, ever greater, whatever the wall clock does.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// TAI64N's label of the Unix epoch: 2^62, and the ten seconds that TAI was ahead then.
const EPOCH: u64 = (1 << 62) + 10;
/// Timestamps tell the time no finer than this, so that they do not serve to measure load from afar.
const GRAIN: u64 = 1 << 24;

/// One engine's clock for timestamps: all its sessions share it, so that two with the same key never collide.
pub(crate) struct Stamps {
    since: Instant,
    /// The wall clock then, in nanoseconds since the Unix epoch.
    unix: u64,
    last: AtomicU64,
}

impl Stamps {
    /// The wall clock shows `wall` at `now`.
    pub(crate) fn new(wall: SystemTime, now: Instant) -> Self {
        let unix = wall.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { since: now, unix: nanoseconds(unix), last: AtomicU64::new(0) }
    }

    /// The next timestamp: `max(wall clock, last + 1)`.
    pub(crate) fn next(&self, now: Instant) -> [u8; 12] {
        let clock = self.unix.saturating_add(nanoseconds(now.saturating_duration_since(self.since))) / GRAIN * GRAIN;
        let next = |last: u64| clock.max(last.saturating_add(1));
        let last = self.last.fetch_update(Relaxed, Relaxed, |last| Some(next(last))).unwrap_or(0);
        let stamp = Duration::from_nanos(next(last));
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&(EPOCH + stamp.as_secs()).to_be_bytes());
        bytes[8..].copy_from_slice(&stamp.subsec_nanos().to_be_bytes());
        bytes
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_grow_when_time_stands_and_follow_the_clock() {
        let now = Instant::now();
        let stamps = Stamps::new(UNIX_EPOCH + Duration::from_secs(1_000_000), now);
        let first = stamps.next(now);
        assert_eq!(first[..8], (0x4000_0000_0000_000a_u64 + 999_999).to_be_bytes(), "rounded down");
        let second = stamps.next(now);
        let later = stamps.next(now + Duration::from_secs(5));
        assert!(first < second && second < later);
        assert!(later < stamps.next(now), "time that goes back does not take them along");
        assert!(Stamps::new(UNIX_EPOCH - Duration::from_secs(1), now).next(now) < first);
    }
}
