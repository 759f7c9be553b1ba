//! Cutting super-packets into packets, without moving their payload.

use super::checksum::{Sum, checksum, pseudo_header};
use super::header::{Headers, Tcp, Transport, UDP};
use super::{Ecn, Frame, Gso};
use std::ops::Range;

/// Why a frame from the adapter cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// Its headers are broken.
    #[error("super-packet: {0}")]
    Malformed(#[from] super::Malformed),
    /// A segment size of zero.
    #[error("super-packet with a segment size of 0")]
    ZeroSize,
    /// The offload asks for another protocol than the packet's, or for a fragment.
    #[error("super-packet is not of the protocol that its offload names, or a fragment")]
    Protocol,
    /// The checksum range lies outside the packet.
    #[error("checksum of bytes {start}.. at offset {offset} lies outside the {len} bytes of the frame")]
    ChecksumRange {
        /// First byte summed up.
        start: u16,
        /// Where the result goes, from `start`.
        offset: u16,
        /// Length of the frame.
        len: usize,
    },
    /// Headers longer than any stack sends with segmentation offload.
    #[error("super-packet with {got} bytes of headers, expected at most {}", MAX_HEADERS)]
    HeaderLength {
        /// IP and transport header bytes.
        got: usize,
    },
}

/// Most header bytes of a super-packet: 60 of IPv4 or 40 of IPv6 with some extensions, and 60 of TCP.
pub const MAX_HEADERS: usize = 256;
/// A head is a whole number of ChaCha20 blocks, so that the cipher takes head and rest as they are.
pub const HEAD_ALIGNMENT: usize = 64;

/// A frame, ready to be cut into packets.
///
/// No payload moves: each packet is a [`Head`], written anew, and a part of the frame that follows it.
pub struct Cut<'a> {
    bytes: &'a [u8],
    /// `None`: the frame is one finished packet.
    plan: Option<Plan>,
}

impl<'a> Cut<'a> {
    /// Looks at what the kernel left undone, and completes the checksum of a lone packet in place. `headers` are the
    /// frame's own, parsed before.
    ///
    /// # Errors
    /// What the kernel left undone does not fit the bytes.
    pub fn new(frame: Frame<'a>, headers: &Headers) -> Result<Self, SegmentError> {
        let Frame { bytes, offload } = frame;
        if let Some(gso) = offload.gso {
            let plan = Plan::new(bytes, headers, gso)?;
            return Ok(Self { bytes, plan: Some(plan) });
        }
        if let Some((start, offset)) = offload.checksum {
            complete_checksum(bytes, start, offset)?;
        }
        Ok(Self { bytes, plan: None })
    }

    /// The same TCP super-packet in packets of `most` bytes at most: where they are cut is ours to choose. `None`: it is
    /// none, or they are no longer than that as it is, or so short that nothing fits.
    #[must_use]
    pub fn within(&self, most: usize) -> Option<Self> {
        let plan = self.plan.as_ref().filter(|plan| matches!(plan.headers.transport, Transport::Tcp(_)))?;
        let size = most.checked_sub(plan.header_len).filter(|size| *size > 0 && *size < plan.size)?;
        let count = plan.payload_len.div_ceil(size).max(1);
        Some(Self { bytes: self.bytes, plan: Some(Plan { size, count, ..*plan }) })
    }

    /// The frame as it was lent.
    #[must_use]
    pub fn frame(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many packets the frame becomes; at least one.
    #[must_use]
    pub fn count(&self) -> usize {
        self.plan.as_ref().map_or(1, |plan| plan.count)
    }

    /// The ECN field that all of its packets have.
    #[must_use]
    pub fn ecn(&self) -> Ecn {
        Ecn::of(self.bytes)
    }

    /// Length in bytes of packet `number`, which is below [`Self::count`]. All but the last are equally long.
    #[must_use]
    pub fn packet_len(&self, number: usize) -> usize {
        self.plan.as_ref().map_or(self.bytes.len(), |plan| plan.header_len + plan.payload(number).len())
    }

    /// Writes the start of packet `number` (below [`Self::count`]) into `head`, and returns the rest of its payload.
    #[must_use]
    pub fn packet(&self, number: usize, head: &mut Head) -> &'a [u8] {
        let Some(plan) = &self.plan else {
            head.len = 0;
            return self.bytes;
        };
        let payload = &self.bytes[plan.header_len..][plan.payload(number)];
        let wanted = plan.header_len.next_multiple_of(HEAD_ALIGNMENT) - plan.header_len;
        let (first, rest) = payload.split_at(wanted.min(payload.len()));
        head.len = plan.header_len + first.len();
        head.bytes[..plan.header_len].copy_from_slice(&self.bytes[..plan.header_len]);
        head.bytes[plan.header_len..head.len].copy_from_slice(first);
        plan.complete(&mut head.bytes[..head.len], rest, number);
        rest
    }
}

/// The start of a packet: its headers and as much payload as makes its length a multiple of [`HEAD_ALIGNMENT`]; less only
/// when the packet ends before. Empty for a packet that was left as it is.
#[derive(Clone, Debug)]
pub struct Head {
    bytes: [u8; MAX_HEADERS],
    len: usize,
}

impl Head {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; MAX_HEADERS], len: 0 }
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Default for Head {
    fn default() -> Self {
        Self::new()
    }
}

