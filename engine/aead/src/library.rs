//! The library's code: `aws-lc-rs`, which wipes the key when it frees it.

use crate::key::{Open, Refused, Seal, TAG_LEN, nonce};
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

pub(crate) struct Key(LessSafeKey);

impl Key {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        match UnboundKey::new(&CHACHA20_POLY1305, key) {
            Ok(key) => Self(LessSafeKey::new(key)),
            // It refuses keys of another length and nothing else; what is left is that it had no memory.
            Err(_) => panic!("no memory for a ChaCha20-Poly1305 key"),
        }
    }

    pub(crate) fn seal(&self, packet: &mut Seal<'_>) {
        self.seal_with(&nonce(packet.counter), &[], packet.head, packet.body, packet.out);
    }

    pub(crate) fn open(&self, packet: &mut Open<'_>) {
        packet.authentic = self.open_with(&nonce(packet.counter), &[], packet.sealed, packet.out).is_ok();
    }

    /// One plaintext is sealed out of place. The library's `extra_in` is XORed byte by byte and therefore of no use for
    /// a second part: two parts are copied together and sealed in place.
    pub(crate) fn seal_with(&self, nonce: &[u8; 12], aad: &[u8], head: &[u8], body: &[u8], out: &mut [u8]) {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let (text, tag) = out.split_at_mut(head.len() + body.len());
        let sealed = if head.is_empty() {
            self.0.seal_out_of_place_scatter(nonce, Aad::from(aad), body, text, &[], tag)
        } else {
            let (first, rest) = text.split_at_mut(head.len());
            first.copy_from_slice(head);
            rest.copy_from_slice(body);
            let sealed = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), text);
            sealed.map(|made| tag.copy_from_slice(made.as_ref()))
        };
        // It refuses lengths that do not fit and texts above 256 GiB; the caller has checked both.
        assert!(sealed.is_ok(), "plaintext of {} bytes is too long for one nonce", head.len() + body.len());
    }

    pub(crate) fn open_with(&self, nonce: &[u8; 12], aad: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<(), Refused> {
        let Some((text, tag)) = sealed.split_last_chunk::<TAG_LEN>() else { return Err(Refused) };
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0.open_separate_gather(nonce, Aad::from(aad), text, tag, out).map_err(|_| {
            out.fill(0);
            Refused
        })
    }
}
