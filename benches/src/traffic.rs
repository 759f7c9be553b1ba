//! What the adapters of a crowd lend: one packet, or one super-packet, per peer and turn.

use std::net::IpAddr;
use vestibule_engine::packet::{Frame, Frames, Gso, Offload};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Which packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// A TCP super-packet of so many segments of 1,380 bytes.
    Tcp(usize),
    /// A UDP packet with so many bytes of payload.
    Udp(usize),
}

impl Load {
    /// Packets on the wire per frame.
    #[must_use]
    pub fn packets(self) -> usize {
        match self {
            Self::Tcp(segments) => segments,
            Self::Udp(_) => 1,
        }
    }

    /// A frame of this load, of the flow from `port`.
    ///
    /// # Panics
    /// When it would be longer than an IP packet may be, or the addresses are not of IPv4.
    #[must_use]
    pub fn frame(self, source: IpAddr, destination: IpAddr, port: u16) -> Vec<u8> {
        let [left, right] = port.to_be_bytes();
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (source, destination) else {
            panic!("crowds speak IPv4");
        };
        let (protocol, transport, payload) = match self {
            Self::Tcp(segments) => (TCP, 20, segments * 1380),
            Self::Udp(payload) => (UDP, 8, payload),
        };
        let mut bytes = vec![0x5a; 20 + transport + payload];
        let total = u16::try_from(bytes.len()).unwrap_or_else(|_| panic!("{self:?} is too long for a packet"));
        let [high, low] = total.to_be_bytes();
        bytes[..12].copy_from_slice(&[0x45, 0, high, low, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
        bytes[12..16].copy_from_slice(&source.octets());
        bytes[16..20].copy_from_slice(&destination.octets());
        match self {
            Self::Tcp(_) => bytes[20..40]
                .copy_from_slice(&[left, right, 0x01, 0xbd, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 2, 0, 0, 0, 0, 0]),
            Self::Udp(_) => {
                let [high, low] = (total - 20).to_be_bytes();
                bytes[20..28].copy_from_slice(&[left, right, 0x01, 0xbd, high, low, 0, 0]);
            }
        }
        bytes
    }

    fn offload(self) -> Offload {
        match self {
            Self::Tcp(_) => Offload { gso: Some(Gso::Tcp { size: 1380 }), checksum: Some((20, 16)) },
            Self::Udp(_) => Offload::default(),
        }
    }
}

/// An adapter's batch. What the engine writes into the headers is undone before the frame is lent again.
#[derive(Debug)]
pub struct Batch {
    load: Load,
    frames: Vec<(Vec<u8>, [u8; 40])>,
}

impl Batch {
    /// A frame for each (source, destination, source port).
    #[must_use]
    pub fn new(load: Load, addresses: impl IntoIterator<Item = (IpAddr, IpAddr, u16)>) -> Self {
        let frame = |(source, destination, port)| {
            let bytes = load.frame(source, destination, port);
            let mut head = [0; 40];
            let len = bytes.len().min(40);
            head[..len].copy_from_slice(&bytes[..len]);
            (bytes, head)
        };
        Self { load, frames: addresses.into_iter().map(frame).collect() }
    }

    /// Lends the frames from `first` on, `count` of them, in a circle.
    pub fn lend(&mut self, first: usize, count: usize) -> Lent<'_> {
        Lent { batch: self, next: first, left: count }
    }
}

/// Some of a batch's frames.
#[derive(Debug)]
pub struct Lent<'a> {
    batch: &'a mut Batch,
    next: usize,
    left: usize,
}

impl Frames for Lent<'_> {
    fn next_frame(&mut self) -> Option<Frame<'_>> {
        self.left = self.left.checked_sub(1)?;
        let at = self.next % self.batch.frames.len();
        self.next += 1;
        let offload = self.batch.load.offload();
        let (bytes, head) = self.batch.frames.get_mut(at)?;
        let len = bytes.len().min(40);
        bytes[..len].copy_from_slice(&head[..len]);
        Some(Frame { bytes, offload })
    }
}
