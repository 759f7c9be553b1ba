//! The machine: a state, a step, and a log that can be replayed.

use super::{Action, Event, LogEntry, Settings, SinceBoot, State, Summary, Timestamp, step::step, words};
use std::collections::VecDeque;

/// Steps kept for `vestibule why`. About 1 KiB each.
pub const LOG_CAPACITY: usize = 512;

/// Decides which registration carries traffic.
///
/// Feed every event to [`handle`](Self::handle), carry out the actions in their order, store [`state`](Self::state)
/// before the next event, and send [`Event::DeadlineReached`] at [`deadline`](Self::deadline).
#[derive(Clone, Debug)]
pub struct Machine {
    state: State,
    /// The state before the oldest entry of `log`.
    checkpoint: State,
    log: VecDeque<LogEntry>,
}

impl Machine {
    /// A device that has never been registered. `seed` spreads retries; any random number will do.
    #[must_use]
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self::restore(State::new(settings, seed))
    }

    /// Goes on from a stored state. The first event must be [`Event::ServiceStarted`] or [`Event::Boot`]: either knows
    /// that the earlier process's connections are gone.
    #[must_use]
    pub fn restore(state: State) -> Self {
        Self { checkpoint: state.clone(), state, log: VecDeque::new() }
    }

    /// One step: what is to be done about this event.
    pub fn handle(&mut self, event: Event, now: Timestamp) -> Vec<Action> {
        let state_before = Summary::from(&self.state);
        let outcome = step(&mut self.state, &event, now.since_boot);
        let plain = words::plain(&event, outcome.row, outcome.then, &outcome.actions, &self.state);
        if self.log.len() == LOG_CAPACITY
            && let Some(oldest) = self.log.pop_front()
        {
            step(&mut self.checkpoint, &oldest.event, oldest.at.since_boot);
        }
        self.log.push_back(LogEntry {
            at: now,
            event,
            row: outcome.row,
            then: outcome.then,
            state_before,
            state_after: Summary::from(&self.state),
            actions: outcome.actions.clone(),
            plain,
        });
        outcome.actions
    }

    /// When [`Event::DeadlineReached`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<SinceBoot> {
        self.state.deadline
    }

    /// All there is to store; no secret is in it.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The latest steps, oldest first, at most [`LOG_CAPACITY`].
    pub fn log(&self) -> impl DoubleEndedIterator<Item = &LogEntry> + ExactSizeIterator {
        self.log.iter()
    }

    /// The state that the log's events lead to from where the log begins: equal to [`state`](Self::state), or the log
    /// does not tell the truth.
    #[must_use]
    pub fn replay(&self) -> State {
        let mut state = self.checkpoint.clone();
        for entry in &self.log {
            step(&mut state, &entry.event, entry.at.since_boot);
        }
        state
    }
}
