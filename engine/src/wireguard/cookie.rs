//! mac1, mac2 and cookies (WireGuard paper, sections 5.4.4 and 5.4.7; 5.3 says why): a responder under load answers an
//! initiator with a cookie, and serves it when it comes back with a mac2 made of it, which proves its address.

use super::limits::COOKIE_TIME;
use super::message::{COOKIE_LEN, MACS};
use super::noise::{Secret, hash, mac};
use crate::random::Random;
use blake2::digest::{FixedOutput, Mac};
use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;
use zeroize::Zeroizing;

const LABEL_MAC1: &[u8] = b"mac1----";
const LABEL_COOKIE: &[u8] = b"cookie--";

type Cookie = Zeroizing<[u8; 16]>;

/// What an answer to a handshake message without mac2 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Serve it.
    Admitted,
    /// Answer with the cookie reply that was written.
    Cookie,
    /// Its mac1 is wrong: whoever sent it does not know our public key.
    Refused,
}

/// The receiver's side: checks what others send to the owner of a static key.
pub(crate) struct Checker {
    mac1_key: [u8; 32],
    cookie_key: Secret,
    /// Makes cookies; replaced when it is as old as a cookie may be.
    secret: Secret,
    secret_at: Instant,
}

impl Checker {
    pub(crate) fn new(public: &[u8; 32], random: &mut Random, now: Instant) -> Self {
        Self {
            mac1_key: hash(&[LABEL_MAC1, public]),
            cookie_key: Zeroizing::new(hash(&[LABEL_COOKIE, public])),
            secret: random.bytes(),
            secret_at: now,
        }
    }

    /// Judges a handshake message. Under load a valid mac2 is asked for, and `reply` takes a cookie for who has none.
    pub(crate) fn admit(
        &mut self,
        message: &[u8],
        source: SocketAddr,
        under_load: bool,
        random: &mut Random,
        reply: &mut [u8; COOKIE_LEN],
        now: Instant,
    ) -> Admission {
        let Some((mac1, mac2)) = checked_mac1(&self.mac1_key, message) else { return Admission::Refused };
        if !under_load {
            return Admission::Admitted;
        }
        if now.saturating_duration_since(self.secret_at) >= COOKIE_TIME {
            self.secret = random.bytes();
            self.secret_at = now;
        }
        let cookie = self.cookie(source);
        let before_mac2 = &message[..message.len() - 16];
        if mac(&cookie, &[before_mac2]).verify(mac2.into()).is_ok() {
            return Admission::Admitted;
        }
        let (head, sealed) = reply.split_at_mut(32);
        head[..4].copy_from_slice(&3_u32.to_le_bytes());
        head[4..8].copy_from_slice(&message[4..8]);
        random.fill(&mut head[8..]);
        let (text, tag) = sealed.split_at_mut(16);
        text.copy_from_slice(&cookie[..]);
        let cipher = XChaCha20Poly1305::new((&*self.cookie_key).into());
        // Fails only for texts of 2^38 bytes.
        tag.copy_from_slice(&cipher.encrypt_in_place_detached((&head[8..]).into(), mac1, text).unwrap_or_default());
        Admission::Cookie
    }

    fn cookie(&self, source: SocketAddr) -> Cookie {
        let mut address = [0; 16];
        match source.ip() {
            IpAddr::V4(ip) => address[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => address.copy_from_slice(&ip.octets()),
        }
        let cookie = mac(&self.secret, &[&address, &source.port().to_be_bytes()]);
        Zeroizing::new(cookie.finalize_fixed().into())
    }
}

/// The message's (mac1, mac2) when mac1 is right.
fn checked_mac1<'a>(key: &[u8; 32], message: &'a [u8]) -> Option<(&'a [u8; 16], &'a [u8; 16])> {
    let (message, mac2) = message.split_last_chunk::<16>()?;
    let (message, mac1) = message.split_last_chunk::<16>()?;
    mac(key, &[message]).verify(mac1.into()).ok()?;
    Some((mac1, mac2))
}

/// True when a handshake message was made for the owner of `public`.
pub(crate) fn is_for(public: &[u8; 32], message: &[u8]) -> bool {
    checked_mac1(&hash(&[LABEL_MAC1, public]), message).is_some()
}

/// The sender's side: writes both macs, and keeps the peer's cookie.
#[derive(Default)]
pub(crate) struct Jar {
    cookie: Option<(Cookie, Instant)>,
    /// mac1 of our last handshake message, to which a cookie is bound.
    last_mac1: Option<[u8; 16]>,
}

impl Jar {
    /// Completes a handshake message to the owner of `peer`.
    pub(crate) fn sign(&mut self, message: &mut [u8], peer: &[u8; 32], now: Instant) {
        let macs = message.len() - MACS;
        let mac1: [u8; 16] = mac(&hash(&[LABEL_MAC1, peer]), &[&message[..macs]]).finalize_fixed().into();
        message[macs..macs + 16].copy_from_slice(&mac1);
        self.last_mac1 = Some(mac1);
        self.cookie.take_if(|(_, since)| now.saturating_duration_since(*since) >= COOKIE_TIME);
        let mac2 = match &self.cookie {
            Some((cookie, _)) => mac(cookie, &[&message[..macs + 16]]).finalize_fixed().into(),
            None => [0; 16],
        };
        message[macs + 16..].copy_from_slice(&mac2);
    }

    /// Takes a cookie reply from the owner of `peer`; false when it does not answer our last message.
    pub(crate) fn fill(&mut self, reply: &[u8; COOKIE_LEN], peer: &[u8; 32], now: Instant) -> bool {
        let Some(last_mac1) = self.last_mac1 else { return false };
        let (nonce, sealed) = (&reply[8..32], &reply[32..48]);
        let mut cookie: Cookie = Zeroizing::new([0; 16]);
        cookie.copy_from_slice(sealed);
        let cipher = XChaCha20Poly1305::new(&hash(&[LABEL_COOKIE, peer]).into());
        let tag = Tag::from_slice(&reply[48..]);
        if cipher.decrypt_in_place_detached(nonce.into(), &last_mac1, &mut cookie[..], tag).is_err() {
            return false;
        }
        // One answer per message: a replayed one must not make the cookie look fresh.
        self.last_mac1 = None;
        self.cookie = Some((cookie, now));
        true
    }
}
