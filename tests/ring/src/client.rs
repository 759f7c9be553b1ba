//! The program's ends of the two rings, in `wintun.dll`. Every call takes the end's lock, as there.

use crate::{
    layout::{ENDED, HEADER, MARK, MAX_PACKET, stored},
    ring::{Fences, Ring, Slot},
    sync::{Arc, Mutex, Ordering::*, fence, lock},
};
use std::fmt;

/// Why there is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The adapter is going.
    Ended,
    /// Nothing to read.
    Empty,
    /// No room to write.
    Full,
    /// The ring makes no sense.
    Corrupt,
}

impl Refused {
    /// The system's error code for it.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::Ended => 38,   // ERROR_HANDLE_EOF
            Self::Empty => 259,  // ERROR_NO_MORE_ITEMS
            Self::Full => 111,   // ERROR_BUFFER_OVERFLOW
            Self::Corrupt => 13, // ERROR_INVALID_DATA
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended => "the adapter is terminating",
            Self::Empty => "the ring is empty",
            Self::Full => "the ring is full",
            Self::Corrupt => "the ring is corrupt",
        })
    }
}

impl std::error::Error for Refused {}

/// Reads what the host sent.
#[derive(Debug)]
pub struct Consumer {
    ring: Arc<Ring>,
    state: Mutex<Reading>,
}

#[derive(Debug, Default)]
struct Reading {
    /// Where the next packet starts.
    head: u32,
    /// Where the first packet starts that is not released.
    released: u32,
    /// Packets in between.
    held: u32,
}

impl Consumer {
    /// The program's end of a fresh ring.
    #[must_use]
    pub fn new(ring: Arc<Ring>) -> Self {
        Self { ring, state: Mutex::default() }
    }

    /// The next packet, to be released after use; its memory may be written to.
    ///
    /// # Errors
    /// There is none: [`Refused::Empty`], [`Refused::Ended`] or [`Refused::Corrupt`].
    pub fn receive(&self) -> Result<Slot, Refused> {
        let mut state = lock(&self.state);
        let (ring, at) = (&*self.ring, state.head);
        let tail = ring.tail.load(Acquire);
        if !ring.holds(at) || !ring.holds(tail) {
            return Err(Refused::Ended);
        }
        if at == tail {
            return Err(Refused::Empty);
        }
        let content = ring.content(at, tail);
        if content < HEADER {
            return Err(Refused::Corrupt);
        }
        let len = ring.memory.word(at);
        if len > MAX_PACKET || stored(len) > content {
            return Err(Refused::Corrupt);
        }
        state.head = ring.after(at, len);
        state.held += 1;
        Ok(Slot { at, len })
    }

    /// Gives a packet back. In any order; the driver sees room in the ring's order.
    pub fn release(&self, slot: Slot) {
        let mut state = lock(&self.state);
        let ring = &*self.ring;
        ring.memory.set_word(slot.at, ring.memory.word(slot.at) | MARK);
        while state.held > 0 {
            let size = ring.memory.word(state.released);
            if size & MARK == 0 {
                break;
            }
            state.released = ring.after(state.released, size & !MARK);
            state.held -= 1;
        }
        ring.head.store(state.released, Release);
    }

    /// Runs `f` while nothing is read or released.
    pub fn pause<R>(&self, f: impl FnOnce() -> R) -> R {
        let _state = lock(&self.state);
        f()
    }

    /// The ring.
    #[must_use]
    pub fn ring(&self) -> &Ring {
        &self.ring
    }
}

/// Writes what is for the host.
#[derive(Debug)]
pub struct Producer {
    ring: Arc<Ring>,
    fences: Fences,
    state: Mutex<Writing>,
}

#[derive(Debug, Default)]
struct Writing {
    /// Where the next packet goes.
    tail: u32,
    /// Where the first packet starts that is not sent.
    sent: u32,
    /// Packets in between.
    held: u32,
}

impl Producer {
    /// The program's end of a fresh ring.
    #[must_use]
    pub fn new(ring: Arc<Ring>, fences: Fences) -> Self {
        Self { ring, fences, state: Mutex::default() }
    }

    /// Room for a packet of exactly `len` bytes. The order of these calls is the order of the packets, and a packet that
    /// is never sent keeps all later ones.
    ///
    /// # Errors
    /// There is none: [`Refused::Full`] or [`Refused::Ended`].
    pub fn allocate(&self, len: u32) -> Result<Slot, Refused> {
        let mut state = lock(&self.state);
        let (ring, at) = (&*self.ring, state.tail);
        let head = ring.head.load(Acquire);
        if !ring.holds(at) || !ring.holds(head) {
            return Err(Refused::Ended);
        }
        if len > MAX_PACKET || stored(len) > ring.space(head, at) {
            return Err(Refused::Full);
        }
        ring.memory.set_word(at, len | MARK);
        state.tail = ring.after(at, len);
        state.held += 1;
        Ok(Slot { at, len })
    }

    /// Sends a packet, in any order; the driver sees them in the order of their allocation. True when the driver sleeps:
    /// its event must be set.
    #[must_use = "the driver sleeps until its event is set"]
    pub fn send(&self, slot: Slot) -> bool {
        let mut state = lock(&self.state);
        let ring = &*self.ring;
        ring.memory.set_word(slot.at, slot.len);
        while state.held > 0 {
            let size = ring.memory.word(state.sent);
            if size & MARK != 0 {
                break;
            }
            state.sent = ring.after(state.sent, size);
            state.held -= 1;
        }
        let tail = ring.tail.load(Relaxed);
        if tail == state.sent || tail == ENDED {
            return false;
        }
        ring.tail.store(state.sent, Release);
        if self.fences == Fences::Sound {
            fence(SeqCst);
        }
        ring.alertable.load(Acquire) != 0
    }

    /// The ring.
    #[must_use]
    pub fn ring(&self) -> &Ring {
        &self.ring
    }
}
