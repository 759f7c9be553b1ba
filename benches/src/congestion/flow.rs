//! Flows: TCP's congestion control as RFC 9438 (CUBIC) has it, and datagrams without any.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Packets that a later one may overtake before it counts as lost.
const REORDERING: u64 = 3;
/// RFC 9438: the window after a loss, and the growth.
const BETA: f64 = 0.7;
const C: f64 = 0.4;
/// RFC 6928.
const INITIAL_WINDOW: f64 = 10.0;
/// RFC 6298, section 2.4.
const LEAST_TIMEOUT: Duration = Duration::from_secs(1);

/// A bulk transfer's sender. Every transmission has a number of its own, as in QUIC; what is lost is sent again as
/// something new, so what is acknowledged is what has arrived.
#[derive(Debug)]
pub(super) struct Tcp {
    next: u64,
    flying: BTreeMap<u64, Instant>,
    window: f64,
    threshold: f64,
    /// CUBIC: window at the last loss, and when that was.
    most: f64,
    epoch: Option<Instant>,
    /// Losses of packets below this number belong to a reduction that was made.
    recovery: u64,
    rtt: Option<Duration>,
    heard: Option<Instant>,
    pub(super) delivered: u64,
    pub(super) lost: u64,
}

impl Tcp {
    pub(super) fn new() -> Self {
        Self {
            next: 0,
            flying: BTreeMap::new(),
            window: INITIAL_WINDOW,
            threshold: f64::INFINITY,
            most: 0.0,
            epoch: None,
            recovery: 0,
            rtt: None,
            heard: None,
            delivered: 0,
            lost: 0,
        }
    }

    /// The number of the next packet, if one may be sent.
    pub(super) fn send(&mut self, now: Instant) -> Option<u64> {
        if self.flying.len() as f64 >= self.window.floor().max(1.0) {
            return None;
        }
        let number = self.next;
        self.next += 1;
        self.flying.insert(number, now);
        self.heard.get_or_insert(now);
        Some(number)
    }

    /// The receiver has a packet.
    pub(super) fn acknowledged(&mut self, number: u64, now: Instant) {
        let Some(sent) = self.flying.remove(&number) else { return };
        self.delivered += 1;
        self.heard = Some(now);
        let sample = now - sent;
        self.rtt = Some(self.rtt.map_or(sample, |rtt| rtt.mul_f64(0.875) + sample.mul_f64(0.125)));
        let passed = self.flying.range(..number.saturating_sub(REORDERING)).map(|(number, _)| *number);
        let passed: Vec<u64> = passed.collect();
        let reduces = passed.iter().any(|number| *number >= self.recovery);
        self.lost += passed.len() as u64;
        for number in passed {
            self.flying.remove(&number);
        }
        if reduces {
            self.most = if self.window < self.most { self.window * (1.0 + BETA) / 2.0 } else { self.window };
            self.window = (self.window * BETA).max(2.0);
            self.threshold = self.window;
            self.epoch = None;
            self.recovery = self.next;
        } else if self.window < self.threshold {
            self.window += 1.0;
        } else {
            self.grow(now);
        }
    }

    fn grow(&mut self, now: Instant) {
        let epoch = *self.epoch.get_or_insert(now);
        let rtt = self.rtt.unwrap_or_default().as_secs_f64();
        let time = (now - epoch).as_secs_f64() + rtt;
        let back = (self.most * (1.0 - BETA) / C).cbrt();
        let cubic = C * (time - back).powi(3) + self.most;
        let reno = self.most * BETA + 3.0 * (1.0 - BETA) / (1.0 + BETA) * time / rtt.max(1e-6);
        let target = cubic.max(reno).clamp(self.window, self.window * 1.5);
        self.window += (target - self.window) / self.window;
    }

    /// When all that flies is given up.
    pub(super) fn timeout(&self) -> Option<Instant> {
        let patience = (self.rtt.unwrap_or_default() * 3).max(LEAST_TIMEOUT);
        self.flying.first_key_value().and(self.heard).map(|heard| heard + patience)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.timeout().is_none_or(|due| due > now) {
            return;
        }
        self.lost += self.flying.len() as u64;
        self.flying.clear();
        self.threshold = (self.window * BETA).max(2.0);
        (self.window, self.epoch, self.recovery) = (1.0, None, self.next);
        self.heard = Some(now);
    }
}

/// Datagrams at a rate, come what may.
#[derive(Debug)]
pub(super) struct Flood {
    every: Duration,
    next: Instant,
    pub(super) sent: u64,
    pub(super) delivered: u64,
}

impl Flood {
    pub(super) fn new(bits_per_second: f64, len: usize, now: Instant) -> Self {
        let every = Duration::from_secs_f64(len as f64 * 8.0 / bits_per_second);
        Self { every, next: now, sent: 0, delivered: 0 }
    }

    pub(super) fn due(&self) -> Instant {
        self.next
    }

    pub(super) fn send(&mut self, now: Instant) -> bool {
        let due = self.next <= now;
        if due {
            self.next += self.every;
            self.sent += 1;
        }
        due
    }
}
