//! Sizes and offsets (`api/session.c` and `driver/wintun.c` agree on them).

use std::fmt;

/// Packets start at multiples of this.
pub const ALIGNMENT: u32 = 4;
/// A packet's size stands before its bytes.
pub(crate) const HEADER: u32 = 4;
/// Largest packet.
pub const MAX_PACKET: u32 = 0xffff;
/// Smallest capacity of a ring: 128 KiB.
pub const MIN_CAPACITY: u32 = 0x2_0000;
/// Largest capacity of a ring: 64 MiB.
pub const MAX_CAPACITY: u32 = 0x400_0000;
/// What the driver writes into `head` and `tail` at the end: no offset, so larger than every capacity.
pub const ENDED: u32 = u32::MAX;
/// Set in a packet's size while the program holds the packet (inbound), or once it has released it (outbound).
pub(crate) const MARK: u32 = 0x8000_0000;

/// Bytes that a packet of `len` bytes takes in a ring.
#[must_use]
pub fn stored(len: u32) -> u32 {
    (HEADER + len).next_multiple_of(ALIGNMENT)
}

/// A ring cannot have this capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapacityError {
    /// The capacity asked for.
    pub got: u32,
}

impl fmt::Display for CapacityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ring capacity {} is no power of two between {MIN_CAPACITY} and {MAX_CAPACITY}", self.got)
    }
}

impl std::error::Error for CapacityError {}

/// Holds a capacity against the limits.
///
/// # Errors
/// It is no power of two, or outside the limits.
pub fn check_capacity(capacity: u32) -> Result<(), CapacityError> {
    let fits = capacity.is_power_of_two() && (MIN_CAPACITY..=MAX_CAPACITY).contains(&capacity);
    if fits { Ok(()) } else { Err(CapacityError { got: capacity }) }
}
