//! One end: an engine, fed and drained as a runtime would.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    time::{Duration, Instant},
};
use vestibule_engine::{
    core::{Engine, Event},
    packet::{Datagram, Datagrams, Ecn, Frame, Frames, Offload},
};

/// A frame owned by the simulation.
pub type OwnedFrame = (Vec<u8>, Offload);

/// What one call into an engine left behind.
#[derive(Debug, Default)]
pub struct Output {
    /// Datagrams in sending order.
    pub datagrams: Vec<(SocketAddr, Vec<u8>)>,
    /// Frames for the adapter.
    pub frames: Vec<OwnedFrame>,
    /// Events.
    pub events: Vec<Event>,
}

impl Output {
    fn is_empty(&self) -> bool {
        self.datagrams.is_empty() && self.frames.is_empty() && self.events.is_empty()
    }
}

struct Lent<'a>(std::slice::IterMut<'a, OwnedFrame>);

impl Frames for Lent<'_> {
    fn next_frame(&mut self) -> Option<Frame<'_>> {
        self.0.next().map(|(bytes, offload)| Frame { bytes, offload: *offload })
    }
}

/// Datagrams of one source, merged as GRO would.
#[derive(Debug)]
pub struct Merged {
    bytes: Vec<u8>,
    stride: usize,
    source: SocketAddr,
}

struct LentDatagrams<'a>(std::slice::IterMut<'a, Merged>);

impl Datagrams for LentDatagrams<'_> {
    fn next_datagram(&mut self) -> Option<Datagram<'_>> {
        self.0.next().map(|merged| Datagram {
            bytes: &mut merged.bytes,
            stride: merged.stride,
            source: merged.source,
            ecn: Ecn::NotEct,
        })
    }
}

/// Joins neighbours of one source and equal size; a shorter one ends a run.
#[must_use]
pub fn merge(datagrams: &[(SocketAddr, Vec<u8>)]) -> Vec<Merged> {
    let mut merged: Vec<Merged> = Vec::new();
    for (source, bytes) in datagrams.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        if let Some(last) = merged.last_mut()
            && last.source == *source
            && last.bytes.len() % last.stride == 0
            && bytes.len() <= last.stride
            && last.bytes.len() + bytes.len() <= 65_507
            && last.bytes.len() / last.stride < 64
        {
            last.bytes.extend(bytes);
        } else {
            merged.push(Merged { bytes: bytes.clone(), stride: bytes.len(), source: *source });
        }
    }
    merged
}

/// An engine and its address.
#[derive(Debug)]
pub struct Node {
    /// The engine.
    pub engine: Engine,
    /// Where datagrams reach it.
    pub address: SocketAddr,
    /// How often its deadline came.
    pub wakeups: u64,
    /// What went wrong in this node alone.
    pub complaints: Vec<String>,
    most_bytes: usize,
}

impl Node {
    /// Wraps an engine.
    #[must_use]
    pub fn new(engine: Engine, address: SocketAddr) -> Self {
        Self { engine, address, wakeups: 0, complaints: Vec::new(), most_bytes: 0 }
    }

    /// A batch from the adapter.
    pub fn frames(&mut self, mut frames: Vec<OwnedFrame>, now: Instant) -> Output {
        self.engine.handle_frames(&mut Lent(frames.iter_mut()), now);
        self.collect()
    }

    /// A batch from the socket.
    pub fn datagrams(&mut self, datagrams: &[(SocketAddr, Vec<u8>)], now: Instant) -> Output {
        let mut merged = merge(datagrams);
        self.engine.handle_datagrams(&mut LentDatagrams(merged.iter_mut()), now);
        self.collect()
    }

    /// The deadline has come. Once it was handled, it must lie ahead, or the next call must have done something.
    pub fn deadline(&mut self, now: Instant) -> Output {
        self.wakeups += 1;
        self.engine.handle_deadline(now);
        let mut output = self.collect();
        for _ in 0..1_000 {
            if self.engine.poll_deadline().is_none_or(|deadline| deadline > now) {
                return output;
            }
            self.wakeups += 1;
            self.engine.handle_deadline(now);
            let more = self.collect();
            if more.is_empty() {
                break;
            }
            output.datagrams.extend(more.datagrams);
            output.frames.extend(more.frames);
            output.events.extend(more.events);
        }
        if self.engine.poll_deadline().is_some_and(|deadline| deadline <= now) {
            let mut text = String::from("busy loop: the deadline lies in the past twice without progress");
            if let Some(deadline) = self.engine.poll_deadline() {
                let _ = write!(text, " ({:?} ago)", now.saturating_duration_since(deadline));
            }
            self.complaints.push(text);
        }
        output
    }

    /// Drains every queue.
    pub fn collect(&mut self) -> Output {
        let mut output = Output::default();
        let queue = self.engine.transmits();
        for batch in queue.batches() {
            let pieces = batch.bytes().chunks(batch.segment.max(1));
            if pieces.len() != batch.datagrams() {
                self.complaints.push(format!("a batch of {} datagrams cuts into {}", batch.datagrams(), pieces.len()));
            }
            output.datagrams.extend(pieces.map(|piece| (batch.destination, piece.to_vec())));
        }
        self.most_bytes = self.most_bytes.max(queue.batches().map(|batch| batch.bytes().len()).sum());
        let count = queue.len();
        queue.release(count);
        // Room for one more batch and the largest datagram, rounded up.
        if queue.capacity() > self.most_bytes + (256 << 10) {
            let text = format!("{} bytes held for at most {} at a time", queue.capacity(), self.most_bytes);
            self.complaints.push(text);
        }
        let deliveries = self.engine.deliveries();
        output
            .frames
            .extend(deliveries.frames().map(|frame| (frame.pieces().collect::<Vec<_>>().concat(), frame.offload)));
        deliveries.clear();
        while let Some(event) = self.engine.poll_event() {
            output.events.push(event);
        }
        output
    }

    /// When the engine wants to be called, on the simulation's clock.
    #[must_use]
    pub fn next_deadline(&self, clock: &crate::Clock) -> Option<Duration> {
        self.engine.poll_deadline().map(|deadline| clock.since_start(deadline))
    }
}
