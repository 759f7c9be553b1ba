//! Batches that an adapter or a socket lends to the engine.

use super::Ecn;
use bytes::BytesMut;
use std::net::SocketAddr;

/// Segmentation that the sender of a frame left to its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gso {
    /// TCP segmentation: `size` payload bytes per segment.
    Tcp {
        /// Payload bytes in each segment but the last.
        size: u16,
    },
    /// UDP segmentation: each `size` payload bytes are one datagram.
    Udp {
        /// Payload bytes in each datagram but the last.
        size: u16,
    },
}

/// Work on a frame that its producer left undone (virtio `vnet_hdr` on Linux; always none on Wintun).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// The frame is a super-packet to be cut into segments.
    pub gso: Option<Gso>,
    /// The transport checksum holds only the pseudo-header's sum. `(start, offset)`: sum from byte `start` of the
    /// frame to its end, and store the result at `start + offset`.
    pub checksum: Option<(u16, u16)>,
}

/// One IP packet, or one super-packet of a single flow, as lent by an adapter.
#[derive(Debug)]
pub struct Frame<'a> {
    /// The bytes from the IP header on. The engine may write to them (headers of later segments).
    pub bytes: &'a mut [u8],
    /// Work left to us.
    pub offload: Offload,
}

/// A batch of frames lent by an adapter: ring slots on Wintun, a pooled buffer on Linux. Dropping the batch gives
/// the frames back.
pub trait Frames {
    /// The next frame, or `None` at the end of the batch.
    fn next_frame(&mut self) -> Option<Frame<'_>>;
}

/// What one receive call returned from one source: one datagram, or several of equal size merged by GRO/URO.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// All segments, back to back.
    pub bytes: &'a mut [u8],
    /// Size of each segment but the last, which may be shorter. Never zero.
    pub stride: usize,
    /// Who sent it.
    pub source: SocketAddr,
    /// The ECN field of the IP header that brought it; Not-ECT where the system does not tell.
    pub ecn: Ecn,
}

/// A [`Datagram`] whose memory is the engine's from now on.
#[derive(Debug)]
pub struct GivenDatagram {
    /// All segments, back to back.
    pub bytes: BytesMut,
    /// As in [`Datagram`].
    pub stride: usize,
    /// As in [`Datagram`].
    pub source: SocketAddr,
    /// As in [`Datagram`].
    pub ecn: Ecn,
}

/// A batch of datagrams lent by a socket.
pub trait Datagrams {
    /// The next (possibly merged) datagram, or `None` at the end of the batch.
    fn next_datagram(&mut self) -> Option<Datagram<'_>>;

    /// The next one for good, if it is of such bytes (and stride) as are `wanted`, and if the batch can give it away
    /// without copying it; `None`, and nothing is taken, otherwise.
    fn give_datagram(&mut self, wanted: impl Fn(&[u8], usize) -> bool) -> Option<GivenDatagram> {
        let _ = wanted;
        None
    }
}
