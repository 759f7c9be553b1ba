//! Datagrams on their way to the socket, laid out as GSO/USO batches.

use super::Ecn;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Most segments in one GSO batch (Linux `UDP_MAX_SEGMENTS`; Windows takes 512).
pub const MAX_SEGMENTS: usize = 64;
/// Most payload bytes in one GSO batch: 65,535 less the IPv4 and UDP headers.
pub const MAX_BATCH: usize = 65_507;
/// The arena grows by this many bytes.
const GROWTH: usize = 1 << 16;
/// Buffers of ready batches that are kept for the next ones.
const MAX_SPARE: usize = 64;

/// Datagrams of equal size and ECN field for one destination, back to back; the last one may be shorter.
#[derive(Clone, Copy, Debug)]
pub struct Transmit<'a> {
    /// Where to.
    pub destination: SocketAddr,
    /// The ECN field of the IP header; the rest of its type of service or traffic class is zero.
    pub ecn: Ecn,
    /// No router and no system on the way may fragment its datagrams: who made them finds out what the path carries.
    pub whole: bool,
    /// Size of each datagram but the last. At most [`MAX_SEGMENTS`] of them fit.
    pub segment: usize,
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Transmit<'a> {
    /// The datagrams, back to back.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many datagrams [`Self::bytes`] holds.
    #[must_use]
    pub fn datagrams(&self) -> usize {
        self.count
    }
}

/// Where a batch lies in the arena.
#[derive(Debug)]
struct Batch {
    destination: SocketAddr,
    ecn: Ecn,
    segment: usize,
    start: usize,
    end: usize,
    count: usize,
    /// A shorter datagram was its last, or it came ready.
    closed: bool,
    /// Its bytes, when they came ready and so are not in the arena. It is QUIC's then, which knows its path.
    ready: Option<Vec<u8>>,
}

/// Datagrams in the order in which they must leave, back to back in one arena. It is reused as soon as all are sent, and
/// never shrinks: once it is warm, nothing allocates, and no byte is written before its datagram is.
#[derive(Debug, Default)]
pub struct TransmitQueue {
    batches: VecDeque<Batch>,
    arena: Vec<u8>,
    /// Where the next datagram goes.
    used: usize,
    /// Buffers of ready batches that have left, empty.
    spare: Vec<Vec<u8>>,
}

