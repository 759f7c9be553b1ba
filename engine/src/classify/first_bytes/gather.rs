//! The first bytes of a flow that waits for them, put together from segments in any order.
//!
//! Nothing is held back meanwhile. What arrives out of order may pass: no receiver can read behind a gap, so that the
//! segment that closes the gap decides in time.

use super::{Extracted, MOST, client, datagram, server};
use crate::classify::{Direction, Side};
use crate::packet::header::{Headers, Tcp, Transport};

/// What a buffer takes, for bounds on all of them.
pub(crate) const BUFFER_BYTES: usize = std::mem::size_of::<Buffer>();

/// A flow's first bytes in both directions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gather {
    forward: Stream,
    reverse: Stream,
}

/// What one end has sent.
#[derive(Clone, Debug, Default)]
struct Stream {
    /// TCP: the number of the first byte.
    start: Option<u32>,
    buffer: Option<Box<Buffer>>,
    /// Nobody recognised it.
    unknown: bool,
}

#[derive(Clone, Debug)]
struct Buffer {
    bytes: [u8; MOST],
    /// One bit per byte at hand.
    have: [u64; MOST / 64],
}

/// What came of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// More must be seen.
    More,
    /// This is what they tell.
    Known(Extracted),
}

impl Gather {
    /// Looks at a packet's payload. `sides` are (the sender's, the receiver's) before this packet; no buffer is begun
    /// unless there is `room`.
    pub(crate) fn look(
        &mut self,
        direction: Direction,
        headers: &Headers,
        payload: &[u8],
        sides: (&Side, &Side),
        room: bool,
    ) -> Looked {
        if payload.is_empty() {
            return Looked::More;
        }
        let tcp = match headers.transport {
            Transport::Tcp(tcp) => tcp,
            Transport::Udp { .. } => return Looked::Known(datagram(payload)),
            _ => return Looked::More,
        };
        let seq = tcp.seq.wrapping_add(u32::from(tcp.has(Tcp::SYN)));
        let (stream, read): (_, fn(&[u8]) -> _) = match direction {
            Direction::Forward => (&mut self.forward, client),
            Direction::Reverse => (&mut self.reverse, server),
        };
        let start = *stream.start.get_or_insert(sides.0.next_seq.filter(|_| !tcp.has(Tcp::SYN)).unwrap_or(seq));
        let offset = seq.wrapping_sub(start) as i32;
        if stream.unknown {
            // Only a server's: the client's first bytes would have decided. One that talks on alone is unknown.
            let beyond = usize::try_from(offset).is_ok_and(|offset| offset >= MOST);
            return if beyond { Looked::Known(Extracted::default()) } else { Looked::More };
        }
        let Some((at, payload)) = trim(offset, payload) else { return Looked::More };
        let mut looked = None;
        if at == 0 && stream.buffer.is_none() {
            looked = read(&payload[..payload.len().min(MOST)]);
        }
        if looked.is_none() {
            if stream.buffer.is_none() && !room {
                return Looked::Known(Extracted::default());
            }
            let buffer = stream.buffer.get_or_insert_with(Box::default);
            buffer.add(at, payload);
            looked = Some(buffer.contiguous()).filter(|len| *len > 0).and_then(|len| read(&buffer.bytes[..len]));
        }
        match (looked, direction) {
            (Some(extracted), Direction::Reverse) if extracted == Extracted::default() => {
                stream.unknown = true;
                stream.buffer = None;
                Looked::More
            }
            (Some(extracted), _) => Looked::Known(extracted),
            (None, _) => {
                // The receiver has acknowledged what never passed here: the beginning is lost to us.
                let read = stream.contiguous() as u32;
                let acknowledged = sides.1.last_ack.map(|ack| ack.wrapping_sub(start) as i32);
                let lost = acknowledged.is_some_and(|ack| ack > 0 && ack as u32 > read);
                if lost { Looked::Known(Extracted::default()) } else { Looked::More }
            }
        }
    }

    /// How many buffers it holds.
    pub(crate) fn buffers(&self) -> usize {
        usize::from(self.forward.buffer.is_some()) + usize::from(self.reverse.buffer.is_some())
    }
}

impl Stream {
    fn contiguous(&self) -> usize {
        self.buffer.as_ref().map_or(0, |buffer| buffer.contiguous())
    }
}

/// What of `payload` is not before the first byte, and where it lies.
fn trim(offset: i32, payload: &[u8]) -> Option<(usize, &[u8])> {
    match usize::try_from(offset) {
        Ok(at) => Some((at, payload)),
        Err(_) => payload.get(offset.unsigned_abs() as usize..).filter(|rest| !rest.is_empty()).map(|rest| (0, rest)),
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self { bytes: [0; MOST], have: [0; MOST / 64] }
    }
}

impl Buffer {
    /// What is there stays: a receiver that took the first copy of a byte takes no second.
    fn add(&mut self, at: usize, payload: &[u8]) {
        for (at, byte) in (at..MOST).zip(payload) {
            let (word, bit) = (at / 64, 1 << (at % 64));
            if self.have[word] & bit == 0 {
                self.have[word] |= bit;
                self.bytes[at] = *byte;
            }
        }
    }

    fn contiguous(&self) -> usize {
        let whole = self.have.iter().take_while(|word| **word == u64::MAX).count();
        whole * 64 + self.have.get(whole).map_or(0, |word| word.trailing_ones() as usize)
    }
}
