//! One end of the stamped datagrams: sends its flow at an even pace, accounts for the other end's.

use super::{
    gaps::Arrivals,
    ledger::{Ledger, Tally},
    serve, stamp, unknown,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use vestibule_platform::measure::{BATCH, KEEPS_TIME, LARGEST, Meter};

/// Kernel room in each direction: four seconds of full packets at 1,000 per second, one at 4,000.
pub(crate) const BUFFER: usize = 8 << 20;
/// Time between bursts.
const TICK: Duration = Duration::from_millis(1);
/// A sender that was kept from running makes up for at most this much, so that the lateness of its own machine does
/// not become a burst that no queue holds.
const CATCH_UP: Duration = Duration::from_millis(4);
/// How long a question about a span waits for the span to end.
const PATIENCE: Duration = Duration::from_secs(2);
/// Gaps told at the end.
const MOST_GAPS: usize = 4096;

/// One end's books.
#[derive(Clone, Debug, Default)]
pub(crate) struct End {
    sending: Arc<Sending>,
    received: Arc<Mutex<Received>>,
}

#[derive(Debug, Default)]
struct Received {
    ledger: Ledger,
    arrivals: Arrivals,
    errors: u64,
    error: Option<String>,
}

#[derive(Debug, Default)]
struct Sending {
    wanted: AtomicBool,
    over: AtomicBool,
    idle: AtomicBool,
    sent: AtomicU64,
    refused: AtomicU64,
    refusal: Mutex<Option<String>>,
    forgiven: AtomicU64,
}

/// What a sender did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stopped {
    /// Datagrams given away.
    pub sent: u64,
    /// Sends that were refused.
    pub refused: u64,
    /// Why the last one was.
    pub refusal: Option<String>,
    /// Datagrams not sent because the sender could not run in time.
    pub forgiven: u64,
}

/// What a receiver saw.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Its account.
    pub tally: Tally,
    /// Errors in place of datagrams.
    pub errors: u64,
    /// The first of them.
    pub error: Option<String>,
    /// The gaps among what no glance has made final: number of the first datagram that is missing, and how many are.
    pub missing: Vec<(u64, u64)>,
}

impl Report {
    /// The first few gaps.
    pub(crate) fn first_missing(&self) -> &[(u64, u64)] {
        &self.missing[..self.missing.len().min(8)]
    }
}

/// What a sender has done so far.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// Datagrams given away.
    pub sent: u64,
    /// Sends that were refused.
    pub refused: u64,
    /// Datagrams not sent because the sender could not run in time.
    pub forgiven: u64,
}

/// What a receiver has seen so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Its account; it does not know how many were sent.
    pub tally: Tally,
    /// One above the highest number that arrived.
    pub next: u64,
    /// The largest gap between arrivals since the last glance, in nanoseconds.
    pub gap_ns: u64,
    /// The gaps among the numbers that became final with this glance.
    pub missing: Vec<(u64, u64)>,
    /// Errors in place of datagrams.
    pub errors: u64,
}

/// One end at a glance.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Look {
    /// As a sender.
    pub sent: Sent,
    /// As a receiver.
    pub seen: Seen,
}

pub(super) fn run(local: SocketAddr, peer: SocketAddr, flow: u32, expect: u32, mtu: u16, rate: u32) -> io::Result<()> {
    let meter = Meter::open(local, peer, BUFFER)?;
    let sender = meter.sender()?;
    let end = End::default();
    let (out, back) = (end.clone(), end.clone());
    let send = move || out.send(flow, mtu, rate, |datagrams| sender.send(datagrams));
    thread::Builder::new().name("send".to_owned()).spawn(send)?;
    thread::Builder::new().name("receive".to_owned()).spawn(move || receive(meter, &back, expect))?;

    serve(|command, argument| match command {
        "start" => {
            end.start();
            Ok(json!({}))
        }
        "stop" => Ok(json!(end.stop())),
        "gap" => Ok(json!({ "gap_ns": end.gap(argument.parse().map_err(io::Error::other)?) })),
        "look" => Ok(json!(end.look(argument.parse().map_err(io::Error::other)?))),
        "report" => Ok(json!(end.report(argument.parse().map_err(io::Error::other)?))),
        _ => Err(unknown(command)),
    })
}