impl TransmitQueue {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The batches in sending order.
    pub fn batches(&self) -> impl ExactSizeIterator<Item = Transmit<'_>> + DoubleEndedIterator {
        self.batches.iter().map(|batch| Transmit {
            destination: batch.destination,
            ecn: batch.ecn,
            whole: batch.ready.is_some(),
            segment: batch.segment,
            bytes: batch.ready.as_deref().unwrap_or(&self.arena[batch.start..batch.end]),
            count: batch.count,
        })
    }

    /// How many batches there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// True when there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Bytes of memory held, for datagrams that wait and for those to come.
    #[must_use]
    pub fn capacity(&self) -> usize {
        let ready = self.batches.iter().filter_map(|batch| batch.ready.as_ref());
        self.arena.len() + ready.chain(&self.spare).map(Vec::capacity).sum::<usize>()
    }

    /// Takes the first `count` batches off the queue.
    pub fn release(&mut self, count: usize) {
        for batch in self.batches.drain(..count.min(self.batches.len())) {
            if let Some(mut buffer) = batch.ready.filter(|_| self.spare.len() < MAX_SPARE) {
                buffer.clear();
                self.spare.push(buffer);
            }
        }
        let Some(first) = self.batches.front() else {
            self.used = 0;
            return;
        };
        // What waits moves to the front once it is less than what has left: each byte moves at most once for its own.
        let start = first.start;
        if start > self.used - start {
            self.arena.copy_within(start..self.used, 0);
            self.used -= start;
            for batch in &mut self.batches {
                batch.start -= start;
                batch.end -= start;
            }
        }
    }

    /// Appends up to `count` datagrams of `len` bytes each, and gives their bytes, which hold what an earlier datagram
    /// left there: the caller writes all of them. At least one fits; fewer than `count` do when a batch ends. A
    /// datagram of another length than the batch's joins it as its last when shorter, and begins a new one when longer.
    ///
    /// Returns an empty slice when `count` is 0 or `len` is not between 1 and [`MAX_BATCH`].
    pub fn reserve(&mut self, destination: SocketAddr, ecn: Ecn, len: usize, count: usize) -> &mut [u8] {
        if count == 0 || len == 0 || len > MAX_BATCH {
            return &mut [];
        }
        let fits = match self.batches.back() {
            Some(last) if last.takes(destination, ecn, len) => {
                let room = (MAX_BATCH - (last.end - last.start)) / len;
                count.min(room).min(MAX_SEGMENTS - last.count).min(if len < last.segment { 1 } else { count })
            }
            _ => count.min(MAX_BATCH / len).min(MAX_SEGMENTS),
        };
        let start = self.used;
        self.room(len * fits);
        for _ in 0..fits {
            self.append(destination, ecn, len);
        }
        &mut self.arena[start..start + len * fits]
    }

    /// Appends one datagram of at most `room` bytes that `write` produces. `write` gets `room` bytes and returns how
    /// many it used, and the ECN field; `None` or zero appends nothing.
    ///
    /// The datagram joins the last batch when destination, field and size allow, so that one GSO send carries both.
    pub fn push_with(
        &mut self,
        destination: SocketAddr,
        room: usize,
        write: impl FnOnce(&mut [u8]) -> Option<(usize, Ecn)>,
    ) -> bool {
        let (used, ecn) = write(self.room(room)).unwrap_or_default();
        let used = used.min(room);
        if used > 0 {
            self.append(destination, ecn, used);
        }
        used > 0
    }

    /// Appends one finished datagram that is Not-ECT.
    pub fn push(&mut self, destination: SocketAddr, datagram: &[u8]) -> bool {
        self.push_with(destination, datagram.len(), |room| {
            room.copy_from_slice(datagram);
            Some((datagram.len(), Ecn::NotEct))
        })
    }

    /// An empty buffer for [`Self::push_ready`], which has room when such batches have left before.
    #[must_use]
    pub fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes a buffer back that was not needed.
    pub fn give_back(&mut self, buffer: Vec<u8>) {
        self.spare.push(buffer);
    }

    /// Appends a batch that was made elsewhere: datagrams of `segment` bytes each, the last of which may be shorter. No
    /// other datagram joins it, its bytes do not move, and its datagrams arrive whole or not at all. False, and nothing is
    /// appended, unless a batch may be so.
    pub fn push_ready(&mut self, destination: SocketAddr, ecn: Ecn, segment: usize, bytes: Vec<u8>) -> bool {
        let count = bytes.len().div_ceil(segment.max(1));
        if segment == 0 || bytes.is_empty() || count > MAX_SEGMENTS || bytes.len() > MAX_BATCH {
            return false;
        }
        let (start, end) = (self.used, self.used);
        self.batches.push_back(Batch {
            destination,
            ecn,
            segment,
            start,
            end,
            count,
            closed: true,
            ready: Some(bytes),
        });
        true
    }

    /// `len` bytes behind the last datagram.
    fn room(&mut self, len: usize) -> &mut [u8] {
        let end = self.used + len;
        if self.arena.len() < end {
            self.arena.resize(end.next_multiple_of(GROWTH), 0);
        }
        &mut self.arena[self.used..end]
    }

    /// Makes the first `len` bytes of the room a datagram.
    fn append(&mut self, destination: SocketAddr, ecn: Ecn, len: usize) {
        let (start, end) = (self.used, self.used + len);
        self.used = end;
        match self.batches.back_mut() {
            Some(last) if last.takes(destination, ecn, len) => {
                last.end = end;
                last.count += 1;
                last.closed = len < last.segment;
            }
            _ => {
                let batch = Batch { destination, ecn, segment: len, start, end, count: 1, closed: false, ready: None };
                self.batches.push_back(batch);
            }
        }
    }
}

