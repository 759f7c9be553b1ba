//! An adapter with its driver, and the host behind it where a test stands.

use crate::{
    client::{Consumer, Producer, Refused},
    driver::{ChainDropped, Indicated, Receiver, Sender, Taken},
    layout::CapacityError,
    ring::{Fences, Ring, Slot},
};
use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// One session: two rings with both their ends.
#[derive(Debug)]
pub struct Session {
    /// Reads what the host sent.
    pub outbound: Consumer,
    /// Writes what is for the host.
    pub inbound: Producer,
    sender: Sender,
    receiver: Receiver,
}

impl Session {
    fn new(capacity: u32) -> Result<Self, CapacityError> {
        let (outbound, inbound) = (Arc::new(Ring::new(capacity)?), Arc::new(Ring::new(capacity)?));
        Ok(Self {
            outbound: Consumer::new(outbound.clone()),
            inbound: Producer::new(inbound.clone(), Fences::Sound),
            sender: Sender::new(outbound),
            receiver: Receiver::new(inbound, Fences::Sound),
        })
    }
}

/// An adapter as the driver has it, shared by the program's side and the host's.
#[derive(Debug, Default)]
pub struct Device(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    session: Option<Arc<Session>>,
    removed: bool,
    /// What the host has taken and a test has not.
    delivered: VecDeque<Vec<u8>>,
    /// Packets that a slow host keeps.
    kept: VecDeque<Indicated>,
    keeps: bool,
    /// Wake-ups to be missed.
    misses: u32,
    counts: Counts,
}

/// What became of packets, and of calls, since the device is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions started.
    pub sessions: u64,
    /// Packets that the host sent and the outbound ring took.
    pub sent: u64,
    /// Packets that the host sent and the driver dropped with their chain: the ring was full.
    pub dropped_full: u64,
    /// Packets that the host sent and the driver dropped: there was no session.
    pub dropped_ended: u64,
    /// Packets the program read.
    pub read: u64,
    /// Packets the host was handed.
    pub indicated: u64,
    /// Packets that the driver threw away: not IP.
    pub discarded: u64,
    /// Packets the program sent.
    pub written: u64,
    /// Times the program found the inbound ring full.
    pub full: u64,
    /// Wake-ups that the fault has swallowed.
    pub missed: u64,
}

impl Counts {
    /// Packets that the host sent and the program has not read: once their session is over they are lost.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.sent - self.read
    }

    /// Packets that the program sent and the driver has not taken: once their session is over they are lost.
    #[must_use]
    pub fn untaken(&self) -> u64 {
        self.written - self.indicated - self.discarded
    }
}

/// Why the host's packet did not reach the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The whole chain: no room.
    Full,
    /// No session is there to take it.
    Ended,
}

/// Why there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// Such rings do not exist.
    Capacity(CapacityError),
    /// The adapter serves another one.
    Busy,
    /// The adapter is gone.
    Removed,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capacity(error) => error.fmt(f),
            Self::Busy => f.write_str("the adapter has a session already"),
            Self::Removed => f.write_str("the adapter is gone"),
        }
    }
}

impl std::error::Error for StartError {}

impl Device {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the one session.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(&self, capacity: u32) -> Result<Arc<Session>, StartError> {
        let mut state = self.state();
        if state.removed {
            return Err(StartError::Removed);
        }
        if state.session.is_some() {
            return Err(StartError::Busy);
        }
        let session = Arc::new(Session::new(capacity).map_err(StartError::Capacity)?);
        state.session = Some(session.clone());
        state.counts.sessions += 1;
        Ok(session)
    }

    /// Ends the session. What lies in the rings is lost; the host gives back what it keeps.
    pub fn end(&self) {
        self.state().end();
    }

    /// The adapter goes: the session ends, and no other starts.
    pub fn remove(&self) {
        let mut state = self.state();
        state.end();
        state.removed = true;
    }

    /// The host sends a chain of packets into the tunnel. The reader's event must be set after it.
    ///
    /// # Errors
    /// The whole chain is lost.
    pub fn host_send(&self, chain: &[&[u8]]) -> Result<(), Lost> {
        let mut state = self.state();
        let outcome = match &state.session {
            Some(session) => session.sender.chain(chain),
            None => Err(ChainDropped { packets: chain.len(), ended: true }),
        };
        let packets = chain.len() as u64;
        match outcome {
            Ok(()) => {
                state.counts.sent += packets;
                Ok(())
            }
            Err(ChainDropped { ended: false, .. }) => {
                state.counts.dropped_full += packets;
                Err(Lost::Full)
            }
            Err(ChainDropped { ended: true, .. }) => {
                state.counts.dropped_ended += packets;
                Err(Lost::Ended)
            }
        }
    }

