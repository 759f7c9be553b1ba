//! Virtual time: the engine's `now` and the clock that `Tunn` reads itself, moved together.

use mock_instant::MockClock;
use std::time::{Duration, Instant};

/// The mock clock starts away from zero, so that "never" and "at the start" differ.
const START: Duration = Duration::from_secs(1_000);

/// The one clock of a simulation.
#[derive(Debug)]
pub struct Clock {
    base: Instant,
    elapsed: Duration,
}

impl Clock {
    /// Resets this thread's mock clock and starts anew.
    #[must_use]
    pub fn start() -> Self {
        MockClock::set_time(START);
        Self { base: Instant::now(), elapsed: Duration::ZERO }
    }

    /// Virtual time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// What the engine is told.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.base + self.elapsed
    }

    /// Translates an engine's deadline.
    #[must_use]
    pub fn since_start(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.base)
    }

    /// Moves time forward; a moment that has passed moves nothing.
    pub fn advance_to(&mut self, elapsed: Duration) {
        if elapsed > self.elapsed {
            MockClock::advance(elapsed - self.elapsed);
            self.elapsed = elapsed;
        }
    }
}
