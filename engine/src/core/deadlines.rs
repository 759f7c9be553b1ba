//! Which peer wants to be looked at when. A peer has one entry at most, and none when nothing is due for it ever, so
//! that ten thousand idle ones cost nothing.

use std::collections::BTreeSet;
use std::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Deadlines {
    entries: BTreeSet<(Instant, usize)>,
    /// By slot.
    armed: Vec<Option<Instant>>,
}

impl Deadlines {
    /// The earliest.
    pub(super) fn next(&self) -> Option<Instant> {
        self.entries.first().map(|(at, _)| *at)
    }

    /// Looks at a peer at `at` at the latest. Costs a comparison when it is looked at earlier anyway, which on the packet
    /// path is the rule: a deadline that moved back is found out when the earlier one has come.
    pub(super) fn arm(&mut self, slot: usize, at: Instant) {
        if self.armed.len() <= slot {
            self.armed.resize(slot + 1, None);
        }
        if self.armed[slot].is_some_and(|armed| armed <= at) {
            return;
        }
        if let Some(later) = self.armed[slot].replace(at) {
            self.entries.remove(&(later, slot));
        }
        self.entries.insert((at, slot));
    }

    /// Takes up to `most` peers that are due off the list.
    pub(super) fn take_due(&mut self, now: Instant, most: usize) -> Vec<usize> {
        let mut due = Vec::new();
        while due.len() < most
            && let Some(&(at, slot)) = self.entries.first().filter(|(at, _)| *at <= now)
        {
            self.entries.remove(&(at, slot));
            self.armed[slot] = None;
            due.push(slot);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_earliest_counts_and_each_peer_once() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut deadlines = Deadlines::default();
        for (slot, ms) in [(3, 50), (1, 20), (3, 70), (3, 10), (1, 20), (0, 30)] {
            deadlines.arm(slot, at(ms));
        }
        assert_eq!((deadlines.next(), deadlines.entries.len()), (Some(at(10)), 3));
        assert!(deadlines.take_due(at(9), 9).is_empty());
        assert_eq!(deadlines.take_due(at(20), 1), [3]);
        assert_eq!(deadlines.take_due(at(20), 9), [1]);
        deadlines.arm(1, at(40));
        assert_eq!(deadlines.take_due(at(100), 9), [0, 1]);
        assert_eq!(deadlines.next(), None);
    }
}
