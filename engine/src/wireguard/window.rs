//! Which counters a session has seen (WireGuard paper, section 5.4.6; the ring of blocks is RFC 6479's).

use super::limits::REJECT_AFTER_MESSAGES;

/// How far behind the greatest counter one may come and still be told apart from a replay: what a path of 10 Gb/s
/// reorders within 10 ms.
pub(crate) const WINDOW: u64 = 8192;
const BITS: u64 = u64::BITS as u64;
/// One block more than the window, so that clearing a block never forgets a counter within it.
const BLOCKS: u64 = WINDOW / BITS + 1;

/// Counters seen.
pub(crate) struct Window {
    /// One above the greatest counter seen, 0 for none.
    next: u64,
    seen: [u64; BLOCKS as usize],
}

impl Window {
    pub(crate) fn new() -> Self {
        Self { next: 0, seen: [0; BLOCKS as usize] }
    }

    /// True when `counter` is new and not too old. Ask before opening.
    #[inline]
    pub(crate) fn would_accept(&self, counter: u64) -> bool {
        if counter >= self.next {
            return counter < REJECT_AFTER_MESSAGES;
        }
        let (block, bit) = place(counter);
        self.next - counter <= WINDOW && self.seen[block] & bit == 0
    }

    /// Notes `counter`, whose packet was authentic; false when it was not acceptable.
    #[inline]
    pub(crate) fn accept(&mut self, counter: u64) -> bool {
        if !self.would_accept(counter) {
            return false;
        }
        if counter >= self.next {
            // Blocks that come into use are stale: clear them.
            let newest = self.next.checked_sub(1).map(|newest| newest / BITS);
            let first = newest.map_or(0, |newest| newest + 1);
            let last = counter / BITS;
            for block in first.max(last.saturating_sub(BLOCKS - 1))..=last {
                self.seen[(block % BLOCKS) as usize] = 0;
            }
            self.next = counter + 1;
        }
        let (block, bit) = place(counter);
        self.seen[block] |= bit;
        true
    }
}

#[inline]
fn place(counter: u64) -> (usize, u64) {
    ((counter / BITS % BLOCKS) as usize, 1 << (counter % BITS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// The same by a set.
    #[derive(Default)]
    struct Naive(BTreeSet<u64>);

    impl Naive {
        fn accept(&mut self, counter: u64) -> bool {
            let greatest = self.0.last().copied();
            let fresh = counter < REJECT_AFTER_MESSAGES
                && !self.0.contains(&counter)
                && greatest.is_none_or(|greatest| counter > greatest || greatest + 1 - counter <= WINDOW);
            if fresh {
                self.0.insert(counter);
            }
            fresh
        }
    }

    #[test]
    fn the_edges() {
        let mut window = Window::new();
        assert!(window.accept(0) && !window.accept(0));
        assert!(window.accept(WINDOW));
        assert!(!window.accept(0), "seen, and too old by one");
        assert!(window.accept(1) && !window.accept(1));
        assert!(window.accept(1 << 40));
        assert!(!window.would_accept((1 << 40) - WINDOW) && window.would_accept((1 << 40) - WINDOW + 1));
        assert!(!window.accept(u64::MAX) && !window.accept(REJECT_AFTER_MESSAGES));
        assert!(window.accept(REJECT_AFTER_MESSAGES - 1) && !window.accept(REJECT_AFTER_MESSAGES - 1));
    }

    proptest! {
        #[test]
        fn like_a_set(base in prop_oneof![Just(0_u64), 0..u64::MAX - 60_000, Just(u64::MAX - 30_000)],
                      steps in prop::collection::vec(prop_oneof![
                          8 => -70_i64..200, 2 => -9_000_i64..9_000, 1 => -8_300_i64..-8_100, 1 => 8_100_i64..17_000
                      ], 1..600)) {
            let (mut window, mut naive) = (Window::new(), Naive::default());
            let mut greatest = base;
            for step in steps {
                let counter = greatest.saturating_add_signed(step);
                let would = window.would_accept(counter);
                prop_assert_eq!(would, window.accept(counter));
                prop_assert_eq!(would, naive.accept(counter), "counter {} at {}", counter, greatest);
                if would {
                    greatest = greatest.max(counter);
                }
            }
        }
    }
}
