//! The sessions of a pair of peers: the one in use, the one to come, and those that were replaced (WireGuard paper,
//! section 6.1 and, for the order of events, 6.2 to 6.3).

use super::limits::REJECT_AFTER_TIME;
use super::transport::{Keypair, TransportKeys};
use std::time::Instant;

/// Keys that were replaced and still open what is in flight. The paper has one; three are needed so that handshakes that
/// cross lose nothing: ours that were in use, the peer's that were in use, and the peer's that it has just offered.
const OLD: usize = 3;

/// All keys of a session.
#[derive(Default)]
pub(crate) struct Keypairs {
    /// Everything leaves under these.
    current: Option<Box<Keypair>>,
    /// We answered an initiation; nothing leaves under these before the peer has used them.
    next: Option<Box<Keypair>>,
    /// Newest first.
    old: [Option<Box<Keypair>>; OLD],
    serial: u64,
}

impl Keypairs {
    /// New keys: as initiator for use at once, as responder once the peer has used them.
    pub(crate) fn establish(&mut self, keys: &TransportKeys, now: Instant) {
        self.serial += 1;
        let keypair = Keypair::new(keys, self.serial, now);
        if keys.initiator {
            let before = self.current.replace(keypair);
            self.set_aside(before);
            // The peer may send under what it offered until it knows that we have chosen.
            let next = self.next.take();
            self.set_aside(next);
        } else {
            let stale = self.next.replace(keypair);
            self.set_aside(stale);
        }
    }

    /// The peer has sent under `receiver`: true when that puts the next keys into use.
    pub(crate) fn confirm(&mut self, receiver: u32) -> bool {
        let Some(next) = self.next.take_if(|next| next.opening.index() == receiver) else { return false };
        let before = self.current.replace(next);
        self.set_aside(before);
        true
    }

    fn set_aside(&mut self, keypair: Option<Box<Keypair>>) {
        if let Some(keypair) = keypair {
            self.old.rotate_right(1);
            self.old[0] = Some(keypair);
        }
    }

    /// Forgets keys of `Reject-After-Time`.
    pub(crate) fn expire(&mut self, now: Instant) {
        for slot in [&mut self.current, &mut self.next].into_iter().chain(&mut self.old) {
            slot.take_if(|keypair| !keypair.is_alive(now));
        }
    }

    /// When the next keys reach that age.
    pub(crate) fn expire_at(&self) -> Option<Instant> {
        self.iter().map(|keypair| keypair.created_at + REJECT_AFTER_TIME).min()
    }

    /// Forgets all.
    pub(crate) fn zero(&mut self) {
        *self = Self { serial: self.serial, ..Self::default() };
    }

    /// The keys in use.
    pub(crate) fn current(&self) -> Option<&Keypair> {
        self.current.as_deref()
    }

    /// The keys in use, if they may still seal.
    pub(crate) fn usable(&mut self, now: Instant) -> Option<&mut Keypair> {
        self.current.as_deref_mut().filter(|current| current.can_seal(now))
    }

    /// Until when they may, if they may.
    pub(crate) fn usable_until(&self, now: Instant) -> Option<Instant> {
        let current = self.current().filter(|current| current.can_seal(now))?;
        Some(current.created_at + REJECT_AFTER_TIME)
    }

    /// The keys under our index `receiver`.
    pub(crate) fn find(&mut self, receiver: u32) -> Option<&mut Keypair> {
        let mut all = [&mut self.current, &mut self.next].into_iter().chain(&mut self.old).flatten();
        all.find(|keypair| keypair.opening.index() == receiver).map(|keypair| &mut **keypair)
    }

    /// True when the keys under `index` are younger than those under `than`. Those that are gone are the oldest.
    pub(crate) fn is_later(&self, index: u32, than: u32) -> bool {
        let serial = |index| self.iter().find(|keypair| keypair.opening.index() == index).map(|found| found.serial);
        serial(index) > serial(than)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Keypair> {
        [&self.current, &self.next].into_iter().chain(&self.old).flatten().map(|keypair| &**keypair)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use zeroize::Zeroizing;

    fn keys(index: u32, initiator: bool) -> TransportKeys {
        let key = Zeroizing::new([index as u8; 32]);
        TransportKeys { send: key.clone(), receive: key, index, receiver: index + 100, initiator }
    }

    fn state(keypairs: &Keypairs) -> (Option<u32>, Option<u32>, Vec<u32>) {
        let index = |slot: &Option<Box<Keypair>>| slot.as_ref().map(|keypair| keypair.opening.index());
        (index(&keypairs.current), index(&keypairs.next), keypairs.old.iter().filter_map(index).collect())
    }

    #[test]
    fn an_initiator_uses_new_keys_at_once_and_a_responder_after_the_peer() {
        let now = Instant::now();
        let mut keypairs = Keypairs::default();
        keypairs.establish(&keys(1, true), now);
        assert_eq!(state(&keypairs), (Some(1), None, vec![]));
        keypairs.establish(&keys(2, false), now);
        keypairs.establish(&keys(3, false), now);
        assert_eq!(state(&keypairs), (Some(1), Some(3), vec![2]), "a second offer replaces the first");
        assert!(!keypairs.confirm(2) && !keypairs.confirm(1) && keypairs.confirm(3) && !keypairs.confirm(3));
        assert_eq!(state(&keypairs), (Some(3), None, vec![1, 2]));
        keypairs.establish(&keys(4, false), now);
        keypairs.establish(&keys(5, true), now);
        assert_eq!(state(&keypairs), (Some(5), None, vec![4, 3, 1]), "our own win, the offer stays good");
        assert!(keypairs.is_later(5, 4) && !keypairs.is_later(3, 4) && keypairs.is_later(1, 2));
        assert!(keypairs.find(4).is_some() && keypairs.find(2).is_none());
    }

    #[test]
    fn keys_go_one_by_one_as_they_age() {
        let now = Instant::now();
        let mut keypairs = Keypairs::default();
        keypairs.establish(&keys(1, true), now);
        let later = now + REJECT_AFTER_TIME / 2;
        keypairs.establish(&keys(2, true), later);
        assert_eq!(keypairs.expire_at(), Some(now + REJECT_AFTER_TIME));
        keypairs.expire(now + REJECT_AFTER_TIME);
        assert_eq!(state(&keypairs), (Some(2), None, vec![]));
        assert_eq!(keypairs.usable_until(later), Some(later + REJECT_AFTER_TIME));
        assert!(keypairs.usable(later + REJECT_AFTER_TIME).is_none());
        keypairs.zero();
        assert_eq!((state(&keypairs), keypairs.expire_at()), ((None, None, vec![]), None));
    }
}
