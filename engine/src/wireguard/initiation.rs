//! The responder's look into a handshake initiation (WireGuard paper, section 5.4.2): who knocks, and with which
//! timestamp. `Tunn` then processes the message as usual.

use crate::generation::{PrivateKey, PublicKey};
use blake2::digest::{FixedOutput, Mac, Update};
use blake2::{Blake2s256, Digest};
use boringtun::noise::TunnResult;
use boringtun::noise::rate_limiter::RateLimiter;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hmac::SimpleHmac;
use std::net::IpAddr;
use std::sync::Arc;
use x25519_dalek::{PublicKey as Point, StaticSecret};
use zeroize::Zeroizing;

const CONSTRUCTION: &[u8] = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
const IDENTIFIER: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";

/// Handshakes per second that are served before initiators must prove their address by a cookie.
const HANDSHAKES_PER_SECOND: u64 = 500;

/// What an authentic initiation says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Initiation {
    /// The initiator's static key.
    pub(crate) peer: PublicKey,
    /// TAI64N; must grow per static key.
    pub(crate) timestamp: [u8; 12],
}

/// The static key at which initiators knock, with its defence against floods.
pub(crate) struct Responder {
    secret: StaticSecret,
    public: Point,
    front: RateLimiter,
    sessions: Arc<RateLimiter>,
}

impl Responder {
    pub(crate) fn new(key: &PrivateKey) -> Self {
        let secret = StaticSecret::from(*key.expose());
        let public = Point::from(&secret);
        Self {
            front: RateLimiter::new(&public, HANDSHAKES_PER_SECOND),
            sessions: Arc::new(RateLimiter::new(&public, u64::MAX)),
            secret,
            public,
        }
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        PublicKey(self.public.to_bytes())
    }

    /// The limiter for `Tunn`s behind this responder: it checks mac1 only, the flood was judged here.
    pub(crate) fn session_limiter(&self) -> Arc<RateLimiter> {
        Arc::clone(&self.sessions)
    }

    /// Opens the window for the next second's handshakes.
    pub(crate) fn reset_count(&self) {
        self.front.reset_count();
        self.sessions.reset_count();
    }

    /// Checks mac1 and, under load, mac2. `Err(Some(reply))` is a cookie reply to send back.
    pub(crate) fn admit<'a>(
        &self,
        source: IpAddr,
        message: &[u8],
        reply: &'a mut [u8],
    ) -> Result<(), Option<&'a [u8]>> {
        match self.front.verify_packet(Some(source), message, reply) {
            Ok(_) => Ok(()),
            Err(TunnResult::WriteToNetwork(cookie)) => Err(Some(cookie)),
            Err(_) => Err(None),
        }
    }

    /// Decrypts the initiator's static key and timestamp; `None` when the message is not authentic.
    pub(crate) fn read(&self, message: &[u8]) -> Option<Initiation> {
        let ephemeral: [u8; 32] = message.get(8..40)?.try_into().ok()?;
        let sealed_static = message.get(40..88)?;
        let sealed_timestamp = message.get(88..116)?;

        let chain = hash(&[CONSTRUCTION]);
        let transcript = hash(&[&hash(&[&chain, IDENTIFIER]), self.public.as_bytes()]);
        let transcript = hash(&[&transcript, &ephemeral]);
        let (chain, _) = kdf(&chain, &ephemeral);

        let shared = self.secret.diffie_hellman(&Point::from(ephemeral));
        let (chain, key) = kdf(&chain, shared.as_bytes());
        let peer: [u8; 32] = open(&key, sealed_static, &transcript)?.as_slice().try_into().ok()?;
        let transcript = hash(&[&transcript, sealed_static]);

        let shared = self.secret.diffie_hellman(&Point::from(peer));
        let (_, key) = kdf(&chain, shared.as_bytes());
        let timestamp = open(&key, sealed_timestamp, &transcript)?.as_slice().try_into().ok()?;
        Some(Initiation { peer: PublicKey(peer), timestamp })
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut state = Blake2s256::new();
    for part in parts {
        Update::update(&mut state, part);
    }
    state.finalize_fixed().into()
}

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    // HMAC fills a short key up with zeros itself; the fixed-size form cannot fail.
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    let mut state = <SimpleHmac<Blake2s256> as Mac>::new(block.as_slice().into());
    for part in parts {
        Mac::update(&mut state, part);
    }
    Zeroizing::new(state.finalize().into_bytes().into())
}

/// `KDF2` of the paper: the next chaining key and one key.
fn kdf(chain: &[u8; 32], input: &[u8]) -> ([u8; 32], Zeroizing<[u8; 32]>) {
    let secret = hmac(chain, &[input]);
    let first = hmac(&secret, &[&[1]]);
    let second = hmac(&secret, &[first.as_slice(), &[2]]);
    (*first, second)
}

fn open(key: &[u8; 32], sealed: &[u8], aad: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    ChaCha20Poly1305::new(Key::from_slice(key))
        .decrypt(&Nonce::default(), Payload { msg: sealed, aad })
        .ok()
        .map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use boringtun::noise::Tunn;

    fn initiation(from: &PrivateKey, to: PublicKey) -> Vec<u8> {
        let mut tunn = Tunn::new(StaticSecret::from(*from.expose()), Point::from(to.0), None, None, 7, None);
        let mut buffer = [0; 148];
        match tunn.format_handshake_initiation(&mut buffer, false) {
            TunnResult::WriteToNetwork(message) => message.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_key_and_timestamp_that_boringtun_wrote() {
        let (device, gateway) = (PrivateKey::new([3; 32]), PrivateKey::new([5; 32]));
        let responder = Responder::new(&gateway);
        let first = initiation(&device, gateway.public());
        let second = initiation(&device, gateway.public());
        let (a, b) = (responder.read(&first).unwrap(), responder.read(&second).unwrap());
        assert_eq!(a.peer, device.public());
        assert!(a.timestamp < b.timestamp, "{:?} {:?}", a.timestamp, b.timestamp);
    }

    #[test]
    fn any_flipped_bit_is_refused() {
        let (device, gateway) = (PrivateKey::new([3; 32]), PrivateKey::new([5; 32]));
        let responder = Responder::new(&gateway);
        let message = initiation(&device, gateway.public());
        let mut reply = [0; 64];
        for at in 8..116 {
            let mut bad = message.clone();
            bad[at] ^= 1;
            assert!(responder.read(&bad).is_none(), "byte {at}");
            assert!(responder.admit(IpAddr::from([192, 0, 2, 1]), &bad, &mut reply).is_err());
        }
        assert!(responder.admit(IpAddr::from([192, 0, 2, 1]), &message, &mut reply).is_ok());
    }

    #[test]
    fn a_flood_is_answered_with_cookies() {
        let (device, gateway) = (PrivateKey::new([3; 32]), PrivateKey::new([5; 32]));
        let responder = Responder::new(&gateway);
        let message = initiation(&device, gateway.public());
        let mut cookies = 0;
        for _ in 0..HANDSHAKES_PER_SECOND + 50 {
            let mut reply = [0; 64];
            if let Err(Some(cookie)) = responder.admit(IpAddr::from([192, 0, 2, 1]), &message, &mut reply) {
                assert_eq!(cookie.len(), 64);
                cookies += 1;
            }
        }
        assert!(cookies >= 49, "{cookies}");
    }
}
