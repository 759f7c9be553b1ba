//! Packets that wait for a session.

use super::limits::{WAITING_BYTES, WAITING_PACKETS};
use std::collections::VecDeque;
use zeroize::Zeroize;

/// A bounded queue; when it is full the oldest gives way, since the newest is most likely still wanted.
#[derive(Default)]
pub(crate) struct Waiting {
    packets: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: u64,
}

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    pub(crate) fn push(&mut self, packet: &[u8]) {
        while !self.packets.is_empty()
            && (self.packets.len() >= WAITING_PACKETS || self.bytes + packet.len() > WAITING_BYTES)
        {
            self.pop();
            self.dropped += 1;
        }
        self.bytes += packet.len();
        self.packets.push_back(packet.to_vec());
    }

    pub(crate) fn front(&self) -> Option<&[u8]> {
        self.packets.front().map(Vec::as_slice)
    }

    /// Forgets the oldest.
    pub(crate) fn pop(&mut self) {
        if let Some(mut packet) = self.packets.pop_front() {
            self.bytes -= packet.len();
            packet.zeroize();
        }
        if self.packets.is_empty() {
            // An idle peer owns no memory for packets.
            self.packets = VecDeque::new();
        }
    }

    /// Gives all of them up.
    pub(crate) fn clear(&mut self) {
        while !self.is_empty() {
            self.pop();
            self.dropped += 1;
        }
    }

    /// How many were given up since the last question.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_gives_way_by_number_and_by_size() {
        let mut waiting = Waiting::default();
        for n in 0..=u8::MAX {
            waiting.push(&[n; 100]);
        }
        assert_eq!((waiting.take_dropped(), waiting.take_dropped()), (128, 0));
        assert_eq!(waiting.front().map(|packet| packet[0]), Some(128));
        waiting.push(&vec![1; WAITING_BYTES - 150]);
        assert_eq!((waiting.take_dropped(), waiting.packets.len()), (127, 2));
        waiting.push(&vec![2; WAITING_BYTES + 1]);
        assert_eq!((waiting.take_dropped(), waiting.packets.len()), (2, 1), "a giant is better than nothing");
        waiting.clear();
        assert_eq!((waiting.take_dropped(), waiting.bytes, waiting.packets.capacity()), (1, 0, 0));
    }
}
