//! Inter-arrival gaps: the largest of a time span, from a bounded log of arrivals.

use std::collections::VecDeque;

/// How far around a commit the gap is looked for.
pub(crate) const AROUND: u64 = 50_000_000;
/// Arrivals kept: more than a minute at 10,000 per second. Questions come within seconds.
const KEPT: usize = 1 << 20;

/// Arrival times in nanoseconds of the wall clock, in order.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    last: Option<u64>,
    /// The largest gap since somebody asked.
    largest: u64,
    log: VecDeque<u64>,
    forgotten: bool,
    unlogged: bool,
}

impl Arrivals {
    /// Enters an arrival. One that the clock puts before its predecessor counts as simultaneous.
    pub(crate) fn arrived(&mut self, at: u64) {
        let last = self.last.unwrap_or(at);
        let at = at.max(last);
        self.last = Some(at);
        self.largest = self.largest.max(at - last);
        if self.unlogged {
            return;
        }
        if self.log.len() == KEPT {
            self.log.pop_front();
            self.forgotten = true;
        }
        self.log.push_back(at);
    }

    /// Keeps no log from now on: what is asked [at a glance](Self::largest_until) needs no memory.
    pub(crate) fn stop_logging(&mut self) {
        self.unlogged = true;
        self.log = VecDeque::new();
    }

    /// The largest gap since the last call, in nanoseconds; the one that is still open at `now` is one of them.
    pub(crate) fn largest_until(&mut self, now: u64) -> u64 {
        let open = self.last.map_or(0, |last| now.saturating_sub(last));
        std::mem::take(&mut self.largest).max(open)
    }

    /// The largest gap that overlaps `moment` ± 50 ms, in nanoseconds; `None` when the log does not cover the span.
    pub(crate) fn around(&self, moment: u64) -> Option<u64> {
        let (from, to) = (moment.saturating_sub(AROUND), moment.saturating_add(AROUND));
        let first = self.log.partition_point(|&at| at < from);
        if self.log.back().is_none_or(|&last| last < to) || (first == 0 && self.forgotten) {
            return None;
        }
        let from = first.saturating_sub(1);
        let mut largest = 0;
        for (earlier, later) in self.log.range(from..).zip(self.log.range(from + 1..)) {
            if *earlier > to {
                break;
            }
            largest = largest.max(later - earlier);
        }
        Some(largest)
    }
}

/// The value below or at which `share` of the sorted `values` lie (nearest rank); zero for none.
pub(crate) fn percentile(sorted: &[u64], share: f64) -> u64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn steady(count: u64) -> Arrivals {
        let mut arrivals = Arrivals::default();
        (0..count).for_each(|n| arrivals.arrived(1000 * MS + n * MS));
        arrivals
    }

    #[test]
    fn the_gap_around_a_moment_is_found_and_others_are_not() {
        let mut arrivals = steady(300);
        arrivals.arrived(1307 * MS);
        (1308..1600).for_each(|n| arrivals.arrived(n * MS));
        assert_eq!(arrivals.around(1100 * MS), Some(MS));
        assert_eq!(arrivals.around(1300 * MS), Some(8 * MS));
        // The gap lies from 1299 to 1307: inside ±50 ms of these, outside of those.
        assert_eq!(arrivals.around(1249 * MS), Some(8 * MS));
        assert_eq!(arrivals.around(1248 * MS), Some(MS));
        assert_eq!(arrivals.around(1357 * MS), Some(8 * MS));
        assert_eq!(arrivals.around(1359 * MS), Some(MS));
    }

    #[test]
    fn a_silence_over_the_whole_span_is_a_gap() {
        let mut arrivals = steady(100);
        (2000..2100).for_each(|n| arrivals.arrived(n * MS));
        assert_eq!(arrivals.around(1500 * MS), Some(901 * MS));
    }

    #[test]
    fn a_span_that_is_not_over_has_no_answer_yet() {
        let arrivals = steady(100);
        assert_eq!(arrivals.around(1060 * MS), None);
        assert_eq!(arrivals.around(1049 * MS), Some(MS));
    }

    #[test]
    fn the_largest_gap_is_told_once_and_an_open_one_for_as_long_as_it_is() {
        let mut arrivals = steady(10);
        arrivals.stop_logging();
        arrivals.arrived(1030 * MS);
        assert_eq!(arrivals.largest_until(1031 * MS), 21 * MS);
        assert_eq!(arrivals.largest_until(1031 * MS), MS);
        assert_eq!(arrivals.largest_until(1530 * MS), 500 * MS);
        arrivals.arrived(1630 * MS);
        assert_eq!(arrivals.largest_until(1630 * MS), 600 * MS);
        assert_eq!(arrivals.around(1005 * MS), None, "there is no log");
    }

    #[test]
    fn percentiles_by_nearest_rank() {
        let values: Vec<u64> = (1..=1000).collect();
        assert_eq!(percentile(&values, 0.5), 500);
        assert_eq!(percentile(&values, 0.99), 990);
        assert_eq!(percentile(&values, 0.999), 999);
        assert_eq!(percentile(&values, 1.0), 1000);
        assert_eq!(percentile(&[7], 0.5), 7);
        assert_eq!(percentile(&[], 0.5), 0);
    }
}
