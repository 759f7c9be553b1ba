//! In which order, and how long it takes.

use super::measure::Test;
use std::time::Duration;

/// What starting, checking and ending a pair of engines takes besides the tests.
const CHANGE: Duration = Duration::from_millis(1200);
/// What a test takes besides its load.
const AROUND: Duration = Duration::from_millis(700);

/// The order of a round: each begins one engine later, so that none is always first (on a cool machine) or last.
pub(super) fn order<T>(engines: &[T], round: u32) -> impl Iterator<Item = &T> {
    let first = if engines.is_empty() { 0 } else { round as usize % engines.len() };
    engines[first..].iter().chain(&engines[..first])
}

/// How long one engine's turn takes, about.
pub(super) fn turn(tests: &[Test], seconds: u32) -> Duration {
    tests.iter().map(|test| cost(*test, seconds)).sum::<Duration>() + CHANGE
}

/// How long a test takes, about.
pub(super) fn cost(test: Test, seconds: u32) -> Duration {
    match test {
        Test::Rss => Duration::ZERO,
        Test::Rtt => Duration::from_millis(1300),
        Test::Idle => Duration::from_secs(u64::from(seconds) + 1),
        _ => Duration::from_secs(u64::from(seconds)) + AROUND,
    }
}

/// `4 min 05 s`, `12 s`.
pub(super) fn spoken(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_every_engine_once_and_another_first() {
        let engines = ["a", "b", "c"];
        let rounds: Vec<String> = (0..4).map(|round| order(&engines, round).copied().collect()).collect();
        assert_eq!(rounds, ["abc", "bca", "cab", "abc"]);
        assert_eq!(order::<u8>(&[], 3).count(), 0);
    }

    #[test]
    fn a_turn_is_the_sum_of_its_tests() {
        let both = turn(&[Test::Tcp1, Test::Rtt], 5);
        assert_eq!(both, cost(Test::Tcp1, 5) + cost(Test::Rtt, 5) + CHANGE);
        assert!(cost(Test::Tcp1, 5) > Duration::from_secs(5));
    }

    #[test]
    fn times_are_spoken() {
        let words = [9, 65, 3_700].map(|seconds| spoken(Duration::from_secs(seconds)));
        assert_eq!(words, ["9 s", "1 min 05 s", "1 h 01 min"]);
    }
}