    /// 0.14.1's race between two processors on which the host sends: one has looked where the reader is and waits for the
    /// lock, while the reader reads on and the other fills the ring past that place. What the first then sends lies over
    /// unread packets. `packet` is what fills the ring; what overwrites it counts nowhere.
    ///
    /// The reader's event must be set after it. False when there is no session.
    pub fn race(&self, packet: &[u8]) -> bool {
        let mut state = self.state();
        let Some(session) = state.session.clone() else { return false };
        session.outbound.pause(|| {
            while session.sender.chain(&[packet]).is_ok() {
                state.counts.sent += 1;
            }
            // Where the reader was when the tail is there now, all seems free. One word more than what is: whatever the
            // reader finds next, it is longer than what the ring then seems to hold.
            let (head, tail) = (session.sender.head(), session.sender.tail());
            let wild = vec![0xff; session.outbound.ring().content(tail, head) as usize];
            session.sender.chain_at(tail, &[&wild]).is_ok()
        })
    }

    /// The driver's thread is about to wait: it hands all packets to the host first. False when the session is over.
    pub fn pump(&self) -> bool {
        self.state().pump()
    }

    /// The next packet that the host was handed.
    pub fn host_take(&self) -> Option<Vec<u8>> {
        self.state().delivered.pop_front()
    }

    /// Whether the host keeps what it is handed from now on, as a slow one does. It gives all back when it stops.
    pub fn keep(&self, keeps: bool) {
        let mut state = self.state();
        state.keeps = keeps;
        if !keeps {
            state.give_back();
        }
    }

    /// Misses the next `count` wake-ups of the driver's thread.
    pub fn miss_wakeups(&self, count: u32) {
        self.state().misses = count;
    }

    /// What became of packets.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Reads a packet for the program, and counts it.
    ///
    /// # Errors
    /// As for [`Consumer::receive`].
    pub fn receive(&self, session: &Session) -> Result<Slot, Refused> {
        let received = session.outbound.receive();
        if received.is_ok() {
            self.state().counts.read += 1;
        }
        received
    }

    /// Makes room for the program's packet, and counts where there is none.
    ///
    /// # Errors
    /// As for [`Producer::allocate`].
    pub fn allocate(&self, session: &Session, len: u32) -> Result<Slot, Refused> {
        let allocated = session.inbound.allocate(len);
        if allocated == Err(Refused::Full) {
            self.state().counts.full += 1;
        }
        allocated
    }

    /// Sends the program's packet: true when the event of the driver's thread must be set.
    #[must_use = "the driver sleeps until its event is set"]
    pub fn send(&self, session: &Session, slot: Slot) -> bool {
        let wake = session.inbound.send(slot);
        let mut state = self.state();
        state.counts.written += 1;
        if wake && state.misses > 0 {
            state.misses -= 1;
            state.counts.missed += 1;
            return false;
        }
        wake
    }

    /// The driver's thread asks whether it may sleep.
    #[must_use]
    pub fn fall_asleep(&self) -> bool {
        self.state().session.as_ref().is_none_or(|session| session.receiver.fall_asleep())
    }

    /// The driver's thread is awake.
    pub fn wake_up(&self) {
        if let Some(session) = &self.state().session {
            session.receiver.wake_up();
        }
    }

    /// Whether the driver's thread sleeps.
    #[must_use]
    pub fn sleeps(&self) -> bool {
        self.state().session.as_ref().is_some_and(|session| session.receiver.sleeps())
    }
}

impl State {
    fn pump(&mut self) -> bool {
        let Some(session) = self.session.clone() else { return false };
        loop {
            match session.receiver.take() {
                Taken::Packet(packet) => {
                    self.counts.indicated += 1;
                    self.delivered.push_back(session.receiver.bytes(&packet));
                    if self.keeps {
                        self.kept.push_back(packet);
                    } else {
                        session.receiver.give_back(packet);
                    }
                }
                Taken::Discarded => self.counts.discarded += 1,
                Taken::Nothing | Taken::Stuck => return true,
                Taken::Ended => return false,
            }
        }
    }

    fn give_back(&mut self) {
        if let Some(session) = &self.session {
            // The last first: only then does the ring move.
            while let Some(packet) = self.kept.pop_back() {
                session.receiver.give_back(packet);
            }
        }
        self.kept.clear();
    }

    fn end(&mut self) {
        self.give_back();
        let Some(session) = self.session.take() else { return };
        session.receiver.end();
        session.sender.end();
    }
}
