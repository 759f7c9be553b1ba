//! One ring: what its two ends share.

use crate::{
    layout::{ALIGNMENT, CapacityError, HEADER, MAX_PACKET, check_capacity, stored},
    memory::Memory,
    sync::{AtomicU32, Ordering::*},
};

/// Whether the two ends look at each other's word only after their own is visible, before one goes to sleep and before
/// the other lets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fences {
    /// With a full barrier between the two, as the driver's sources have had since 2026.
    Sound,
    /// Without, as in the signed 0.14.1: both may miss each other, and the reader sleeps although there is a packet.
    AsReleased,
}

/// The shared part of a ring.
pub struct Ring {
    capacity: u32,
    /// Where the first packet starts.
    pub(crate) head: AtomicU32,
    /// Where the first free byte is.
    pub(crate) tail: AtomicU32,
    /// Not zero while the reader sleeps.
    pub(crate) alertable: AtomicU32,
    pub(crate) memory: Memory,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (head, tail) = (self.head.load(Relaxed), self.tail.load(Relaxed));
        write!(f, "Ring {{ capacity: {}, head: {head}, tail: {tail} }}", self.capacity)
    }
}

impl Ring {
    /// An empty ring.
    ///
    /// # Errors
    /// The capacity is not allowed.
    pub fn new(capacity: u32) -> Result<Self, CapacityError> {
        check_capacity(capacity)?;
        Ok(Self::with_slack(capacity, stored(MAX_PACKET) - ALIGNMENT))
    }

    /// A ring too small for the real one, in which `loom` sees every word; for packets of at most `largest` bytes.
    #[must_use]
    pub fn tiny(capacity: u32, largest: u32) -> Self {
        assert!(capacity.is_power_of_two(), "{capacity} is no power of two");
        Self::with_slack(capacity, stored(largest) - ALIGNMENT)
    }

    fn with_slack(capacity: u32, slack: u32) -> Self {
        Self {
            capacity,
            head: AtomicU32::new(0),
            tail: AtomicU32::new(0),
            alertable: AtomicU32::new(0),
            memory: Memory::new(capacity + slack),
        }
    }

    /// Bytes it holds, less [`ALIGNMENT`]: full and empty must differ.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Whether `offset` is one, and not the mark of the end.
    pub(crate) fn holds(&self, offset: u32) -> bool {
        offset < self.capacity
    }

    pub(crate) fn wrap(&self, offset: u32) -> u32 {
        offset & (self.capacity - 1)
    }

    /// Where the packet behind one of `len` bytes at `at` starts.
    pub(crate) fn after(&self, at: u32, len: u32) -> u32 {
        self.wrap(at.wrapping_add(stored(len)))
    }

    pub(crate) fn content(&self, head: u32, tail: u32) -> u32 {
        self.wrap(tail.wrapping_sub(head))
    }

    pub(crate) fn space(&self, head: u32, tail: u32) -> u32 {
        self.wrap(head.wrapping_sub(tail).wrapping_sub(ALIGNMENT))
    }

    /// Whether the ring still says of a packet what it said when it was received. If not, a chain too many has been
    /// written over it, and releasing it gives back some other room.
    #[must_use]
    pub fn is_intact(&self, slot: &Slot) -> bool {
        self.memory.word(slot.at) == slot.len
    }

    /// The bytes of a packet.
    #[must_use]
    pub fn read(&self, slot: &Slot) -> Vec<u8> {
        let mut bytes = vec![0; slot.len as usize];
        self.memory.read(slot.at + HEADER, &mut bytes);
        bytes
    }

    /// Writes a packet's bytes: as many as it has.
    ///
    /// # Panics
    /// There are more or fewer.
    pub fn write(&self, slot: &Slot, bytes: &[u8]) {
        assert_eq!(bytes.len(), slot.len as usize, "the packet has another length");
        self.memory.write(slot.at + HEADER, bytes);
    }

    /// Where a packet's bytes lie: good until it is released or sent.
    #[cfg(not(loom))]
    #[must_use]
    pub fn pointer(&self, slot: &Slot) -> *mut u8 {
        self.memory.pointer(slot.at + HEADER..slot.at + HEADER + slot.len)
    }

    /// The packet whose bytes lie at `pointer`, which [`Self::pointer`] gave; `None` for another pointer.
    #[cfg(not(loom))]
    #[must_use]
    pub fn slot_at(&self, pointer: *const u8) -> Option<Slot> {
        let base = self.memory.pointer(0..0) as usize;
        let at = u32::try_from((pointer as usize).checked_sub(base)?).ok()?.checked_sub(HEADER)?;
        let aligned = at.is_multiple_of(ALIGNMENT) && at < self.capacity;
        aligned.then(|| Slot { at, len: self.memory.word(at) & MAX_PACKET })
    }
}

/// A packet in a ring that an end holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Slot {
    pub(crate) at: u32,
    pub(crate) len: u32,
}

impl Slot {
    /// Length of the packet in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// True of a packet without bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
