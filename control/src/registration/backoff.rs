//! The pause after a failure: 1 s, doubling to 60 s, with jitter (D11).

use super::{SinceBoot, state::Backoff};

/// Milliseconds.
const FIRST: u64 = 1_000;
/// Milliseconds.
const LONGEST: u64 = 60_000;

impl Backoff {
    /// One more failure: nothing before a pause of three to four quarters of the step.
    pub(super) fn fail(&mut self, now: SinceBoot, random: u64) {
        let step = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now.plus(step - random % (step / 4 + 1)));
    }

    /// A new reason to try at once.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// A new reason to try at once, which does not undo that the first attempt failed.
    pub(super) fn hurry(&mut self) {
        self.failures = self.failures.min(1);
        self.until = None;
    }

    /// The end of a pause that still lasts.
    pub(super) fn pending(&self, now: SinceBoot) -> Option<SinceBoot> {
        self.until.filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::splitmix::mix;

    #[test]
    fn doubles_to_a_minute_and_never_exceeds_it() {
        let mut backoff = Backoff::default();
        let mut pauses = Vec::new();
        for n in 0..40 {
            backoff.fail(SinceBoot(0), mix(7, n));
            pauses.push(backoff.pending(SinceBoot(0)).map_or(0, |until| until.0));
        }
        for (n, pause) in pauses.iter().enumerate() {
            let step = (1_000 << n.min(10)).min(60_000);
            assert!((step * 3 / 4..=step).contains(pause), "failure {n} pauses {pause} ms of {step}");
        }
        assert!(pauses[10..].windows(2).any(|pair| pair[0] != pair[1]), "no jitter: {pauses:?}");
    }
}
