//! Frames on their way to the adapter, merged into super-packets where the flow allows it.

use super::Offload;
use super::coalesce::OpenFlows;
use std::ops::Range;

/// The arena grows by this many bytes.
const GROWTH: usize = 1 << 16;

/// One frame for the adapter: pieces of the queue's arena that follow each other on the wire (gather write).
#[derive(Debug)]
pub struct Delivery<'a> {
    arena: &'a [u8],
    links: &'a [Link],
    first: usize,
    count: usize,
    /// What the adapter's other side must still do.
    pub offload: Offload,
}

impl<'a> Delivery<'a> {
    /// The frame's bytes, piece by piece.
    pub fn pieces(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + 'a {
        Pieces { arena: self.arena, links: self.links, next: self.first, left: self.count }
    }

    /// Length of the whole frame in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces().map(<[u8]>::len).sum()
    }

    /// True for a frame without bytes (the queue never holds one).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

struct Pieces<'a> {
    arena: &'a [u8],
    links: &'a [Link],
    next: usize,
    left: usize,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let link = self.links.get(self.next)?;
        self.next = link.next;
        self.arena.get(link.bytes.clone())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Pieces<'_> {}

/// A piece of the arena, and the one that follows it in its frame: packets of several flows arrive interleaved, so
/// the pieces of one frame are not neighbours.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) bytes: Range<usize>,
    pub(super) next: usize,
}

/// A frame: its chain of pieces.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) count: usize,
    pub(super) offload: Offload,
}

/// Decrypted packets for the adapter, in order. One arena holds their bytes; it is reused batch after batch.
///
/// A packet is written into the room that [`Self::open`] gives and joins the queue by [`Self::deliver`];
/// [`Self::finish`] ends the batch.
#[derive(Debug, Default)]
pub struct DeliveryQueue {
    pub(super) arena: Vec<u8>,
    pub(super) used: usize,
    pub(super) links: Vec<Link>,
    pub(super) chains: Vec<Chain>,
    pub(super) open: OpenFlows,
}

impl DeliveryQueue {
    /// The frames in order.
    pub fn frames(&self) -> impl Iterator<Item = Delivery<'_>> {
        self.chains.iter().map(|chain| Delivery {
            arena: &self.arena,
            links: &self.links,
            first: chain.first,
            count: chain.count,
            offload: chain.offload,
        })
    }

    /// True when there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    /// Forgets all frames and keeps the memory. Call after writing them.
    pub fn clear(&mut self) {
        self.used = 0;
        self.links.clear();
        self.chains.clear();
        self.open.clear();
    }

    /// Room for `len` bytes: where it is in the arena, and its bytes, which hold what an earlier packet left there. It
    /// is no part of any frame until [`Self::deliver`], and given back only with all other room.
    pub fn open(&mut self, len: usize) -> (usize, &mut [u8]) {
        let (start, end) = (self.used, self.used + len);
        if self.arena.len() < end {
            self.arena.resize(end.next_multiple_of(GROWTH), 0);
        }
        self.used = end;
        (start, &mut self.arena[start..end])
    }

    /// Bytes of the arena, which the caller has opened and written.
    #[must_use]
    pub fn packet(&self, range: Range<usize>) -> &[u8] {
        &self.arena[range]
    }

    /// The same, to be changed before [`Self::deliver`].
    pub fn packet_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        &mut self.arena[range]
    }

    /// Appends one packet that is finished and must not be merged (an answer, a fragment). No later packet is merged
    /// into one before it.
    pub fn push(&mut self, packet: &[u8]) {
        if packet.is_empty() {
            return;
        }
        self.finish();
        let (start, room) = self.open(packet.len());
        room.copy_from_slice(packet);
        self.append(start..start + packet.len(), Offload::default());
    }

    /// Makes `bytes` of the arena a frame of its own; returns the frame's number.
    pub(super) fn append(&mut self, bytes: Range<usize>, offload: Offload) -> usize {
        let link = self.link(bytes);
        self.chains.push(Chain { first: link, last: link, count: 1, offload });
        self.chains.len() - 1
    }

    /// Adds `bytes` of the arena to the end of frame number `chain`.
    pub(super) fn extend(&mut self, chain: usize, bytes: Range<usize>) {
        let link = self.link(bytes);
        let chain = &mut self.chains[chain];
        self.links[chain.last].next = link;
        chain.last = link;
        chain.count += 1;
    }

    fn link(&mut self, bytes: Range<usize>) -> usize {
        self.links.push(Link { bytes, next: usize::MAX });
        self.links.len() - 1
    }
}
