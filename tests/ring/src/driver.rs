//! The driver's ends of the two rings.

use crate::{
    layout::{ENDED, HEADER, MAX_PACKET, stored},
    ring::{Fences, Ring, Slot},
    sync::{Arc, Mutex, Ordering::*, fence, lock},
};
use std::collections::VecDeque;

/// A chain of packets for which the ring had no room, or which came when there was no session. All of it is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainDropped {
    /// How many packets.
    pub packets: usize,
    /// There is no session to send into (the driver's answer is another one than for a full ring).
    pub ended: bool,
}

/// Writes what the host sends. The host calls it from any processor.
#[derive(Debug)]
pub struct Sender {
    ring: Arc<Ring>,
    state: Mutex<Sending>,
}

#[derive(Debug, Default)]
struct Sending {
    /// Where the next chain goes.
    tail: u32,
    /// Chains that are being copied: where each ends, and whether it is complete.
    active: VecDeque<(u32, bool)>,
    /// Chains that have left `active`.
    gone: usize,
}

impl Sender {
    /// The driver's end of a fresh ring.
    #[must_use]
    pub fn new(ring: Arc<Ring>) -> Self {
        Self { ring, state: Mutex::default() }
    }

    /// Where the reader was just now.
    #[must_use]
    pub fn head(&self) -> u32 {
        self.ring.head.load(Acquire)
    }

    /// Where the next chain goes.
    #[must_use]
    pub fn tail(&self) -> u32 {
        lock(&self.state).tail
    }

    /// Sends a chain: all of it, or nothing when it does not fit. The reader's event must be set afterwards, always.
    ///
    /// # Errors
    /// It was dropped.
    pub fn chain(&self, packets: &[&[u8]]) -> Result<(), ChainDropped> {
        self.send(None, packets)
    }

    /// The same by 0.14.1's way, which has looked where the reader is ([`Self::head`]) before it had the lock. What
    /// others have sent in between may have filled the ring past that place: then the chain overwrites what is unread.
    ///
    /// # Errors
    /// It was dropped.
    pub fn chain_at(&self, head: u32, packets: &[&[u8]]) -> Result<(), ChainDropped> {
        self.send(Some(head), packets)
    }

    fn send(&self, head: Option<u32>, packets: &[&[u8]]) -> Result<(), ChainDropped> {
        let dropped = |ended| ChainDropped { packets: packets.len(), ended };
        let ring = &*self.ring;
        let wanted = packets.iter().map(|packet| stored(packet.len() as u32)).sum::<u32>();
        let mut state = lock(&self.state);
        let head = head.unwrap_or_else(|| ring.head.load(Acquire));
        if !ring.holds(head) || ring.tail.load(Relaxed) == ENDED {
            return Err(dropped(true));
        }
        let mut at = state.tail;
        if ring.space(head, at) < wanted {
            return Err(dropped(false));
        }
        let end = ring.wrap(at + wanted);
        state.tail = end;
        state.active.push_back((end, false));
        let number = state.gone + state.active.len() - 1;
        // Copied without the lock: chains of several processors are copied at a time.
        drop(state);
        for packet in packets {
            ring.memory.set_word(at, packet.len() as u32);
            ring.memory.write(at + HEADER, packet);
            at = ring.after(at, packet.len() as u32);
        }
        let mut state = lock(&self.state);
        let place = number - state.gone;
        state.active[place].1 = true;
        while let Some((end, true)) = state.active.front().copied() {
            state.active.pop_front();
            state.gone += 1;
            ring.tail.store(end, Release);
        }
        Ok(())
    }

    /// The session ends.
    pub fn end(&self) {
        self.ring.tail.store(ENDED, Release);
    }
}

/// Reads what is for the host. One thread of the driver's, whatever the number of processors; the host gives packets back
/// from any.
#[derive(Debug)]
pub struct Receiver {
    ring: Arc<Ring>,
    fences: Fences,
    state: Mutex<Receiving>,
}

