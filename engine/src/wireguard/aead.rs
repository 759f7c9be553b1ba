//! The transport's AEAD, ChaCha20-Poly1305 with the message counter as nonce and no associated data, out of place.

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};

/// Bytes that authenticate a sealed packet.
pub(crate) const TAG: usize = 16;

/// One packet to seal: `head` and `body` back to back.
pub(crate) struct Seal<'a> {
    pub(crate) counter: u64,
    pub(crate) head: &'a [u8],
    pub(crate) body: &'a [u8],
    /// As long as both and the tag.
    pub(crate) out: &'a mut [u8],
}

/// One packet to open.
pub(crate) struct Open<'a> {
    pub(crate) counter: u64,
    pub(crate) sealed: &'a [u8],
    /// As long as `sealed` without its tag.
    pub(crate) out: &'a mut [u8],
    /// The answer.
    pub(crate) authentic: bool,
}

/// A transport key.
pub(crate) struct Key(ChaCha20Poly1305);

impl Key {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(ChaCha20Poly1305::new(key.into()))
    }

    pub(crate) fn seal(&self, packets: &mut [Seal<'_>]) {
        for packet in packets {
            let Some((text, tag)) = packet.out.split_last_chunk_mut::<TAG>() else { continue };
            let (head, body) = text.split_at_mut(packet.head.len());
            head.copy_from_slice(packet.head);
            body.copy_from_slice(packet.body);
            let sealed = self.0.encrypt_in_place_detached(&nonce(packet.counter), &[], text).unwrap_or_default();
            tag.copy_from_slice(&sealed);
        }
    }

    pub(crate) fn open(&self, packets: &mut [Open<'_>]) {
        for packet in packets {
            packet.authentic = false;
            let Some((text, tag)) = packet.sealed.split_last_chunk::<TAG>() else { continue };
            packet.out.copy_from_slice(text);
            let opened =
                self.0.decrypt_in_place_detached(&nonce(packet.counter), &[], packet.out, Tag::from_slice(tag));
            packet.authentic = opened.is_ok();
        }
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = Nonce::default();
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}
