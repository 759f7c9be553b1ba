//! One direction of a path, without clock or threads.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a path does to packets, the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Bits per second of the bottleneck; `None`: no bottleneck.
    pub rate: Option<u64>,
    /// Bytes that wait before the bottleneck; what comes on top is dropped.
    pub queue: usize,
    /// How long a packet travels besides.
    pub delay: Duration,
    /// The share of packets that is lost at random, 0 to 1.
    pub loss: f64,
    /// Where the losses come from.
    pub seed: u64,
}

impl Default for Shape {
    /// A path that does nothing.
    fn default() -> Self {
        Self { rate: None, queue: usize::MAX, delay: Duration::ZERO, loss: 0.0, seed: 1 }
    }
}

impl Shape {
    /// Bytes that a path of a round trip time of twice `delay` has under way when it is full: what a queue should hold.
    #[must_use]
    pub fn bandwidth_delay_product(rate: u64, delay: Duration) -> usize {
        (rate as f64 / 8.0 * 2.0 * delay.as_secs_f64()) as usize
    }
}

/// What became of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// They went in.
    pub offered: u64,
    /// Lost at random.
    pub lost: u64,
    /// The queue was full.
    pub overflowed: u64,
    /// The longest wait before the bottleneck.
    pub longest_wait: Duration,
}

/// Packets under way in one direction, in order.
#[derive(Debug)]
pub struct Pipe<T> {
    shape: Shape,
    /// When the bottleneck has sent all that waits.
    free_at: Option<Instant>,
    flying: VecDeque<(Instant, T)>,
    random: u64,
    fates: Fates,
}

impl<T> Pipe<T> {
    /// An empty one.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self { shape, free_at: None, flying: VecDeque::new(), random: shape.seed, fates: Fates::default() }
    }

    /// A packet of `len` bytes goes in, and comes out later or never.
    pub fn offer(&mut self, packet: T, len: usize, now: Instant) {
        self.fates.offered += 1;
        if self.draws_loss() {
            self.fates.lost += 1;
            return;
        }
        let mut leaves = now;
        if let Some(rate) = self.shape.rate {
            let begins = self.free_at.map_or(now, |free| free.max(now));
            let wait = begins - now;
            if wait.as_secs_f64() * rate as f64 / 8.0 + len as f64 > self.shape.queue.max(len) as f64 {
                self.fates.overflowed += 1;
                return;
            }
            self.fates.longest_wait = self.fates.longest_wait.max(wait);
            leaves = begins + Duration::from_secs_f64(len as f64 * 8.0 / rate as f64);
            self.free_at = Some(leaves);
        }
        self.flying.push_back((leaves + self.shape.delay, packet));
    }

    /// When the next packet comes out.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.flying.front().map(|(due, _)| *due)
    }

    /// The next packet that has come out by now.
    pub fn next(&mut self, now: Instant) -> Option<T> {
        self.flying.pop_front_if(|(due, _)| *due <= now).map(|(_, packet)| packet)
    }

    /// What became of all so far.
    #[must_use]
    pub fn fates(&self) -> Fates {
        self.fates
    }

    /// Steele's and Vigna's SplitMix64: good enough to lose packets by.
    fn draws_loss(&mut self) -> bool {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((z >> 11) as f64) < self.shape.loss * (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(shape: Shape, packets: u64, every: Duration) -> (Vec<(u64, Duration)>, Fates) {
        let start = Instant::now();
        let mut pipe = Pipe::new(shape);
        for number in 0..packets {
            pipe.offer(number, 1000, start + every * u32::try_from(number).unwrap_or(0));
        }
        let mut out = Vec::new();
        while let Some(due) = pipe.due() {
            out.extend(pipe.next(due).map(|number| (number, due - start)));
        }
        (out, pipe.fates())
    }

    #[test]
    fn a_path_delays_and_keeps_the_order() {
        let (out, fates) = through(Shape { delay: Duration::from_millis(20), ..Shape::default() }, 3, Duration::ZERO);
        assert_eq!(out, [0, 1, 2].map(|number| (number, Duration::from_millis(20))));
        assert_eq!(fates, Fates { offered: 3, ..Fates::default() });
    }

    #[test]
    fn a_bottleneck_sends_one_by_one_and_its_queue_is_bounded() {
        // 1000 bytes at 8 Mb/s take a millisecond.
        let shape = Shape { rate: Some(8_000_000), queue: 3000, ..Shape::default() };
        let (out, fates) = through(shape, 5, Duration::ZERO);
        let expected = [(0, 1), (1, 2), (2, 3)].map(|(number, ms)| (number, Duration::from_millis(ms)));
        assert_eq!(out, expected);
        let longest_wait = Duration::from_millis(2);
        assert_eq!(fates, Fates { offered: 5, overflowed: 2, longest_wait, ..Fates::default() });
        let (out, fates) = through(shape, 50, Duration::from_millis(1));
        assert_eq!((out.len(), fates.overflowed), (50, 0), "as fast as it goes");
    }

    #[test]
    fn losses_come_from_the_seed_and_are_as_many_as_asked_for() {
        let shape = Shape { loss: 0.01, ..Shape::default() };
        let (out, fates) = through(shape, 100_000, Duration::ZERO);
        assert_eq!(out.len() as u64 + fates.lost, 100_000);
        assert!((800..1200).contains(&fates.lost), "{fates:?}");
        assert_eq!(through(shape, 100_000, Duration::ZERO).1, fates);
        assert_ne!(through(Shape { seed: 2, ..shape }, 100_000, Duration::ZERO).1, fates);
    }
}
