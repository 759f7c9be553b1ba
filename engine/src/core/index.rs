//! Receiver indices: which generation a datagram is for.

use crate::generation::GenerationId;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Our own random indices are the keys, so that no stranger can choose them to collide.
#[derive(Default)]
struct IndexHasher(u64);

impl Hasher for IndexHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u32(&mut self, index: u32) {
        self.0 = u64::from(index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The upper 24 bits of a receiver index name the generation; the low byte counts the library's sessions.
#[derive(Default)]
pub(crate) struct Indices(HashMap<u32, (usize, GenerationId), BuildHasherDefault<IndexHasher>>);

impl Indices {
    /// The generation a receiver index belongs to.
    pub(crate) fn find(&self, receiver: u32) -> Option<(usize, GenerationId)> {
        self.0.get(&(receiver >> 8)).copied()
    }

    pub(crate) fn contains(&self, index: u32) -> bool {
        self.0.contains_key(&(index & 0x00ff_ffff))
    }

    pub(crate) fn insert(&mut self, index: u32, slot: usize, generation: GenerationId) {
        self.0.insert(index & 0x00ff_ffff, (slot, generation));
    }

    pub(crate) fn remove(&mut self, index: u32) {
        self.0.remove(&(index & 0x00ff_ffff));
    }
}