impl Batch {
    /// Whether a datagram of `len` bytes may be its next.
    fn takes(&self, destination: SocketAddr, ecn: Ecn, len: usize) -> bool {
        !self.closed
            && self.destination == destination
            && self.ecn == ecn
            && self.count < MAX_SEGMENTS
            && len <= self.segment
            && self.end - self.start + len <= MAX_BATCH
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn to(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn equal_sizes_share_a_batch_and_a_shorter_one_closes_it() {
        let mut queue = TransmitQueue::new();
        for len in [100, 100, 40, 100] {
            assert!(queue.push(to(1), &vec![7; len]));
        }
        let shape: Vec<_> = queue.batches().map(|t| (t.segment, t.datagrams(), t.bytes().len())).collect();
        assert_eq!(shape, [(100, 3, 240), (100, 1, 100)]);
    }

    #[test]
    fn a_larger_datagram_or_another_destination_starts_a_batch() {
        let mut queue = TransmitQueue::new();
        queue.push(to(1), &[1; 50]);
        queue.push(to(1), &[2; 60]);
        queue.push(to(2), &[3; 60]);
        let shape: Vec<_> = queue.batches().map(|t| (t.destination.port(), t.bytes().to_vec())).collect();
        assert_eq!(shape, [(1, vec![1; 50]), (1, vec![2; 60]), (2, vec![3; 60])]);
        queue.release(2);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn never_more_segments_or_bytes_than_the_kernel_takes() {
        let mut queue = TransmitQueue::new();
        for _ in 0..200 {
            queue.push(to(1), &[0; 1472]);
        }
        for batch in queue.batches() {
            assert!(batch.datagrams() <= MAX_SEGMENTS && batch.bytes().len() <= MAX_BATCH);
        }
        assert_eq!(queue.batches().map(|batch| batch.datagrams()).sum::<usize>(), 200);
    }

    #[test]
    fn writing_nothing_leaves_no_trace() {
        let mut queue = TransmitQueue::new();
        assert!(!queue.push_with(to(1), 100, |_| None));
        assert!(queue.is_empty());
    }

    #[test]
    fn reserved_datagrams_fill_batches_to_the_brim() {
        let mut queue = TransmitQueue::new();
        let (mut left, mut number) = (100, 0u8);
        while left > 0 {
            let room = queue.reserve(to(1), Ecn::NotEct, 1452, left);
            assert!(!room.is_empty() && room.len().is_multiple_of(1452));
            left -= room.len() / 1452;
            for datagram in room.chunks_mut(1452) {
                datagram.fill(number);
                number += 1;
            }
        }
        assert_eq!(queue.reserve(to(1), Ecn::NotEct, 80, 3).len(), 80, "a shorter one ends a batch");
        assert_eq!(queue.reserve(to(1), Ecn::NotEct, 80, 3).len(), 240);
        let shape: Vec<_> = queue.batches().map(|t| (t.segment, t.datagrams())).collect();
        assert_eq!(shape, [(1452, 45), (1452, 45), (1452, 11), (80, 3)]);
        let bytes: Vec<u8> =
            queue.batches().flat_map(|batch| batch.bytes().chunks(batch.segment).map(|d| d[0])).collect();
        assert_eq!(bytes[..100], (0..100).collect::<Vec<u8>>());
        assert!(queue.reserve(to(1), Ecn::Ce, 80, 0).is_empty() && queue.reserve(to(1), Ecn::Ce, 0, 1).is_empty());
        assert!(queue.reserve(to(1), Ecn::Ce, MAX_BATCH + 1, 1).is_empty());
    }

    #[test]
    fn a_ready_batch_stands_alone_and_leaves_its_buffer() {
        let mut queue = TransmitQueue::new();
        queue.push(to(1), &[1; 100]);
        assert!(queue.push_ready(to(1), Ecn::Ect0, 100, vec![2; 250]));
        queue.push(to(1), &[3; 50]);
        let shape: Vec<_> = queue.batches().map(|t| (t.segment, t.datagrams(), t.ecn, t.bytes().to_vec())).collect();
        let expected =
            [(100, 1, Ecn::NotEct, vec![1; 100]), (100, 3, Ecn::Ect0, vec![2; 250]), (50, 1, Ecn::NotEct, vec![3; 50])];
        assert_eq!(shape, expected);
        assert_eq!(queue.batches().map(|t| t.whole).collect::<Vec<_>>(), [false, true, false]);
        queue.release(2);
        assert!(queue.buffer().capacity() >= 250);
        for (segment, bytes) in [(0, vec![1]), (10, vec![]), (1000, vec![0; 65_508]), (10, vec![0; 641])] {
            assert!(!queue.push_ready(to(1), Ecn::NotEct, segment, bytes));
        }
        assert_eq!(queue.len(), 1);
    }

    proptest! {
        /// Whatever is pushed, reserved and released in whatever order: the queue is a queue.
        #[test]
        fn it_is_a_queue(steps in prop::collection::vec((0u16..3, 0u8..2, 1usize..3000, 0usize..60, 0usize..4), 1..60)) {
            let mut queue = TransmitQueue::new();
            let mut expected = VecDeque::new();
            let mut stamp = 0u8;
            for (port, ecn, len, count, released) in steps {
                let ecn = Ecn::from_tos(ecn);
                let room = queue.reserve(to(port), ecn, len, count);
                for datagram in room.chunks_mut(len) {
                    stamp = stamp.wrapping_add(1);
                    datagram.fill(stamp);
                    expected.push_back((port, ecn, vec![stamp; len]));
                }
                if count == 0 {
                    stamp = stamp.wrapping_add(1);
                    queue.push(to(port), &vec![stamp; len]);
                    expected.push_back((port, Ecn::NotEct, vec![stamp; len]));
                }
                if count == 1 {
                    stamp = stamp.wrapping_add(1);
                    let mut bytes = queue.buffer();
                    prop_assert!(bytes.is_empty());
                    bytes.resize(len * 2 + 1, stamp);
                    prop_assert!(queue.push_ready(to(port), ecn, len, bytes));
                    expected.extend([len, len, 1].map(|len| (port, ecn, vec![stamp; len])));
                }
                let leaving: usize = queue.batches().take(released).map(|batch| batch.datagrams()).sum();
                queue.release(released);
                expected.drain(..leaving);
                let mut held = Vec::new();
                for batch in queue.batches() {
                    prop_assert!(batch.datagrams() <= MAX_SEGMENTS && batch.bytes().len() <= MAX_BATCH);
                    prop_assert_eq!(batch.bytes().chunks(batch.segment).len(), batch.datagrams());
                    let port = batch.destination.port();
                    held.extend(batch.bytes().chunks(batch.segment).map(|d| (port, batch.ecn, d.to_vec())));
                }
                prop_assert_eq!(held, Vec::from(expected.clone()));
            }
        }
    }
}
