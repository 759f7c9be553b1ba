//! Frames on their way to the adapter, merged into super-packets where the flow allows it.

use super::Offload;
use std::ops::Range;

/// One frame for the adapter: pieces of the queue's arena that follow each other on the wire (gather write).
#[derive(Debug)]
pub struct Delivery<'a> {
    arena: &'a [u8],
    pieces: &'a [Range<usize>],
    /// What the adapter's other side must still do.
    pub offload: Offload,
}

impl<'a> Delivery<'a> {
    /// The frame's bytes, piece by piece.
    pub fn pieces(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + 'a {
        let arena = self.arena;
        self.pieces.iter().map(move |piece| &arena[piece.clone()])
    }

    /// Length of the whole frame in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.iter().map(ExactSizeIterator::len).sum()
    }

    /// True for a frame without bytes (the queue never holds one).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) pieces: Range<usize>,
    pub(crate) offload: Offload,
}

/// Decrypted packets for the adapter, in order. One arena holds their bytes; it is reused batch after batch.
#[derive(Debug, Default)]
pub struct DeliveryQueue {
    pub(crate) arena: Vec<u8>,
    pub(crate) used: usize,
    pub(crate) pieces: Vec<Range<usize>>,
    pub(crate) entries: Vec<Entry>,
}

impl DeliveryQueue {
    /// The frames in order.
    pub fn frames(&self) -> impl Iterator<Item = Delivery<'_>> {
        self.entries.iter().map(|entry| Delivery {
            arena: &self.arena,
            pieces: &self.pieces[entry.pieces.clone()],
            offload: entry.offload,
        })
    }

    /// True when there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets all frames and keeps the memory. Call after writing them.
    pub fn clear(&mut self) {
        self.used = 0;
        self.pieces.clear();
        self.entries.clear();
    }

    /// Appends one packet that is finished and must not be merged (an answer, a fragment).
    pub fn push(&mut self, packet: &[u8]) {
        let start = self.used;
        self.reserve(packet.len())[..packet.len()].copy_from_slice(packet);
        self.append(start..start + packet.len(), Offload::default());
    }

    /// Room for `len` bytes at the arena's end; not part of any frame until `append`.
    pub(crate) fn reserve(&mut self, len: usize) -> &mut [u8] {
        let end = self.used + len;
        if self.arena.len() < end {
            self.arena.resize(end.next_power_of_two().max(1 << 16), 0);
        }
        &mut self.arena[self.used..end]
    }

    /// Makes `piece` (inside the last reservation) a frame of its own.
    pub(crate) fn append(&mut self, piece: Range<usize>, offload: Offload) {
        self.used = self.used.max(piece.end);
        let first = self.pieces.len();
        self.pieces.push(piece);
        self.entries.push(Entry { pieces: first..first + 1, offload });
    }
}
