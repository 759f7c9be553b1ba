//! Batches that the tests lend to engines, and the two ends of a tunnel.

#[allow(dead_code, reason = "each test uses its part")]
pub(crate) mod streams;
#[allow(dead_code, reason = "each test uses its part")]
pub(crate) mod world;

use std::collections::VecDeque;
use std::net::SocketAddr;
use vestibule_engine::packet::{Datagram, Datagrams, Ecn, Frame, Frames, Offload};

/// Packets from an adapter, and the one that is lent.
pub(crate) struct Batch(pub(crate) VecDeque<Vec<u8>>, pub(crate) Vec<u8>);

impl Frames for Batch {
    fn next_frame(&mut self) -> Option<Frame<'_>> {
        self.1 = self.0.pop_front()?;
        Some(Frame { bytes: &mut self.1, offload: Offload::default() })
    }
}

/// Datagrams from a socket (source, stride, bytes), and those that are lent.
pub(crate) struct Wire(pub(crate) VecDeque<(SocketAddr, usize, Vec<u8>)>, pub(crate) Vec<u8>);

impl Datagrams for Wire {
    fn next_datagram(&mut self) -> Option<Datagram<'_>> {
        let (source, stride, bytes) = self.0.pop_front()?;
        self.1 = bytes;
        Some(Datagram { bytes: &mut self.1, stride, source, ecn: Ecn::NotEct })
    }
}
