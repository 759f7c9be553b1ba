//! Cutting super-packets into packets, in place.

use super::checksum::{Sum, checksum, pseudo_header};
use super::header::{Headers, Tcp, Transport, UDP};
use super::{Frame, Gso};

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

/// Hands each packet of `frame` to `each`, with complete checksums, and returns their number.
///
/// No payload moves: the headers of each later packet are written over the end of the one before, which `each` has
/// finished with by then.
///
/// # Errors
/// What the kernel left undone does not fit the bytes; `each` was not called then.
pub fn segments(frame: Frame<'_>, mut each: impl FnMut(&mut [u8])) -> Result<usize, SegmentError> {
    let Frame { bytes, offload } = frame;
    let Some(gso) = offload.gso else {
        if let Some((start, offset)) = offload.checksum {
            complete_checksum(bytes, start, offset)?;
        }
        each(bytes);
        return Ok(1);
    };
    let plan = Plan::new(bytes, gso)?;
    let mut template = [0; MAX_HEADERS];
    let template = &mut template[..plan.header_len];
    template.copy_from_slice(&bytes[..plan.header_len]);
    for number in 0..plan.count {
        let start = number * plan.size;
        let payload = plan.size.min(plan.payload - start);
        let packet = &mut bytes[start..start + plan.header_len + payload];
        packet[..plan.header_len].copy_from_slice(template);
        plan.complete(packet, number);
        each(packet);
    }
    Ok(plan.count)
}

/// How a super-packet is cut. The numbers were checked against its bytes.
struct Plan {
    headers: Headers,
    header_len: usize,
    /// Where the checksum is, from the transport header.
    checksum_offset: usize,
    size: usize,
    payload: usize,
    count: usize,
    /// The checksum is to be left out: UDP over IPv4 may, with a zero.
    unsummed: bool,
}

impl Plan {
    fn new(bytes: &[u8], gso: Gso) -> Result<Self, SegmentError> {
        let headers = Headers::parse(bytes)?;
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
        let payload = headers.total_len - header_len;
        let field = headers.transport_offset + checksum_offset;
        let unsummed = headers.protocol == UDP && headers.source.is_ipv4() && bytes[field..field + 2] == [0, 0];
        let count = payload.div_ceil(size).max(1);
        Ok(Self { headers, header_len, checksum_offset, size, payload, count, unsummed })
    }

    /// Makes the headers of `packet`, copied from the super-packet, those of its segment `number`.
    fn complete(&self, packet: &mut [u8], number: usize) {
        let transport_len = packet.len() - self.headers.transport_offset;
        if self.headers.source.is_ipv4() {
            self.complete_v4(packet, number);
        } else {
            // At most the super-packet's own length, which came from this field.
            let len = (packet.len() - 40) as u16;
            packet[4..6].copy_from_slice(&len.to_be_bytes());
        }
        let transport = &mut packet[self.headers.transport_offset..];
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
        let sum = pseudo_header(source, destination, protocol, transport_len as u16).with(transport);
        transport[field].copy_from_slice(&never_zero(sum).to_be_bytes());
    }

    fn complete_v4(&self, packet: &mut [u8], number: usize) {
        let len = packet.len() as u16;
        packet[2..4].copy_from_slice(&len.to_be_bytes());
        let id = u16::from_be_bytes([packet[4], packet[5]]).wrapping_add(number as u16);
        packet[4..6].copy_from_slice(&id.to_be_bytes());
        let header_len = usize::from(packet[0] & 0x0f) * 4;
        packet[10..12].fill(0);
        let sum = checksum(&packet[..header_len]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
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
