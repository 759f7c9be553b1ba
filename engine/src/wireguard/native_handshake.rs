//! The native session's handshakes.

use super::cookie::is_for;
use super::handshake::Initiation;
use super::message::{INITIATION_LEN, Message, RESPONSE_LEN};
use super::native::Native;
use super::noise::Secret;
use super::session::Opened;
use std::time::Instant;

impl Native {
    /// Writes an initiation, also when one is under way, which it replaces. Gives its length, 0 when there is no room
    /// for it.
    pub(crate) fn initiate(&mut self, room: &mut [u8], now: Instant) -> usize {
        let Some(message) = room.first_chunk_mut::<INITIATION_LEN>() else { return 0 };
        // An index whose initiation was never answered names nothing yet.
        let index = match self.initiated.take() {
            Some(unanswered) => unanswered.index,
            None => self.fresh_index(),
        };
        let timestamp = self.stamps.next(now);
        let initiated = self.parties.initiate(index, timestamp, &mut self.random, message);
        self.timers.initiated(self.usable_until(now), &mut self.random, now);
        // A peer whose key is a point of low order cannot be talked to.
        let Some(initiated) = initiated else { return 0 };
        self.initiated = Some(Box::new(initiated));
        self.jar.sign(message, self.parties.peer(), now);
        INITIATION_LEN
    }

    /// `DH` of both static keys, for the responder's look at an initiation.
    pub(crate) fn shared(&mut self) -> Option<&Secret> {
        self.parties.shared()
    }

    /// Answers an initiation that the responder has found authentic and newer than all before.
    pub(crate) fn respond(&mut self, initiation: Initiation, room: &mut [u8], now: Instant) -> Opened {
        let Some(message) = room.first_chunk_mut::<RESPONSE_LEN>() else { return Opened::Refused };
        let index = self.fresh_index();
        let Some(keys) = self.parties.respond(initiation, index, &mut self.random, message) else {
            return Opened::Refused;
        };
        self.jar.sign(message, self.parties.peer(), now);
        self.timers.received(now);
        self.timers.sent(now);
        self.establish(&keys, now);
        Opened::Reply(RESPONSE_LEN)
    }

    /// Takes a response or a cookie reply. After a response `room` holds a keepalive, which confirms the keys.
    pub(crate) fn answered(&mut self, message: &[u8], room: &mut [u8], now: Instant) -> Opened {
        match Message::parse(message) {
            Some(Message::Response { receiver }) => {
                let initiated = self.initiated.as_ref().filter(|initiated| initiated.index == receiver);
                let Some(initiated) = initiated.filter(|_| is_for(self.parties.public(), message)) else {
                    return Opened::Refused;
                };
                let Some(keys) = self.parties.finish(initiated, message) else { return Opened::Refused };
                self.initiated = None;
                self.timers.received(now);
                self.establish(&keys, now);
                self.timers.confirmed(now);
                match self.keepalive(room, now) {
                    0 => Opened::Nothing,
                    len => Opened::Reply(len),
                }
            }
            Some(Message::Cookie { .. }) => match message.try_into() {
                Ok(reply) if self.jar.fill(reply, self.parties.peer(), now) => Opened::Nothing,
                _ => Opened::Refused,
            },
            _ => Opened::Refused,
        }
    }
}