/// Enters what a kernel socket receives of the flow `expect`, until [`End::end`].
pub(crate) fn receive(mut meter: Meter, end: &End, expect: u32) {
    while !end.sending.over.load(Ordering::SeqCst) {
        let mut batch = Vec::with_capacity(BATCH);
        let result =
            meter.receive(Duration::from_millis(100), |bytes, at| batch.push((stamp::read(bytes, expect), at)));
        let error = result.err().map(|error| error.to_string());
        let failed = error.is_some();
        end.enter(&batch, error);
        // Where collecting them late costs no precision, it saves wake-ups; and an error may last.
        if failed || KEEPS_TIME && batch.len() < BATCH {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl End {
    /// Lets the sender begin.
    pub(crate) fn start(&self) {
        self.sending.idle.store(false, Ordering::SeqCst);
        self.sending.wanted.store(true, Ordering::SeqCst);
    }

    /// Stops the sender and waits until it has.
    pub(crate) fn stop(&self) -> Stopped {
        let sending = &self.sending;
        sending.wanted.store(false, Ordering::SeqCst);
        while !sending.idle.load(Ordering::SeqCst) {
            thread::sleep(TICK);
        }
        let Sent { sent, refused, forgiven } = self.sent();
        let refusal = sending.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Stopped { sent, refused, refusal, forgiven }
    }

    fn sent(&self) -> Sent {
        let sending = &self.sending;
        Sent {
            sent: sending.sent.load(Ordering::SeqCst),
            refused: sending.refused.load(Ordering::SeqCst),
            forgiven: sending.forgiven.load(Ordering::SeqCst),
        }
    }

    /// This end at a glance; what is below `final_below` and has not arrived is lost. From the first glance on there is
    /// no log of arrivals, and the memory taken is the same however long it goes on.
    pub(crate) fn look(&self, final_below: u64) -> Look {
        let sent = self.sent();
        let mut received = self.received();
        received.arrivals.stop_logging();
        let seen = Seen {
            missing: received.ledger.settle(final_below),
            tally: received.ledger.tally(0),
            next: received.ledger.next(),
            gap_ns: received.arrivals.largest_until(wall_ns()),
            errors: received.errors,
        };
        Look { sent, seen }
    }

    /// Ends sender and receiver for good.
    pub(crate) fn end(&self) {
        self.sending.over.store(true, Ordering::SeqCst);
        self.sending.wanted.store(false, Ordering::SeqCst);
    }

    /// The account, given that `sent` datagrams were sent.
    pub(crate) fn report(&self, sent: u64) -> Report {
        let received = self.received();
        Report {
            tally: received.ledger.tally(sent),
            errors: received.errors,
            error: received.error.clone(),
            missing: received.ledger.missing(sent, MOST_GAPS),
        }
    }

    /// Enters arrivals (a number, or `None` for a datagram that is not as it was sent, and when), or an error
    /// in their place.
    pub(crate) fn enter(&self, batch: &[(Option<u64>, u64)], error: Option<String>) {
        let mut received = self.received();
        received.errors += u64::from(error.is_some());
        received.error = received.error.take().or(error);
        for (sequence, at) in batch {
            received.arrivals.arrived(*at);
            match sequence {
                Some(sequence) => received.ledger.arrived(*sequence),
                None => received.ledger.corrupted(),
            }
        }
    }

    /// The largest gap around `moment`, once the span has passed.
    pub(crate) fn gap(&self, moment: u64) -> Option<u64> {
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.received().arrivals.around(moment);
            if answer.is_some() || Instant::now() > until {
                return answer;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends `flow` into `sink` whenever it is wanted; `sink` takes datagrams in order and says how many.
    pub(crate) fn send(&self, flow: u32, mtu: u16, rate: u32, mut sink: impl FnMut(&[&[u8]]) -> io::Result<usize>) {
        let sending = &*self.sending;
        let mut buffers = vec![[0; LARGEST]; BATCH];
        let mut sequence = 0;
        loop {
            sending.idle.store(true, Ordering::SeqCst);
            while !sending.wanted.load(Ordering::SeqCst) {
                if sending.over.load(Ordering::SeqCst) {
                    return;
                }
                thread::sleep(TICK);
            }
            sending.idle.store(false, Ordering::SeqCst);
            let mut pace = Pace::new(rate, Instant::now());
            while sending.wanted.load(Ordering::SeqCst) {
                thread::sleep(pace.next_tick().saturating_duration_since(Instant::now()));
                let mut due = pace.due(Instant::now());
                sending.forgiven.store(pace.forgiven, Ordering::Relaxed);
                while due > 0 {
                    let count = due.min(BATCH as u64) as usize;
                    let now = wall_ns();
                    let mut lengths = [0; BATCH];
                    for (at, buffer) in buffers[..count].iter_mut().enumerate() {
                        lengths[at] = stamp::size(sequence + at as u64, mtu).min(LARGEST);
                        stamp::write(&mut buffer[..lengths[at]], flow, sequence + at as u64, now);
                    }
                    let batch: Vec<&[u8]> =
                        buffers[..count].iter().zip(lengths).map(|(buffer, length)| &buffer[..length]).collect();
                    // A datagram that is refused was not sent: its number is used again.
                    let taken = match sink(&batch) {
                        Ok(taken) => taken,
                        Err(error) => {
                            sending.refused.fetch_add(1, Ordering::Relaxed);
                            *sending.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                            break;
                        }
                    };
                    sequence += taken as u64;
                    sending.sent.store(sequence, Ordering::SeqCst);
                    due = due.saturating_sub(taken as u64);
                }
            }
        }
    }
}

/// Decides how much is due at each tick.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: u64,
    start: Instant,
    done: u64,
    tick: u32,
    /// Units that were never sent because the sender itself could not run.
    pub(crate) forgiven: u64,
}

impl Pace {
    pub(crate) fn new(rate: u32, start: Instant) -> Self {
        Self { rate: u64::from(rate), start, done: 0, tick: 0, forgiven: 0 }
    }

    /// When to wake up next.
    pub(crate) fn next_tick(&mut self) -> Instant {
        self.tick += 1;
        self.start + TICK * self.tick
    }

    /// How many units are due now.
    pub(crate) fn due(&mut self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.start);
        let owed = (passed.as_nanos() * u128::from(self.rate) / 1_000_000_000) as u64;
        let most = (CATCH_UP.as_nanos() as u64 * self.rate / 1_000_000_000).max(1);
        let behind = owed.saturating_sub(self.done);
        let due = behind.min(most);
        self.forgiven += behind - due;
        self.done = owed;
        self.tick = (passed.as_nanos() / TICK.as_nanos()) as u32;
        due
    }
}

/// Nanoseconds of the wall clock.
pub(crate) fn wall_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_even_and_exact() {
        let start = Instant::now();
        let mut pace = Pace::new(10_000, start);
        let mut sent = 0;
        for tick in 1..=1000 {
            assert_eq!(pace.next_tick(), start + TICK * tick);
            let due = pace.due(start + TICK * tick);
            assert_eq!(due, 10, "tick {tick}");
            sent += due;
        }
        assert_eq!((sent, pace.forgiven), (10_000, 0));
    }

    #[test]
    fn a_low_rate_sends_one_every_few_ticks() {
        let start = Instant::now();
        let mut pace = Pace::new(100, start);
        let sent: u64 = (1..=1000).map(|tick| pace.due(start + TICK * tick)).sum();
        assert_eq!(sent, 100);
    }

    #[test]
    fn a_long_stall_does_not_become_a_burst() {
        let start = Instant::now();
        let mut pace = Pace::new(10_000, start);
        assert_eq!(pace.due(start + Duration::from_millis(500)), 40);
        assert_eq!(pace.forgiven, 4960);
        assert_eq!(pace.next_tick(), start + Duration::from_millis(501));
        assert_eq!(pace.due(start + Duration::from_millis(501)), 10);
    }
}
