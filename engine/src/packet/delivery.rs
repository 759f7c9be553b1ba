//! Frames on their way to the adapter, merged into super-packets where the flow allows it.

use super::Offload;
use super::coalesce::OpenFlows;
use bytes::Bytes;
use std::ops::Range;

/// The arena grows by this many bytes.
const GROWTH: usize = 1 << 16;

/// Where a packet lies: in the queue's arena, or in memory that the queue was given ([`DeliveryQueue::keep`]).
#[derive(Clone, Debug)]
pub struct Place {
    /// Which memory; `None`: the arena.
    kept: Option<usize>,
    bytes: Range<usize>,
}

impl Place {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True of a place without bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// A part of it; `None` when it is not that long.
    pub(super) fn part(&self, part: Range<usize>) -> Option<Self> {
        let (start, end) = (self.bytes.start + part.start, self.bytes.start + part.end);
        (start <= end && end <= self.bytes.end).then_some(Self { kept: self.kept, bytes: start..end })
    }
}

/// In the arena.
impl From<Range<usize>> for Place {
    fn from(bytes: Range<usize>) -> Self {
        Self { kept: None, bytes }
    }
}

/// What places are in.
#[derive(Debug, Default)]
pub(super) struct Memory {
    arena: Vec<u8>,
    used: usize,
    kept: Vec<Bytes>,
}

impl Memory {
    /// The bytes of a place.
    pub(super) fn at(&self, place: &Place) -> &[u8] {
        let memory = match place.kept {
            None => &self.arena[..],
            Some(number) => &self.kept[number],
        };
        &memory[place.bytes.clone()]
    }

    /// The same, to be written; what is not in the arena moves there before.
    pub(super) fn at_mut(&mut self, place: &mut Place) -> &mut [u8] {
        if place.kept.is_some() {
            let moved = self.open(place.len());
            if let Some(kept) = place.kept.and_then(|number| self.kept.get(number)) {
                self.arena[moved.clone()].copy_from_slice(&kept[place.bytes.clone()]);
            }
            *place = moved.into();
        }
        &mut self.arena[place.bytes.clone()]
    }

    /// Whether a place was opened, or given, since the last batch.
    pub(super) fn has(&self, place: &Place) -> bool {
        let end = match place.kept {
            None => self.used,
            Some(number) => self.kept.get(number).map_or(0, Bytes::len),
        };
        place.bytes.end <= end
    }

    fn open(&mut self, len: usize) -> Range<usize> {
        let (start, end) = (self.used, self.used + len);
        if self.arena.len() < end {
            self.arena.resize(end.next_multiple_of(GROWTH), 0);
        }
        self.used = end;
        start..end
    }

    /// Where the arena is.
    #[cfg(test)]
    pub(super) fn arena(&self) -> *const u8 {
        self.arena.as_ptr()
    }

    pub(super) fn clear(&mut self) {
        self.used = 0;
        self.kept.clear();
    }
}

/// One frame for the adapter: pieces of memory that follow each other on the wire (gather write).
#[derive(Debug)]
pub struct Delivery<'a> {
    memory: &'a Memory,
    links: &'a [Link],
    first: usize,
    count: usize,
    /// What the adapter's other side must still do.
    pub offload: Offload,
}

impl<'a> Delivery<'a> {
    /// The frame's bytes, piece by piece.
    pub fn pieces(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + 'a {
        Pieces { memory: self.memory, links: self.links, next: self.first, left: self.count }
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
    memory: &'a Memory,
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
        Some(self.memory.at(&link.place))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Pieces<'_> {}

/// A piece, and the one that follows it in its frame: packets of several flows arrive interleaved, so the pieces of one
/// frame are not neighbours.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) place: Place,
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

/// Decrypted packets for the adapter, in order. One arena holds the bytes of those that were opened into it; it is reused
/// batch after batch. Others stay where they were opened.
///
/// A packet is written into the room that [`Self::open`] gives, or given whole to [`Self::keep`], and joins the queue by
/// [`Self::deliver`]; [`Self::finish`] ends the batch.
#[derive(Debug, Default)]
pub struct DeliveryQueue {
    pub(super) memory: Memory,
    pub(super) links: Vec<Link>,
    pub(super) chains: Vec<Chain>,
    pub(super) open: OpenFlows,
}

impl DeliveryQueue {
    /// The frames in order.
    pub fn frames(&self) -> impl Iterator<Item = Delivery<'_>> {
        self.chains.iter().map(|chain| Delivery {
            memory: &self.memory,
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

    /// Forgets all frames and keeps the arena. Call after writing them.
    pub fn clear(&mut self) {
        self.memory.clear();
        self.links.clear();
        self.chains.clear();
        self.open.clear();
    }

    /// Room for `len` bytes: where it is in the arena, and its bytes, which hold what an earlier packet left there. It
    /// is no part of any frame until [`Self::deliver`], and given back only with all other room.
    pub fn open(&mut self, len: usize) -> (usize, &mut [u8]) {
        let opened = self.memory.open(len);
        (opened.start, &mut self.memory.arena[opened])
    }

    /// Takes a packet as it is, and its memory until [`Self::clear`]. It is no part of any frame until [`Self::deliver`].
    pub fn keep(&mut self, packet: Bytes) -> Place {
        let bytes = 0..packet.len();
        self.memory.kept.push(packet);
        Place { kept: Some(self.memory.kept.len() - 1), bytes }
    }

    /// The bytes of a packet that the caller has opened and written, or given.
    #[must_use]
    pub fn packet(&self, place: &Place) -> &[u8] {
        self.memory.at(place)
    }

    /// The same, to be changed before [`Self::deliver`]: one that was given is copied for it.
    pub fn packet_mut(&mut self, place: &mut Place) -> &mut [u8] {
        self.memory.at_mut(place)
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
        self.append((start..start + packet.len()).into(), Offload::default());
    }

    /// Makes a frame of its own; returns the frame's number.
    pub(super) fn append(&mut self, place: Place, offload: Offload) -> usize {
        let link = self.link(place);
        self.chains.push(Chain { first: link, last: link, count: 1, offload });
        self.chains.len() - 1
    }

    /// Adds a piece to the end of frame number `chain`.
    pub(super) fn extend(&mut self, chain: usize, place: Place) {
        let link = self.link(place);
        let chain = &mut self.chains[chain];
        self.links[chain.last].next = link;
        chain.last = link;
        chain.count += 1;
    }

    /// Cuts the first `len` bytes of frame number `chain` off its first piece, so that they can be changed, and gives
    /// them: in the arena they are where they were, elsewhere they are copied. Empty when the piece is not that long.
    pub(super) fn head_mut(&mut self, chain: usize, len: usize) -> &mut [u8] {
        let first = self.chains[chain].first;
        let place = self.links[first].place.clone();
        let (Some(mut head), Some(rest)) = (place.part(0..len), place.part(len..place.len())) else {
            return &mut [];
        };
        if place.kept.is_some() {
            self.memory.at_mut(&mut head);
            self.links[first].place = head.clone();
            if !rest.is_empty() {
                let link = self.link(rest);
                self.links[link].next = std::mem::replace(&mut self.links[first].next, link);
                let chain = &mut self.chains[chain];
                chain.count += 1;
                if chain.last == first {
                    chain.last = link;
                }
            }
        }
        self.memory.at_mut(&mut head)
    }

    fn link(&mut self, place: Place) -> usize {
        self.links.push(Link { place, next: usize::MAX });
        self.links.len() - 1
    }
}
