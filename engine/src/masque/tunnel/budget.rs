//! How often a peer may do what costs us something: send a capsule, open a stream.

use std::time::{Duration, Instant};

/// A token bucket.
#[derive(Debug)]
pub(in crate::masque) struct Budget {
    /// So often at once,
    burst: u32,
    /// and once more after each such time.
    refill: Duration,
    left: u32,
    /// Up to here the refill has been credited.
    credited: Instant,
}

impl Budget {
    /// `refill` is at least a millisecond.
    pub(in crate::masque) fn new(burst: u32, refill: Duration, now: Instant) -> Self {
        Self { burst, refill, left: burst, credited: now }
    }

    /// Pays for one of them. False: there is nothing left.
    pub(in crate::masque) fn pay(&mut self, now: Instant) -> bool {
        let intervals = now.saturating_duration_since(self.credited).as_millis() / self.refill.as_millis().max(1);
        let earned = u32::try_from(intervals).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(earned).min(self.burst);
        self.credited += self.refill.saturating_mul(earned);
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
        let mut budget = Budget::new(1024, Duration::from_millis(10), start);
        let paid = |budget: &mut Budget, now| (0..5000).take_while(|_| budget.pay(now)).count();
        assert_eq!(paid(&mut budget, start), 1024);
        assert_eq!(paid(&mut budget, start + Duration::from_millis(25)), 2);
        assert_eq!(paid(&mut budget, start + Duration::from_millis(30)), 1, "the half interval was not forgotten");
        assert_eq!(paid(&mut budget, start + Duration::from_secs(3600)), 1024, "and it holds no more than a burst");
    }
}
