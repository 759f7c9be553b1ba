//! The seeded network: delay, jitter, loss, reordering, duplication and holes, one setting per direction.

use crate::{Random, wire};
use std::{cmp::Reverse, collections::BinaryHeap, net::SocketAddr, time::Duration};

/// One direction's behaviour.
#[derive(Clone, Debug)]
pub struct Link {
    /// Least time on the way.
    pub delay: Duration,
    /// Random time on top. Order is kept.
    pub jitter: Duration,
    /// Datagrams lost in a thousand.
    pub loss: u32,
    /// Datagrams doubled in a thousand.
    pub duplicate: u32,
    /// Datagrams held back (and so overtaken) in a thousand.
    pub reorder: u32,
    /// Nothing passes until then.
    pub hole_until: Duration,
    /// So many of the next datagrams are lost.
    pub drop_next: u32,
    /// Handshake messages are lost, data passes.
    pub swallow_handshakes: bool,
    last: Duration,
}

impl Link {
    /// Loses nothing, keeps the order.
    #[must_use]
    pub fn clean(delay: Duration, jitter: Duration) -> Self {
        Self {
            delay,
            jitter,
            loss: 0,
            duplicate: 0,
            reorder: 0,
            hole_until: Duration::ZERO,
            drop_next: 0,
            swallow_handshakes: false,
            last: Duration::ZERO,
        }
    }
}

/// Something due at a time; equal times keep their order of entry.
#[derive(Debug)]
struct Due<T> {
    at: Duration,
    order: u64,
    what: T,
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl<T> Eq for Due<T> {}
impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// What will happen, in order.
#[derive(Debug)]
pub struct Agenda<T> {
    heap: BinaryHeap<Reverse<Due<T>>>,
    order: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), order: 0 }
    }
}

impl<T> Agenda<T> {
    /// Adds something.
    pub fn add(&mut self, at: Duration, what: T) {
        self.order += 1;
        self.heap.push(Reverse(Due { at, order: self.order, what }));
    }

    /// When the next thing is due.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        self.heap.peek().map(|due| due.0.at)
    }

    /// The next thing that is due by `now`.
    pub fn due(&mut self, now: Duration) -> Option<T> {
        if self.next()? <= now { self.heap.pop().map(|due| due.0.what) } else { None }
    }

    /// Looks at the next thing that is due by `now` without taking it.
    #[must_use]
    pub fn peek_due(&self, now: Duration) -> Option<&T> {
        self.heap.peek().filter(|due| due.0.at <= now).map(|due| &due.0.what)
    }
}

/// A datagram on its way.
#[derive(Clone, Debug)]
pub struct Flight {
    /// Sender's address.
    pub source: SocketAddr,
    /// Receiver's address.
    pub destination: SocketAddr,
    /// Bytes.
    pub bytes: Vec<u8>,
}

impl Link {
    /// When copies of a datagram sent at `now` arrive: none, one or two times.
    pub fn arrivals(&mut self, random: &mut Random, now: Duration, bytes: &[u8]) -> Vec<Duration> {
        if self.drop_next > 0 {
            self.drop_next -= 1;
            return Vec::new();
        }
        if self.swallow_handshakes && !matches!(wire::kind(bytes), wire::Kind::Data(..)) {
            return Vec::new();
        }
        if now < self.hole_until || random.chance(self.loss) {
            return Vec::new();
        }
        let mut at = now + self.delay + random.duration(self.jitter);
        if random.chance(self.reorder) {
            // Held back without holding up those behind it.
            at += Duration::from_millis(1) + random.duration(Duration::from_millis(30));
        } else {
            at = at.max(self.last);
            self.last = at;
        }
        let mut arrivals = vec![at];
        if random.chance(self.duplicate) {
            arrivals.push(at + random.duration(Duration::from_millis(20)));
        }
        arrivals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_link_keeps_the_order_and_a_hole_swallows() {
        let mut link = Link::clean(Duration::from_millis(10), Duration::from_millis(9));
        let mut random = Random::new(1);
        let mut last = Duration::ZERO;
        for ms in 0..500 {
            let arrivals = link.arrivals(&mut random, Duration::from_millis(ms), &[]);
            assert_eq!(arrivals.len(), 1);
            assert!(arrivals[0] >= last);
            last = arrivals[0];
        }
        link.hole_until = Duration::from_secs(2);
        assert!(link.arrivals(&mut random, Duration::from_secs(1), &[]).is_empty());
        assert_eq!(link.arrivals(&mut random, Duration::from_secs(2), &[]).len(), 1);
    }
}
