//! Packets in batches: what an adapter or socket lends, and what the engine hands back.

pub mod answer;
pub mod checksum;
mod coalesce;
mod delivery;
mod ecn;
pub(crate) mod fragment;
pub mod header;
mod lend;
pub(crate) mod rewrite;
pub mod segment;
#[cfg(test)]
pub(crate) mod testing;
mod transmit;

pub use delivery::{Delivery, DeliveryQueue, Place};
pub use ecn::Ecn;
pub use header::{Fragment, Headers, Malformed, Tcp, Transport};
pub use lend::{Datagram, Datagrams, Frame, Frames, GivenDatagram, Gso, Offload};
pub use segment::{Cut, Head, SegmentError, segments};
pub use transmit::{MAX_BATCH, MAX_SEGMENTS, Transmit, TransmitQueue};
