//! The twin: a clock that stands until it is moved.

use super::Clock;
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// A clock moved by hand. Clones show the same time.
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<Mutex<Duration>>);

impl ManualClock {
    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Clock for ManualClock {
    fn since_boot(&self) -> io::Result<Duration> {
        Ok(*self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_stands_until_moved() {
        let clock = ManualClock::default();
        let same = clock.clone();
        clock.advance(Duration::from_secs(3));
        assert_eq!(same.since_boot().unwrap(), Duration::from_secs(3));
    }
}
