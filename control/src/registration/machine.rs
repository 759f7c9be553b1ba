//! The machine: a state, a step, and a log that can be replayed.

use super::{Action, Event, LogEntry, Settings, SinceBoot, State, Story, Summary, Timestamp, step::step, words};
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
    /// The state before the oldest entry of `log` that can be replayed.
    checkpoint: State,
    log: VecDeque<LogEntry>,
    /// Oldest entries of `log` that lead nowhere: what followed them was lost.
    severed: usize,
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
        Self { checkpoint: state.clone(), state, log: VecDeque::new(), severed: 0 }
    }

    /// As [`restore`](Self::restore), with the log of earlier processes. Where that does not lead to the stored state,
    /// the state counts: a last entry whose state was not stored is dropped, and a log that lost its end is only shown.
    #[must_use]
    pub fn resume(stored: State, story: Story) -> Self {
        let Story { checkpoint, severed, entries } = story;
        let mut log = VecDeque::from(entries);
        for kept in [log.len(), log.len().saturating_sub(1)].into_iter().filter(|kept| *kept >= severed) {
            let told = replay(&checkpoint, log.range(severed..kept));
            if told.durable() == stored.durable() {
                log.truncate(kept);
                let mut machine = Self { state: told, checkpoint, log, severed };
                machine.make_room(LOG_CAPACITY);
                return machine;
            }
        }
        let mut machine = Self { severed: log.len(), checkpoint: stored.clone(), state: stored, log };
        machine.make_room(LOG_CAPACITY);
        machine
    }

    /// Forgets the oldest entries, so that no more than `left` stay.
    fn make_room(&mut self, left: usize) {
        while self.log.len() > left
            && let Some(oldest) = self.log.pop_front()
        {
            if self.severed > 0 {
                self.severed -= 1;
            } else {
                step(&mut self.checkpoint, &oldest.event, oldest.at.since_boot);
            }
        }
    }

    /// One step: what is to be done about this event.
    pub fn handle(&mut self, event: Event, now: Timestamp) -> Vec<Action> {
        let state_before = Summary::from(&self.state);
        let outcome = step(&mut self.state, &event, now.since_boot);
        let plain = words::plain(&event, outcome.row, outcome.then, &outcome.actions, &self.state);
        self.make_room(LOG_CAPACITY - 1);
        self.log.push_back(LogEntry {
            at: now,
            boot: self.state.boot_id.clone(),
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
        replay(&self.checkpoint, self.log.iter().skip(self.severed))
    }

    /// What the [`log`](Self::log) needs besides itself to be replayed, to be stored: the state before its first entry
    /// that can be, and how many before that cannot.
    #[must_use]
    pub fn checkpoint(&self) -> (&State, usize) {
        (&self.checkpoint, self.severed)
    }
}

fn replay<'a>(checkpoint: &State, entries: impl Iterator<Item = &'a LogEntry>) -> State {
    let mut state = checkpoint.clone();
    for entry in entries {
        step(&mut state, &entry.event, entry.at.since_boot);
    }
    state
}
