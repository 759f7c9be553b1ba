//! An adapter over two rings of packets, as Wintun has them: what is done about their faults, whoever keeps the rings.
//!
//! `docs/windows.md` has the table: fault, which packets it costs, what is done here.

mod capacity;
#[cfg(test)]
pub(crate) mod model;
#[cfg(test)]
mod tests;

#[cfg(windows)]
pub(super) use capacity::ring_capacity;

use super::{Adapter, ReadReport, Removed, WriteReport};
use crate::wait::{Bell, OsHandle, Waitable};
use std::{
    io,
    thread::yield_now,
    time::{Duration, Instant},
};
use vestibule_engine::packet::{Delivery, DeliveryQueue, Frame, Frames, Offload, checksum::checksum};

/// Most frames lent in one batch: as many packets as one GSO batch carries.
const BATCH_FRAMES: u64 = 64;
/// How long one write waits at most, in all, for room in a full ring. The driver frees a super-packet of 64 KiB in 52 us
/// at 10 Gb/s; one that has freed none in twenty times that stands still, and waiting would only hold up the other way.
const PATIENCE: Duration = Duration::from_millis(1);
/// Spins before the first look at the clock and the first yield: a few microseconds.
const SPINS: u32 = 64;
/// How long after the last write the driver is nudged. Its thread spins for 0.1 ms before it sleeps, so a wake-up missed
/// at that moment is past by then; and it is a small part of what a retransmission waits for (200 ms and more).
const NUDGE_AFTER: Duration = Duration::from_millis(5);
/// Sessions started in a row without a single packet read before the adapter is given up.
const MAX_RESTARTS: u32 = 8;
/// What nudges: an IPv6 header with nothing behind it (next header 59), from and to the unspecified address. The host
/// takes it for a packet, and throws it away without an answer (RFC 4291, section 2.5.2). What is no IP packet at all
/// would end the driver's thread.
pub(crate) const NUDGE: [u8; 40] = {
    let mut packet = [0; 40];
    packet[0] = 0x60;
    packet[6] = 59;
    packet
};

/// Why a ring did not give, or take, a packet.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Nothing to read.
    Empty,
    /// No room to write.
    Full,
    /// The adapter is going.
    Ended,
    /// The ring makes no sense any more.
    Corrupt,
    /// What the documentation does not name.
    Other(io::Error),
}

/// A session's two rings, and the adapter under them, which outlives the session.
pub(crate) trait Rings: Send {
    /// Takes the next packet that the host sent. The one before it was given back.
    fn receive(&mut self) -> Result<(), Refused>;

    /// The packet that the last [`Self::receive`] took: the ring's own memory. Empty when it took none.
    fn received(&mut self) -> &mut [u8];

    /// Gives the packet back, if there is one. Fails when the host has overwritten it meanwhile: what stands before it is
    /// what says how much room it gives back, and the ring would be out of step for ever, and tell nobody. Such a packet
    /// is kept, and goes with its session.
    fn release(&mut self) -> Result<(), Refused>;

    /// Sends the host a packet of `len` bytes, all of which `fill` writes, into the ring's own memory.
    fn send(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) -> Result<(), Refused>;

    /// Ends the session and starts another one on the same adapter.
    fn restart(&mut self) -> io::Result<()>;

    /// What is signalled when the host has sent something; `None` where a bell is rung instead.
    fn event(&self) -> Option<OsHandle<'_>>;

    /// As in [`Waitable::attach`].
    fn attach(&mut self, _bell: &Bell) {}
}

/// Joins two rings and the worker.
#[derive(Debug)]
pub(crate) struct RingAdapter<R> {
    rings: R,
    mtu: u32,
    report: ReadReport,
    /// What ended the last batch, if it was a failure: told by the next read.
    failed: Option<io::Error>,
    /// Sessions started since the last packet was read.
    restarts: u32,
    /// The inbound ring was full at the end of the last write: the next one waits for nothing.
    stuffed: bool,
    /// When the driver is nudged, if nothing is written before.
    nudge_at: Option<Instant>,
}

impl<R: Rings> RingAdapter<R> {
    pub(crate) fn new(rings: R, mtu: u32) -> Self {
        let report = ReadReport::default();
        Self { rings, mtu, report, failed: None, restarts: 0, stuffed: false, nudge_at: None }
    }

    /// A new session in place of a corrupt one.
    fn restart(&mut self) -> io::Result<()> {
        self.restarts += 1;
        self.nudge_at = None;
        if self.restarts > MAX_RESTARTS {
            return Err(io::Error::other("its ring was corrupt in each of several sessions in a row"));
        }
        self.rings.restart()?;
        tracing::warn!("the adapter's ring was corrupt: a new session serves it; packets in the rings are lost");
        Ok(())
    }

    /// The same while reading: a failure is told by the next read.
    fn restart_reading(&mut self) {
        self.failed = self.restart().err();
        self.report.restarts += 1;
    }

    fn write_one(&mut self, delivery: &Delivery<'_>, patience: &mut Patience, restarts: &mut u64) -> io::Result<Fate> {
        let len = delivery.len();
        if !is_ip(delivery.pieces().next().unwrap_or_default(), len) {
            return Ok(Fate::Refused);
        }
        loop {
            match self.rings.send(len, |room| fill(delivery, room)) {
                Ok(()) => return Ok(Fate::Written),
                Err(Refused::Full) => {
                    if !patience.wait() {
                        return Ok(Fate::Full);
                    }
                }
                Err(Refused::Corrupt) => {
                    self.restart()?;
                    *restarts += 1;
                }
                Err(Refused::Ended | Refused::Empty) => return Err(removed()),
                Err(Refused::Other(error)) => return Err(error),
            }
        }
    }
}

