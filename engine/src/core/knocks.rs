//! Initiations that wait to be answered. One costs as much as sealing some hundred packets, and a gateway that comes
//! back hears a thousand at once: a few are answered between two batches of traffic, the others wait here.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Initiations answered after a batch from the socket, and whenever they are due: half a millisecond of work.
pub(super) const ANSWERED_AT_A_TIME: usize = 4;
/// Most initiations that wait: a sixth of a second of work, well below the 750 ms after which initiators try again.
const WAITING: usize = 1024;
/// With so many waiting the engine is under load, and asks initiators to prove their address (paper, section 5.3).
const LOADED: usize = WAITING / 4;
/// Memory for so many is kept when none waits.
const KEPT: usize = 64;
/// The others are due after this pause: at once, but after a look at the socket.
const PAUSE: Duration = Duration::from_micros(1);

/// The length of an initiation.
const INITIATION: usize = 148;

/// One that was admitted: its mac1 is right, and under load its mac2.
pub(super) struct Knock {
    pub(super) message: [u8; INITIATION],
    pub(super) source: SocketAddr,
}

/// First come, first served.
#[derive(Default)]
pub(super) struct Knocks {
    waiting: VecDeque<Knock>,
    due: Option<Instant>,
}

impl Knocks {
    /// True when so many wait that initiators must prove their address.
    pub(super) fn are_many(&self) -> bool {
        self.waiting.len() >= LOADED
    }

    /// Lets an initiation wait; false when there is no room.
    pub(super) fn push(&mut self, message: &[u8], source: SocketAddr) -> bool {
        let Ok(message) = message.try_into() else { return false };
        if self.waiting.len() >= WAITING {
            return false;
        }
        self.waiting.push_back(Knock { message, source });
        true
    }

    /// The next one to answer.
    pub(super) fn pop(&mut self) -> Option<Knock> {
        let next = self.waiting.pop_front();
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT {
            self.waiting.shrink_to(KEPT);
        }
        next
    }

    /// After some were answered: when the others are due.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.due = (!self.waiting.is_empty()).then(|| now + PAUSE);
    }

    /// When [`super::Engine::handle_deadline`] is to answer the next ones.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_is_bounded_and_a_queue_and_gives_its_memory_back() {
        let mut knocks = Knocks::default();
        let source = |n: usize| SocketAddr::from(([192, 0, 2, 1], n as u16));
        assert!(!knocks.push(&[0; INITIATION - 1], source(0)));
        let accepted = (0..2 * WAITING).filter(|n| knocks.push(&[*n as u8; INITIATION], source(*n))).count();
        assert_eq!(accepted, WAITING);
        assert!(knocks.are_many());
        let order: Vec<_> = std::iter::from_fn(|| knocks.pop()).map(|knock| knock.source).collect();
        assert_eq!(order, (0..WAITING).map(source).collect::<Vec<_>>());
        assert!(!knocks.are_many() && knocks.waiting.capacity() <= 2 * KEPT);
    }

    #[test]
    fn what_waits_is_due_a_moment_later_and_nothing_is_due_when_none_waits() {
        let (mut knocks, now) = (Knocks::default(), Instant::now());
        knocks.postpone(now);
        assert_eq!(knocks.due(), None);
        assert!(knocks.push(&[0; INITIATION], ([192, 0, 2, 1], 1).into()));
        knocks.postpone(now);
        assert!(knocks.due().unwrap() > now);
        knocks.pop();
        knocks.postpone(now);
        assert_eq!(knocks.due(), None);
    }
}
