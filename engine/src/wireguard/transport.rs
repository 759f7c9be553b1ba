//! A session's transport keys (WireGuard paper, sections 5.4.5 and 5.4.6): a half that seals and a half that opens,
//! which share nothing and may be driven by two threads.

use super::limits::{REJECT_AFTER_MESSAGES, REJECT_AFTER_TIME};
use super::noise::Secret;
use super::window::Window;
use std::time::Instant;
use vestibule_aead::Key;

/// Seals packets for the peer's session.
pub(crate) struct Sealing {
    key: Key,
    receiver: u32,
    next: u64,
}

impl Sealing {
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// The peer's index of this session, which every message carries.
    pub(crate) fn receiver(&self) -> u32 {
        self.receiver
    }

    /// Takes the next `count` counters and gives the first; `None` when the key may not seal so many more messages.
    /// A counter that was taken is never given again, used or not.
    pub(crate) fn reserve(&mut self, count: u64) -> Option<u64> {
        let first = self.next;
        let next = first.checked_add(count).filter(|next| *next <= REJECT_AFTER_MESSAGES)?;
        self.next = next;
        Some(first)
    }

    /// How many counters were taken.
    pub(crate) fn sealed(&self) -> u64 {
        self.next
    }

    #[cfg(test)]
    pub(crate) fn skip_to(&mut self, counter: u64) {
        self.next = counter;
    }
}

/// Opens packets from the peer.
pub(crate) struct Opening {
    key: Key,
    index: u32,
    pub(crate) window: Window,
}

impl Opening {
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Our index of this session, by which the peer's messages name it.
    pub(crate) fn index(&self) -> u32 {
        self.index
    }
}

/// What a finished handshake gives.
pub(crate) struct TransportKeys {
    pub(crate) send: Secret,
    pub(crate) receive: Secret,
    /// Our index of the session.
    pub(crate) index: u32,
    /// The peer's.
    pub(crate) receiver: u32,
    /// We began the handshake.
    pub(crate) initiator: bool,
}

/// One session's keys. The AEAD's key type wipes itself when it is dropped.
pub(crate) struct Keypair {
    pub(crate) sealing: Sealing,
    pub(crate) opening: Opening,
    pub(crate) created_at: Instant,
    pub(crate) initiator: bool,
    /// Counts a generation's sessions.
    pub(crate) serial: u64,
}

impl Keypair {
    pub(crate) fn new(keys: &TransportKeys, serial: u64, now: Instant) -> Box<Self> {
        Box::new(Self {
            sealing: Sealing { key: Key::new(&keys.send), receiver: keys.receiver, next: 0 },
            opening: Opening { key: Key::new(&keys.receive), index: keys.index, window: Window::new() },
            created_at: now,
            initiator: keys.initiator,
            serial,
        })
    }

    /// Young enough to seal and to open.
    pub(crate) fn is_alive(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.created_at) < REJECT_AFTER_TIME
    }

    /// May seal at least one more message.
    pub(crate) fn can_seal(&self, now: Instant) -> bool {
        self.is_alive(now) && self.sealing.next < REJECT_AFTER_MESSAGES
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use vestibule_aead::{Open, Seal};
    use zeroize::Zeroizing;

    fn pair(now: Instant) -> (Box<Keypair>, Box<Keypair>) {
        let keys = |ours: u8, theirs: u8, initiator| TransportKeys {
            send: Zeroizing::new([ours; 32]),
            receive: Zeroizing::new([theirs; 32]),
            index: u32::from(ours),
            receiver: u32::from(theirs),
            initiator,
        };
        (Keypair::new(&keys(1, 2, true), 0, now), Keypair::new(&keys(2, 1, false), 0, now))
    }

    #[test]
    fn what_one_half_seals_the_other_opens() {
        let (mut ours, theirs) = pair(Instant::now());
        let counter = ours.sealing.reserve(3).unwrap();
        assert_eq!((counter, ours.sealing.reserve(1)), (0, Some(3)));
        let mut sealed = [0; 64 + 9 + 16];
        let message = Seal { counter: 2, head: &[5; 64], body: b"and so on", out: &mut sealed };
        ours.sealing.key().seal(&mut [message]);
        for (counter, authentic) in [(2, true), (1, false)] {
            let mut out = [0; 73];
            let mut batch = [Open { counter, sealed: &sealed, out: &mut out, authentic: false }];
            theirs.opening.key().open(&mut batch);
            assert_eq!(batch[0].authentic, authentic);
            assert_eq!(out[64..] == *b"and so on", authentic);
        }
    }

    #[test]
    fn the_last_counter_is_never_passed() {
        let now = Instant::now();
        let (mut ours, _) = pair(now);
        ours.sealing.skip_to(REJECT_AFTER_MESSAGES - 2);
        assert_eq!(ours.sealing.reserve(3), None, "all or nothing");
        assert_eq!(ours.sealing.reserve(2), Some(REJECT_AFTER_MESSAGES - 2));
        assert!(!ours.can_seal(now));
        assert_eq!((ours.sealing.reserve(1), ours.sealing.reserve(u64::MAX)), (None, None));
    }

    #[test]
    fn keys_die_of_age() {
        let now = Instant::now();
        let (ours, _) = pair(now);
        assert!(ours.can_seal(now + REJECT_AFTER_TIME - std::time::Duration::from_nanos(1)));
        assert!(!ours.can_seal(now + REJECT_AFTER_TIME) && !ours.is_alive(now + REJECT_AFTER_TIME));
    }
}
