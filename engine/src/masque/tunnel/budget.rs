//! How many capsules a peer may send: each costs an event, which somebody above must handle.

use std::time::{Duration, Instant};

/// At once.
const BURST: u32 = 1024;
/// One more every so often: policy changes come by the second, not by the millisecond.
const REFILL: Duration = Duration::from_millis(10);

/// A token bucket.
#[derive(Debug)]
pub(super) struct Budget {
    left: u32,
    /// Up to here the refill has been credited.
    credited: Instant,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: BURST, credited: now }
    }

    /// Pays for one capsule. False: there is nothing left.
    pub(super) fn pay(&mut self, now: Instant) -> bool {
        let intervals = now.saturating_duration_since(self.credited).as_millis() / REFILL.as_millis();
        let earned = u32::try_from(intervals).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(earned).min(BURST);
        self.credited += REFILL.saturating_mul(earned);
        let paid = self.left.checked_sub(1);
        self.left = paid.unwrap_or(0);
        paid.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_paid_and_then_one_per_interval() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let paid = |budget: &mut Budget, now| (0..5000).take_while(|_| budget.pay(now)).count();
        assert_eq!(paid(&mut budget, start), 1024);
        assert_eq!(paid(&mut budget, start + Duration::from_millis(25)), 2);
        assert_eq!(paid(&mut budget, start + Duration::from_millis(30)), 1, "the half interval was not forgotten");
        assert_eq!(paid(&mut budget, start + Duration::from_secs(3600)), 1024, "and it holds no more than a burst");
    }
}
