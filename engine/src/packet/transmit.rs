//! Datagrams on their way to the socket, laid out as GSO/USO batches.

use std::net::SocketAddr;

/// Most segments in one GSO batch (Linux `UDP_MAX_SEGMENTS`; Windows takes 512).
pub const MAX_SEGMENTS: usize = 64;
/// Most payload bytes in one GSO batch: 65,535 less the IPv4 and UDP headers.
pub const MAX_BATCH: usize = 65_507;

/// Datagrams of equal size for one destination, back to back in one buffer; the last one may be shorter.
#[derive(Debug)]
pub struct Transmit {
    /// Where to.
    pub destination: SocketAddr,
    /// Size of each datagram but the last. At most [`MAX_SEGMENTS`] of them fit.
    pub segment: usize,
    bytes: Vec<u8>,
    count: usize,
    closed: bool,
}

impl Transmit {
    /// The datagrams, back to back.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many datagrams [`Self::bytes`] holds.
    #[must_use]
    pub fn datagrams(&self) -> usize {
        self.count
    }
}

/// Datagrams in the order in which they must leave. Buffers are pooled: once the pool is warm, nothing allocates.
#[derive(Debug, Default)]
pub struct TransmitQueue {
    ready: Vec<Transmit>,
    pool: Vec<Vec<u8>>,
    scratch: Vec<u8>,
}

impl TransmitQueue {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The batches in sending order.
    #[must_use]
    pub fn batches(&self) -> &[Transmit] {
        &self.ready
    }

    /// True when there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// How many buffers there are, pooled ones included: never more than batches were ready at one time.
    #[must_use]
    pub fn buffers(&self) -> usize {
        self.pool.len() + self.ready.len()
    }

    /// Takes the first `count` batches off the queue, back into the pool.
    pub fn release(&mut self, count: usize) {
        for transmit in self.ready.drain(..count.min(self.ready.len())) {
            let mut bytes = transmit.bytes;
            bytes.clear();
            self.pool.push(bytes);
        }
    }

    /// Appends one datagram of at most `room` bytes that `write` produces. `write` gets `room` bytes and returns how
    /// many it used; `None` or zero appends nothing.
    ///
    /// The datagram joins the last batch when destination and size allow, so that one GSO send carries both.
    pub fn push_with(
        &mut self,
        destination: SocketAddr,
        room: usize,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool {
        let joins = self.ready.last().is_some_and(|last| {
            !last.closed
                && last.destination == destination
                && last.count < MAX_SEGMENTS
                && last.bytes.len() + room <= MAX_BATCH
        });
        if !joins {
            let mut bytes = self.pool.pop().unwrap_or_else(|| Vec::with_capacity(MAX_BATCH));
            bytes.clear();
            self.ready.push(Transmit { destination, segment: 0, bytes, count: 0, closed: false });
        }
        let Some(last) = self.ready.last_mut() else { return false };
        let start = last.bytes.len();
        last.bytes.resize(start + room, 0);
        let used = write(&mut last.bytes[start..]).unwrap_or(0).min(room);
        last.bytes.truncate(start + used);
        if used == 0 {
            if last.count == 0 {
                let len = self.ready.len() - 1;
                if let Some(empty) = self.ready.drain(len..).next() {
                    self.pool.push(empty.bytes);
                }
            }
            return false;
        }
        if last.count == 0 {
            last.segment = used;
            last.count = 1;
        } else if used == last.segment {
            last.count += 1;
        } else if used < last.segment {
            last.count += 1;
            last.closed = true;
        } else {
            // Larger than its predecessors: it starts a batch of its own.
            self.scratch.clear();
            self.scratch.extend_from_slice(&last.bytes[start..]);
            last.bytes.truncate(start);
            last.closed = true;
            let mut bytes = self.pool.pop().unwrap_or_else(|| Vec::with_capacity(MAX_BATCH));
            bytes.clear();
            bytes.extend_from_slice(&self.scratch);
            self.ready.push(Transmit { destination, segment: used, bytes, count: 1, closed: false });
        }
        true
    }

    /// Appends one finished datagram.
    pub fn push(&mut self, destination: SocketAddr, datagram: &[u8]) -> bool {
        self.push_with(destination, datagram.len(), |room| {
            room.copy_from_slice(datagram);
            Some(datagram.len())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn equal_sizes_share_a_batch_and_a_shorter_one_closes_it() {
        let mut queue = TransmitQueue::new();
        for len in [100, 100, 40, 100] {
            assert!(queue.push(to(1), &vec![7; len]));
        }
        let shape: Vec<_> = queue.batches().iter().map(|t| (t.segment, t.datagrams(), t.bytes().len())).collect();
        assert_eq!(shape, [(100, 3, 240), (100, 1, 100)]);
    }

    #[test]
    fn a_larger_datagram_or_another_destination_starts_a_batch() {
        let mut queue = TransmitQueue::new();
        queue.push(to(1), &[1; 50]);
        queue.push(to(1), &[2; 60]);
        queue.push(to(2), &[3; 60]);
        let shape: Vec<_> = queue.batches().iter().map(|t| (t.destination.port(), t.bytes().to_vec())).collect();
        assert_eq!(shape, [(1, vec![1; 50]), (1, vec![2; 60]), (2, vec![3; 60])]);
        queue.release(2);
        assert_eq!(queue.batches().len(), 1);
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
        assert_eq!(queue.batches().iter().map(Transmit::datagrams).sum::<usize>(), 200);
    }

    #[test]
    fn writing_nothing_leaves_no_trace() {
        let mut queue = TransmitQueue::new();
        assert!(!queue.push_with(to(1), 100, |_| None));
        assert!(queue.is_empty());
    }
}