fn removed() -> io::Error {
    io::Error::other(Removed)
}

/// What became of a frame.
enum Fate {
    Written,
    Full,
    Refused,
}

/// Whether the driver takes it for an IP packet: by its version, and no shorter than a header.
fn is_ip(start: &[u8], len: usize) -> bool {
    len <= 0xffff && matches!((start.first().map(|first| first >> 4), len), (Some(4), 20..) | (Some(6), 40..))
}

/// Writes a frame and completes its checksum: the driver offers no offload, and the host verifies.
fn fill(delivery: &Delivery<'_>, room: &mut [u8]) {
    let mut rest = &mut room[..];
    for piece in delivery.pieces() {
        let (at, behind) = rest.split_at_mut(piece.len());
        at.copy_from_slice(piece);
        rest = behind;
    }
    if let Some((start, offset)) = delivery.offload.checksum {
        let start = usize::from(start);
        let at = start + usize::from(offset);
        if at + 2 <= room.len() {
            // A UDP checksum of zero means none. TCP reads 0xffff as it does zero.
            let sum = match checksum(&room[start..]) {
                0 => 0xffff,
                sum => sum,
            };
            room[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
    }
}

/// The time that a write has for a full ring. It spins and yields, and never sleeps: a sleep takes a clock tick, 15.6 ms.
struct Patience {
    spins: u32,
    end: Option<Instant>,
    all: Duration,
}

impl Patience {
    fn new(all: Duration) -> Self {
        Self { spins: 0, end: None, all }
    }

    /// Waits a moment; false when there is no time left.
    fn wait(&mut self) -> bool {
        if self.all.is_zero() {
            return false;
        }
        if self.spins < SPINS {
            self.spins += 1;
            std::hint::spin_loop();
            return true;
        }
        let now = Instant::now();
        let end = *self.end.get_or_insert(now + self.all);
        if now < end {
            yield_now();
        }
        now < end
    }
}

impl<R: Rings> Waitable for RingAdapter<R> {
    fn handle(&self) -> Option<OsHandle<'_>> {
        self.rings.event()
    }

    fn attach(&mut self, bell: &Bell) {
        self.rings.attach(bell);
    }
}

impl<R: Rings> Adapter for RingAdapter<R> {
    fn read(&mut self) -> io::Result<impl Frames + '_> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.report = ReadReport::default();
        Ok(Batch { adapter: self, frames: 0 })
    }

    fn read_report(&self) -> ReadReport {
        self.report
    }

    fn write(&mut self, deliveries: &DeliveryQueue) -> io::Result<WriteReport> {
        let mut report = WriteReport::default();
        let mut patience = Patience::new(if self.stuffed { Duration::ZERO } else { PATIENCE });
        for delivery in deliveries.frames() {
            report.calls += 1;
            match self.write_one(&delivery, &mut patience, &mut report.restarts)? {
                Fate::Written => (report.written, self.stuffed) = (report.written + 1, false),
                Fate::Full => (report.full, self.stuffed) = (report.full + 1, true),
                Fate::Refused => report.refused += 1,
            }
        }
        if report.written > 0 {
            self.nudge_at = Some(Instant::now() + NUDGE_AFTER);
        }
        Ok(report)
    }

    fn mtu(&self) -> u32 {
        self.mtu
    }

    /// The driver hands each packet to the host as it is: TCP does not mind a large one, UDP would get one large datagram.
    fn cuts_udp(&self) -> bool {
        false
    }

    fn nudge_at(&self) -> Option<Instant> {
        self.nudge_at
    }

    fn nudge(&mut self) -> io::Result<()> {
        self.nudge_at = None;
        match self.rings.send(NUDGE.len(), |room| room.copy_from_slice(&NUDGE)) {
            // A full ring: whoever does not empty it now was not forgotten, but is slow.
            Ok(()) | Err(Refused::Full | Refused::Empty) => Ok(()),
            Err(Refused::Corrupt) => self.restart(),
            Err(Refused::Ended) => Err(removed()),
            Err(Refused::Other(error)) => Err(error),
        }
    }
}

/// Lends one ring slot at a time: the one before is given back, so that the host has its room.
struct Batch<'a, R: Rings> {
    adapter: &'a mut RingAdapter<R>,
    frames: u64,
}

impl<R: Rings> Frames for Batch<'_, R> {
    fn next_frame(&mut self) -> Option<Frame<'_>> {
        let adapter = &mut *self.adapter;
        loop {
            if adapter.report.drained || self.frames == BATCH_FRAMES || adapter.failed.is_some() {
                return None;
            }
            adapter.report.calls += 1;
            self.frames += 1;
            match adapter.rings.release().and_then(|()| adapter.rings.receive()) {
                Ok(()) if adapter.rings.received().is_empty() => adapter.report.invalid += 1,
                Ok(()) => {
                    adapter.restarts = 0;
                    return Some(Frame { bytes: adapter.rings.received(), offload: Offload::default() });
                }
                Err(Refused::Empty | Refused::Full) => adapter.report.drained = true,
                // Failures: not drained, so the worker comes back at once and hears of it.
                Err(Refused::Corrupt) => adapter.restart_reading(),
                Err(Refused::Ended) => adapter.failed = Some(removed()),
                Err(Refused::Other(error)) => adapter.failed = Some(error),
            }
        }
    }
}

impl<R: Rings> Drop for Batch<'_, R> {
    fn drop(&mut self) {
        if self.adapter.rings.release().is_err() {
            self.adapter.restart_reading();
        }
    }
}