#[derive(Debug, Default)]
struct Receiving {
    /// Where the next packet starts.
    head: u32,
    /// Packets that the host holds: where each ends, and whether it has given it back.
    active: VecDeque<(u32, bool)>,
    /// Packets that have left `active`.
    gone: u64,
}

/// What the driver's thread found.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// A packet, which the host has now.
    Packet(Indicated),
    /// It is no IP packet; it is thrown away.
    Discarded,
    /// It is no IP packet, and it is thrown away only when the host has given back all it holds: until then, nothing.
    Stuck,
    /// The ring is empty.
    Nothing,
    /// The session has ended, or the ring made no sense, which ends it.
    Ended,
}

/// A packet that the host holds, in the ring's memory (a `NET_BUFFER_LIST` of its own).
#[derive(Debug, PartialEq, Eq)]
pub struct Indicated {
    number: u64,
    slot: Slot,
}

impl Receiver {
    /// The driver's end of a fresh ring.
    #[must_use]
    pub fn new(ring: Arc<Ring>, fences: Fences) -> Self {
        Self { ring, fences, state: Mutex::default() }
    }

    /// Indicates the next packet to the host.
    #[must_use]
    pub fn take(&self) -> Taken {
        let mut state = lock(&self.state);
        let (ring, at) = (&*self.ring, state.head);
        let tail = ring.tail.load(Acquire);
        if !ring.holds(at) || !ring.holds(tail) {
            return Taken::Ended;
        }
        if at == tail {
            return Taken::Nothing;
        }
        let content = ring.content(at, tail);
        let len = if content < HEADER { u32::MAX } else { ring.memory.word(at) };
        if len > MAX_PACKET || stored(len) > content {
            state.head = ENDED;
            return Taken::Ended;
        }
        let slot = Slot { at, len };
        if !self.is_ip(&slot) {
            if !state.active.is_empty() {
                return Taken::Stuck;
            }
            state.head = ring.after(at, len);
            ring.head.store(state.head, Release);
            return Taken::Discarded;
        }
        state.head = ring.after(at, len);
        let end = state.head;
        state.active.push_back((end, false));
        let number = state.gone + state.active.len() as u64 - 1;
        Taken::Packet(Indicated { number, slot })
    }

    /// The smallest IP header fits, and the version is one.
    fn is_ip(&self, slot: &Slot) -> bool {
        let mut first = [0];
        if !slot.is_empty() {
            self.ring.memory.read(slot.at + HEADER, &mut first);
        }
        matches!((first[0] >> 4, slot.len), (4, 20..) | (6, 40..)) || cfg!(loom)
    }

    /// The bytes of a packet that the host holds.
    #[must_use]
    pub fn bytes(&self, packet: &Indicated) -> Vec<u8> {
        self.ring.read(&packet.slot)
    }

    /// The host gives a packet back. In any order; the program sees room in the ring's order, so that one packet that
    /// the host keeps holds the ring.
    pub fn give_back(&self, packet: Indicated) {
        let mut state = lock(&self.state);
        if let Some(entry) = packet.number.checked_sub(state.gone).and_then(|at| state.active.get_mut(at as usize)) {
            entry.1 = true;
        }
        while let Some((end, true)) = state.active.front().copied() {
            state.active.pop_front();
            state.gone += 1;
            self.ring.head.store(end, Release);
        }
    }

    /// Before the thread sleeps: true when it may, and the program sets its event with the next packet. False: there is
    /// a packet already.
    #[must_use]
    pub fn fall_asleep(&self) -> bool {
        let head = lock(&self.state).head;
        self.ring.alertable.store(1, Release);
        if self.fences == Fences::Sound {
            fence(SeqCst);
        }
        let empty = self.ring.tail.load(Acquire) == head;
        if !empty {
            self.wake_up();
        }
        empty
    }

    /// After the sleep.
    pub fn wake_up(&self) {
        self.ring.alertable.store(0, Release);
    }

    /// Whether the thread sleeps.
    #[must_use]
    pub fn sleeps(&self) -> bool {
        self.ring.alertable.load(Acquire) != 0
    }

    /// The session ends: the program finds no room any more.
    pub fn end(&self) {
        self.ring.head.store(ENDED, Release);
    }
}
