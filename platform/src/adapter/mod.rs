//! The virtual network adapter: frames from the host to the engine and back, a batch at a time.
//!
//! On Linux this is a TUN device with `vnet_hdr` offloads (super-packets in both directions); [`memory`] is its twin.
//! The signature fits Wintun as well: a batch lends ring slots one by one and releases them, `write` allocates, fills
//! and sends slots in order, `handle` is the read event, and a session that the driver broke is restarted inside.

pub mod memory;

use crate::wait::Waitable;
use std::io;
use vestibule_engine::packet::{DeliveryQueue, Frames};

/// A virtual network adapter, moved a batch at a time. No call blocks.
pub trait Adapter: Waitable + Send {
    /// Lends the frames at hand: an empty batch when there are none. Dropping the batch gives them back.
    ///
    /// # Errors
    /// The adapter is gone or broken beyond its own repair; the caller stops.
    fn read(&mut self) -> io::Result<impl Frames + '_>;

    /// What the last batch was. Ask once it is dropped.
    fn read_report(&self) -> ReadReport;

    /// Writes all frames, in order. What the host does not take is dropped and counted, never waited for.
    ///
    /// # Errors
    /// The adapter is gone or broken beyond its own repair; the caller stops.
    fn write(&mut self, deliveries: &DeliveryQueue) -> io::Result<WriteReport>;

    /// Largest packet the host sends into this adapter, in bytes.
    fn mtu(&self) -> u32;
}

/// What one batch from an adapter was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// System calls (or ring operations) it took.
    pub calls: u64,
    /// Nothing more was waiting: sleep before reading again.
    pub drained: bool,
    /// Frames the host handed over that were unusable (truncated, impossible offload).
    pub invalid: u64,
}

/// What became of the frames of one write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteReport {
    /// System calls (or ring operations) it took.
    pub calls: u64,
    /// Frames the host took (a super-packet is one).
    pub written: u64,
    /// Dropped: the host's queue or ring was full.
    pub full: u64,
    /// Dropped: the host refused the frame (malformed, or an offload it does not take).
    pub refused: u64,
    /// Dropped: the adapter's link is down.
    pub down: u64,
}

impl WriteReport {
    /// All frames that did not arrive.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.full + self.refused + self.down
    }
}