/// Hands each packet of `frame` to `each`, with complete checksums, and returns their number. For tests and for adapters
/// without segmentation: it copies each packet together; the packet path uses [`Cut`].
///
/// # Errors
/// What the kernel left undone does not fit the bytes; `each` was not called then.
pub fn segments(frame: Frame<'_>, mut each: impl FnMut(&[u8])) -> Result<usize, SegmentError> {
    let headers = Headers::parse(frame.bytes)?;
    let cut = Cut::new(frame, &headers)?;
    let (mut head, mut packet) = (Head::new(), Vec::new());
    for number in 0..cut.count() {
        let rest = cut.packet(number, &mut head);
        packet.clear();
        packet.extend_from_slice(head.bytes());
        packet.extend_from_slice(rest);
        each(&packet);
    }
    Ok(cut.count())
}

/// How a super-packet is cut. The numbers were checked against its bytes.
struct Plan {
    headers: Headers,
    header_len: usize,
    /// Where the checksum is, from the transport header.
    checksum_offset: usize,
    size: usize,
    payload_len: usize,
    count: usize,
    /// The checksum is to be left out: UDP over IPv4 may, with a zero.
    unsummed: bool,
}

impl Plan {
    fn new(bytes: &[u8], headers: &Headers, gso: Gso) -> Result<Self, SegmentError> {
        let (size, transport_len, checksum_offset) = match (gso, headers.transport) {
            _ if headers.is_fragment() => return Err(SegmentError::Protocol),
            (Gso::Tcp { size }, Transport::Tcp(tcp)) => (size, tcp.header_len, 16),
            (Gso::Udp { size }, Transport::Udp { .. }) => (size, 8, 6),
            _ => return Err(SegmentError::Protocol),
        };
        if size == 0 {
            return Err(SegmentError::ZeroSize);
        }
        let header_len = headers.transport_offset + transport_len;
        if header_len > MAX_HEADERS {
            return Err(SegmentError::HeaderLength { got: header_len });
        }
        let size = usize::from(size);
        let payload_len = headers.total_len - header_len;
        let field = headers.transport_offset + checksum_offset;
        let unsummed = headers.protocol == UDP && headers.source.is_ipv4() && bytes[field..field + 2] == [0, 0];
        let count = payload_len.div_ceil(size).max(1);
        Ok(Self { headers: *headers, header_len, checksum_offset, size, payload_len, count, unsummed })
    }

    /// Where the payload of packet `number` is in the whole one's.
    fn payload(&self, number: usize) -> Range<usize> {
        let start = (number * self.size).min(self.payload_len);
        start..(start + self.size).min(self.payload_len)
    }

    /// Makes the headers of segment `number`: `head` starts with the super-packet's, `rest` follows it on the wire.
    fn complete(&self, head: &mut [u8], rest: &[u8], number: usize) {
        let len = head.len() + rest.len();
        let transport_len = len - self.headers.transport_offset;
        if self.headers.source.is_ipv4() {
            complete_v4(head, len as u16, number);
        } else {
            // At most the super-packet's own length, which came from this field.
            head[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
        }
        let transport = &mut head[self.headers.transport_offset..];
        match self.headers.transport {
            Transport::Tcp(tcp) => {
                let seq = tcp.seq.wrapping_add((number * self.size) as u32);
                transport[4..8].copy_from_slice(&seq.to_be_bytes());
                let mut flags = tcp.flags;
                if number > 0 {
                    flags &= !Tcp::CWR;
                }
                if number + 1 < self.count {
                    flags &= !(Tcp::FIN | Tcp::PSH);
                }
                transport[13] = flags;
            }
            _ => transport[4..6].copy_from_slice(&(transport_len as u16).to_be_bytes()),
        }
        if self.unsummed {
            return;
        }
        let field = self.checksum_offset..self.checksum_offset + 2;
        transport[field.clone()].fill(0);
        let Headers { source, destination, protocol, .. } = self.headers;
        // A head that has a rest is of even length.
        let sum = pseudo_header(source, destination, protocol, transport_len as u16).with(transport).with(rest);
        transport[field].copy_from_slice(&never_zero(sum).to_be_bytes());
    }
}

fn complete_v4(head: &mut [u8], len: u16, number: usize) {
    head[2..4].copy_from_slice(&len.to_be_bytes());
    let id = u16::from_be_bytes([head[4], head[5]]).wrapping_add(number as u16);
    head[4..6].copy_from_slice(&id.to_be_bytes());
    let header_len = usize::from(head[0] & 0x0f) * 4;
    head[10..12].fill(0);
    let sum = checksum(&head[..header_len]);
    head[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// The field holds the pseudo header's sum; the bytes from `start` to the end are still to be added.
fn complete_checksum(bytes: &mut [u8], start: u16, offset: u16) -> Result<(), SegmentError> {
    let outside = SegmentError::ChecksumRange { start, offset, len: bytes.len() };
    let summed = bytes.get_mut(usize::from(start)..).ok_or(outside)?;
    let sum = never_zero(Sum::new().with(summed));
    let field = usize::from(offset)..usize::from(offset) + 2;
    summed.get_mut(field).ok_or(outside)?.copy_from_slice(&sum.to_be_bytes());
    Ok(())
}

/// RFC 768: a zero would mean "no checksum" in UDP, and all ones is the same number. TCP does not mind.
fn never_zero(sum: Sum) -> u16 {
    match sum.finish() {
        0 => 0xffff,
        sum => sum,
    }
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
