//! The responder's look into a handshake initiation (WireGuard paper, section 5.4.2): who knocks, and with which
//! timestamp. The session that waits for that key then answers.

use super::cookie::{Admission, Checker};
use super::handshake::{Initiation, Knock};
use super::message::COOKIE_LEN;
use super::noise::{Secret, shared};
use crate::generation::{PrivateKey, PublicKey};
use crate::random::Random;
use boringtun::noise::rate_limiter::RateLimiter;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use x25519_dalek::{PublicKey as Point, StaticSecret};

/// Handshakes per second that are served before initiators must prove their address by a cookie.
const HANDSHAKES_PER_SECOND: u32 = 500;
const SECOND: Duration = Duration::from_secs(1);

/// The static key at which initiators knock, with its defence against floods.
pub(crate) struct Responder {
    secret: StaticSecret,
    public: Point,
    checker: Checker,
    random: Random,
    /// Handshakes since the second began.
    count: u32,
    second: Instant,
    /// Made when the first `Tunn` is.
    limiter: Option<Arc<RateLimiter>>,
}

impl Responder {
    pub(crate) fn new(key: &PrivateKey, mut random: Random, now: Instant) -> Self {
        let secret = StaticSecret::from(*key.expose());
        let public = Point::from(&secret);
        Self {
            checker: Checker::new(public.as_bytes(), &mut random, now),
            random,
            count: 0,
            second: now,
            limiter: None,
            secret,
            public,
        }
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        PublicKey(self.public.to_bytes())
    }

    /// The public key of `key`, which as a rule is the one at which initiators knock: a gateway has thousands of sessions
    /// under it.
    pub(crate) fn public_key_of(&self, key: &PrivateKey) -> PublicKey {
        let differences = key.expose().iter().zip(self.secret.as_bytes()).fold(0, |all, (a, b)| all | (a ^ b));
        if differences == 0 { self.public_key() } else { key.public() }
    }

    /// The limiter for `Tunn`s behind this responder: it checks mac1 only, the flood was judged here.
    pub(crate) fn session_limiter(&mut self) -> Arc<RateLimiter> {
        let public = &self.public;
        Arc::clone(self.limiter.get_or_insert_with(|| Arc::new(RateLimiter::new(public, u64::MAX))))
    }

    /// Checks mac1 and, under load (which `busy` says, or many handshakes within a second), mac2. `reply` takes the cookie to send back.
    pub(crate) fn admit(
        &mut self,
        source: SocketAddr,
        message: &[u8],
        busy: bool,
        reply: &mut [u8; COOKIE_LEN],
        now: Instant,
    ) -> Admission {
        if now.saturating_duration_since(self.second) >= SECOND {
            (self.count, self.second) = (0, now);
        }
        let under_load = busy || self.count >= HANDSHAKES_PER_SECOND;
        let admission = self.checker.admit(message, source, under_load, &mut self.random, reply, now);
        if admission != Admission::Refused {
            self.count = self.count.saturating_add(1);
        }
        admission
    }

    /// Decrypts who knocks; `None` when the message is not for us.
    pub(crate) fn read(&self, message: &[u8]) -> Option<Knock> {
        Knock::read(message, &self.secret, self.public.as_bytes())
    }

    /// Opens the rest of the initiation. `kept` is `DH` of both static keys, if the session has kept it.
    pub(crate) fn authenticate(&self, knock: Knock, message: &[u8], kept: Option<&Secret>) -> Option<Initiation> {
        match kept {
            Some(kept) => knock.authenticate(message, kept),
            None => {
                let shared = shared(&self.secret, &knock.peer)?;
                knock.authenticate(message, &shared)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::random::Seed;
    use boringtun::noise::{Tunn, TunnResult};

    const FROM: ([u8; 4], u16) = ([192, 0, 2, 1], 51820);

    fn initiation(tunn: &mut Tunn) -> Vec<u8> {
        let mut buffer = [0; 148];
        match tunn.format_handshake_initiation(&mut buffer, true) {
            TunnResult::WriteToNetwork(message) => message.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    fn world(now: Instant) -> (Responder, PrivateKey, Tunn) {
        let (device, gateway) = (PrivateKey::new([3; 32]), PrivateKey::new([5; 32]));
        let public = Point::from(gateway.public().0);
        let tunn = Tunn::new(StaticSecret::from(*device.expose()), public, None, None, 7, None);
        (Responder::new(&gateway, Random::new(&Seed::new([1; 32])), now), device, tunn)
    }

    #[test]
    fn reads_key_and_timestamp_that_boringtun_wrote() {
        let (responder, device, mut tunn) = world(Instant::now());
        let mut read = || {
            let message = initiation(&mut tunn);
            let knock = responder.read(&message).unwrap();
            assert_eq!(knock.peer, device.public().0);
            responder.authenticate(knock, &message, None).unwrap().timestamp
        };
        let (first, second) = (read(), read());
        assert!(first < second, "{first:?} {second:?}");
    }

    #[test]
    fn a_flood_is_answered_with_cookies_which_boringtun_brings_back() {
        let now = Instant::now();
        let (mut responder, _, mut tunn) = world(now);
        let message = initiation(&mut tunn);
        let mut reply = [0; COOKIE_LEN];
        for _ in 0..HANDSHAKES_PER_SECOND {
            assert_eq!(responder.admit(FROM.into(), &message, false, &mut reply, now), Admission::Admitted);
        }
        assert_eq!(responder.admit(FROM.into(), &message, false, &mut reply, now), Admission::Cookie);
        assert!(matches!(tunn.decapsulate(None, &reply, &mut [0; 148]), TunnResult::Done));
        let proof = initiation(&mut tunn);
        assert_eq!(responder.admit(FROM.into(), &proof, false, &mut reply, now), Admission::Admitted);
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 51821));
        assert_eq!(responder.admit(elsewhere, &proof, false, &mut reply, now), Admission::Cookie, "another port");
        assert_eq!(
            responder.admit(FROM.into(), &message, false, &mut reply, now + SECOND),
            Admission::Admitted,
            "quiet again"
        );
        for _ in 0..HANDSHAKES_PER_SECOND {
            responder.admit(FROM.into(), &message, false, &mut reply, now + 119 * SECOND);
        }
        assert_eq!(responder.admit(FROM.into(), &proof, false, &mut reply, now + 119 * SECOND), Admission::Admitted);
        for _ in 0..HANDSHAKES_PER_SECOND {
            responder.admit(FROM.into(), &message, false, &mut reply, now + 121 * SECOND);
        }
        assert_eq!(
            responder.admit(FROM.into(), &proof, false, &mut reply, now + 121 * SECOND),
            Admission::Cookie,
            "too old"
        );
    }

    #[test]
    fn a_wrong_mac1_is_refused_and_counts_for_nothing() {
        let now = Instant::now();
        let (mut responder, _, mut tunn) = world(now);
        let (message, mut reply) = (initiation(&mut tunn), [0; COOKIE_LEN]);
        for at in 0..132 {
            let mut bad = message.clone();
            bad[at] ^= 1;
            for _ in 0..10 {
                assert_eq!(responder.admit(FROM.into(), &bad, false, &mut reply, now), Admission::Refused, "byte {at}");
            }
        }
        assert_eq!(responder.admit(FROM.into(), &message, false, &mut reply, now), Admission::Admitted);
    }
}
