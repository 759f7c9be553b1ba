//! Back-off: 1 s doubling to 60 s, with jitter, so that a thousand devices do not come back at once.

use crate::crypto::random;
use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(60);

/// Failures in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Retry {
    failures: u32,
}

impl Retry {
    /// How many.
    #[must_use]
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts a failure and says how long to wait: between half and all of the doubled time.
    pub(crate) fn next(&mut self) -> Duration {
        let full = FIRST.saturating_mul(1 << self.failures.min(6)).min(LAST);
        self.failures = self.failures.saturating_add(1);
        let part = random::<1>().map_or(255, |[byte]| u32::from(byte));
        full / 2 + full / 2 * part / 255
    }

    /// Forgets the failures; true if there were any.
    pub(crate) fn succeeded(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_to_a_minute_and_starts_anew_after_a_success() {
        let mut retry = Retry::default();
        assert!(!retry.succeeded());
        let waits: Vec<_> = (0..10).map(|_| retry.next()).collect();
        for (at, wait) in waits.iter().enumerate() {
            let full = Duration::from_secs(60.min(1 << at));
            assert!((full / 2..=full).contains(wait), "{at}: {wait:?}");
        }
        assert!(retry.succeeded());
        assert!(retry.next() <= FIRST);
    }
}
