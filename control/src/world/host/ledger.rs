//! Accounts for numbered datagrams: which came, which came twice, which came late.

use serde::{Deserialize, Serialize};

/// What happened to the datagrams of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Given to the kernel by the sender.
    pub sent: u64,
    /// Arrived, each counted once.
    pub received: u64,
    /// Sent and never seen.
    pub lost: u64,
    /// Arrivals of datagrams that had arrived before.
    pub duplicated: u64,
    /// Arrived after a later one (RFC 4737: below the next expected number).
    pub reordered: u64,
    /// Arrived with other bytes than were sent.
    pub corrupted: u64,
}

impl Tally {
    /// Adds another tally to this one.
    pub(crate) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupted += other.corrupted;
    }
}

/// Keeps one bit per datagram, from the first that is not [settled](Self::settle) on.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The number of the first bit, a multiple of 64.
    base: u64,
    seen: Vec<u64>,
    next: u64,
    tally: Tally,
}

impl Ledger {
    /// Numbers that far beyond the first that is not settled are not believed (eight hours at 100,000 per second).
    const LIMIT: u64 = 100_000 * 8 * 3600;

    /// Enters an arrival.
    pub(crate) fn arrived(&mut self, sequence: u64) {
        let Some(place) = sequence.checked_sub(self.base) else {
            // Settled as lost, or a duplicate of one that was not: either way it comes after later ones.
            self.tally.reordered += 1;
            return;
        };
        let (Ok(word), true) = (usize::try_from(place / 64), place < Self::LIMIT) else {
            self.tally.corrupted += 1;
            return;
        };
        if word >= self.seen.len() {
            self.seen.resize(word + 1, 0);
        }
        let bit = 1 << (sequence % 64);
        if self.seen[word] & bit != 0 {
            self.tally.duplicated += 1;
            return;
        }
        self.seen[word] |= bit;
        self.tally.received += 1;
        if sequence < self.next {
            self.tally.reordered += 1;
        } else {
            self.next = sequence + 1;
        }
    }

    /// One above the highest number that arrived.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Enters an arrival that is not what was sent.
    pub(crate) fn corrupted(&mut self) {
        self.tally.corrupted += 1;
    }

    /// The first `most` gaps among the numbers that are not settled and below `sent`, as `from` and `count`.
    pub(crate) fn missing(&self, sent: u64, most: usize) -> Vec<(u64, u64)> {
        let mut gaps: Vec<(u64, u64)> = Vec::new();
        let mut sequence = self.base;
        while sequence < sent.min(self.base + Self::LIMIT) {
            let word = self.seen.get(((sequence - self.base) / 64) as usize).copied().unwrap_or(0);
            if word == u64::MAX {
                sequence += 64;
                continue;
            }
            let lost = word & 1 << (sequence % 64) == 0;
            let full = gaps.len() == most;
            match gaps.last_mut() {
                Some((from, count)) if lost && *from + *count == sequence => *count += 1,
                _ if lost && full => break,
                _ if lost => gaps.push((sequence, 1)),
                _ => {}
            }
            sequence += 1;
        }
        gaps
    }

    /// Gives the gaps among the numbers below `end` (rounded down to a multiple of 64) and forgets those numbers, so that
    /// an account that is settled every so often stays small however long it runs.
    pub(crate) fn settle(&mut self, end: u64) -> Vec<(u64, u64)> {
        let end = end / 64 * 64;
        let Some(span) = end.checked_sub(self.base).filter(|span| *span > 0) else { return Vec::new() };
        let gaps = self.missing(end, usize::MAX);
        let words = usize::try_from(span / 64).unwrap_or(usize::MAX).min(self.seen.len());
        self.seen.drain(..words);
        self.base = end;
        gaps
    }

    /// The account so far, given that `sent` datagrams were sent.
    pub(crate) fn tally(&self, sent: u64) -> Tally {
        Tally { sent, lost: sent.saturating_sub(self.tally.received), ..self.tally }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(arrivals: impl IntoIterator<Item = u64>, sent: u64) -> Tally {
        let mut ledger = Ledger::default();
        arrivals.into_iter().for_each(|sequence| ledger.arrived(sequence));
        ledger.tally(sent)
    }

    #[test]
    fn all_in_order() {
        assert_eq!(account(0..1000, 1000), Tally { sent: 1000, received: 1000, ..Tally::default() });
    }

    #[test]
    fn a_loss_is_not_a_reordering() {
        let tally = account((0..100).filter(|n| n % 10 != 3), 100);
        assert_eq!(tally, Tally { sent: 100, received: 90, lost: 10, ..Tally::default() });
    }

    #[test]
    fn a_duplicate_is_neither_a_loss_nor_a_reordering() {
        let tally = account([0, 1, 1, 2, 0, 3], 4);
        assert_eq!(tally, Tally { sent: 4, received: 4, duplicated: 2, ..Tally::default() });
    }

    #[test]
    fn only_the_late_ones_are_reordered() {
        assert_eq!(account([0, 3, 1, 2, 4], 5).reordered, 2);
        assert_eq!(account([1, 0], 2).reordered, 1);
    }

    #[test]
    fn the_tail_counts_as_lost() {
        assert_eq!(account(0..7, 10).lost, 3);
    }

    #[test]
    fn gaps_are_told() {
        let mut ledger = Ledger::default();
        [0, 1, 5, 6, 8].into_iter().for_each(|sequence| ledger.arrived(sequence));
        assert_eq!(ledger.missing(10, 8), [(2, 3), (7, 1), (9, 1)]);
        assert_eq!(ledger.missing(2, 8), []);
    }

    #[test]
    fn what_is_settled_is_told_once_and_forgotten() {
        let mut ledger = Ledger::default();
        (0..300).filter(|n| ![5, 6, 130, 299].contains(n)).for_each(|sequence| ledger.arrived(sequence));
        assert_eq!(ledger.settle(63), [], "the first 63 are no whole word");
        assert_eq!(ledger.settle(150), [(5, 2)], "128 to 150 are not a whole word");
        assert_eq!(ledger.settle(64), [], "settled before");
        assert_eq!(ledger.missing(300, 8), [(130, 1), (299, 1)]);
        assert_eq!(ledger.seen.len(), 3);
        // Too late, or for the second time: after later ones, and no less lost.
        ledger.arrived(5);
        ledger.arrived(130);
        let tally = Tally { sent: 300, received: 297, lost: 3, reordered: 2, ..Tally::default() };
        assert_eq!(ledger.tally(300), tally);
        assert_eq!(ledger.settle(640), [(299, 341)], "beyond all that came");
        ledger.arrived(640);
        assert_eq!(ledger.missing(641, 8), []);
    }

    #[test]
    fn absurd_numbers_take_no_memory() {
        assert_eq!(account([u64::MAX], 1).corrupted, 1);
    }
}
