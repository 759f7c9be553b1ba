//! The bytes of a ring: shared by two ends, which keep apart by the ring's offsets.

#[cfg(not(loom))]
use std::ops::Range;

/// Memory that both ends read and write. Offsets are in bytes and multiples of four.
///
/// Who may touch which part when is the rings' affair: an end touches only what the other end's offset has given it.
pub(crate) struct Memory {
    #[cfg(not(loom))]
    words: Box<[std::cell::UnsafeCell<u32>]>,
    /// One cell for each word: `loom` finds two threads at one.
    #[cfg(loom)]
    words: Box<[loom::cell::UnsafeCell<u32>]>,
}

// SAFETY: no reference into the memory is ever given out, only values and raw pointers; two ends at one place at a time
// are a fault of the ring's protocol, which is what `loom` looks for.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

#[cfg(not(loom))]
impl Memory {
    pub(crate) fn new(len: u32) -> Self {
        // Zeroed by the allocator, page by page as it is used.
        let words = Box::into_raw(vec![0u32; len.div_ceil(4) as usize].into_boxed_slice());
        // SAFETY: `UnsafeCell<u32>` has the layout of `u32`, and the box is ours alone.
        Self { words: unsafe { Box::from_raw(words as *mut [std::cell::UnsafeCell<u32>]) } }
    }

    pub(crate) fn word(&self, at: u32) -> u32 {
        // SAFETY: in bounds, or the index panics. By the rings' protocol no other thread writes this word now; what breaks
        // the protocol, `Sender::chain_at`, is called only while the thread that reads does not (`Device::race`).
        unsafe { *self.words[index(at)].get() }
    }

    pub(crate) fn set_word(&self, at: u32, word: u32) {
        // SAFETY: as in `word`, and no other thread reads it.
        unsafe { *self.words[index(at)].get() = word }
    }

    /// Where `range` lies. The pointer is good for the range as long as the memory lives.
    pub(crate) fn pointer(&self, range: Range<u32>) -> *mut u8 {
        assert!(range.start <= range.end && range.end as usize <= self.words.len() * 4, "{range:?} is outside");
        // SAFETY: in bounds by the check. The pointer comes from the whole slice of cells, so writing by it is allowed.
        unsafe { self.words.as_ptr().cast::<u8>().cast_mut().add(range.start as usize) }
    }

    pub(crate) fn read(&self, at: u32, bytes: &mut [u8]) {
        let from = self.pointer(at..at + bytes.len() as u32);
        // SAFETY: `pointer` has checked the range, and `bytes` is no part of this memory.
        unsafe { std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) }
    }

    pub(crate) fn write(&self, at: u32, bytes: &[u8]) {
        let to = self.pointer(at..at + bytes.len() as u32);
        // SAFETY: as in `read`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) }
    }
}

#[cfg(loom)]
impl Memory {
    pub(crate) fn new(len: u32) -> Self {
        Self { words: (0..len.div_ceil(4)).map(|_| loom::cell::UnsafeCell::new(0)).collect() }
    }

    pub(crate) fn word(&self, at: u32) -> u32 {
        // SAFETY: `loom` panics when another thread writes it.
        self.words[index(at)].with(|word| unsafe { *word })
    }

    pub(crate) fn set_word(&self, at: u32, word: u32) {
        // SAFETY: `loom` panics when another thread reads or writes it.
        self.words[index(at)].with_mut(|old| unsafe { *old = word });
    }

    pub(crate) fn read(&self, at: u32, bytes: &mut [u8]) {
        for (at, bytes) in (at..).step_by(4).zip(bytes.chunks_mut(4)) {
            bytes.copy_from_slice(&self.word(at).to_ne_bytes()[..bytes.len()]);
        }
    }

    pub(crate) fn write(&self, at: u32, bytes: &[u8]) {
        for (at, bytes) in (at..).step_by(4).zip(bytes.chunks(4)) {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            self.set_word(at, u32::from_ne_bytes(word));
        }
    }
}

fn index(at: u32) -> usize {
    debug_assert!(at.is_multiple_of(4), "offset {at} is not aligned");
    at as usize / 4
}
