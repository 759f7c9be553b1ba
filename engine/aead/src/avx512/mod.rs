//! Our own code for x86-64 with AVX-512. All of it is safe code but for the loads and stores in `memory` and the calls
//! below into functions compiled for these instructions.
//!
//! No branch and no address depends on a secret: what is branched on and indexed with are lengths, counts and places.

#![allow(unsafe_code)]

mod chacha;
mod general;
mod mac;
mod memory;
mod poly;
mod powers;
mod scalar;
#[cfg(test)]
mod tests;
mod wave;

use crate::key::{Open, Refused, Seal, TAG_LEN};
use general::Message;
use std::sync::OnceLock;
use subtle::ConstantTimeEq;
use wave::Packet;
use zeroize::Zeroize;

type V = std::arch::x86_64::__m512i;

/// The key's words. Exists only where [`is_available`] said so.
pub(crate) struct Key([u32; 8]);

/// Whether this processor has every instruction used here.
pub(crate) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512ifma")
            && is_x86_feature_detected!("avx512vbmi2")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("adx")
    })
}

impl Key {
    /// The key, unless this processor lacks an instruction.
    pub(crate) fn new(key: &[u8; 32]) -> Option<Self> {
        let (words, _) = key.as_chunks::<4>();
        is_available().then(|| Self(std::array::from_fn(|i| u32::from_le_bytes(words[i]))))
    }

    pub(crate) fn seal(&self, packets: &mut [Seal<'_>]) {
        // SAFETY: a `Key` exists only where every instruction named by the callee does, see `new`.
        unsafe { seal_batch(self, packets) };
    }

    pub(crate) fn open(&self, packets: &mut [Open<'_>]) {
        // SAFETY: as in `seal`.
        unsafe { open_batch(self, packets) };
    }

    pub(crate) fn seal_with(&self, nonce: &[u8; 12], aad: &[u8], plaintext: &[u8], out: &mut [u8]) {
        let Some((out, tag)) = out.split_last_chunk_mut::<TAG_LEN>() else { return };
        let message = Message { nonce: nonce_words(nonce), aad, body: plaintext, out };
        // SAFETY: as in `seal`.
        let tag_made = unsafe { general::run::<false>(self, message) };
        *tag = tag_made;
    }

    pub(crate) fn open_with(&self, nonce: &[u8; 12], aad: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<(), Refused> {
        let Some((body, tag)) = sealed.split_last_chunk::<TAG_LEN>() else { return Err(Refused) };
        let message = Message { nonce: nonce_words(nonce), aad, body, out };
        // SAFETY: as in `seal`.
        let tag_made = unsafe { general::run::<true>(self, message) };
        if tag_made.ct_eq(tag).into() {
            return Ok(());
        }
        out.fill(0);
        Err(Refused)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
fn seal_batch(key: &Key, packets: &mut [Seal<'_>]) {
    if !is_brief(packets) {
        return wave::run(key, packets);
    }
    for packet in packets {
        let nonce = counter_words(packet.counter);
        if let (true, Some((out, tag))) = (packet.head.is_empty(), packet.out.split_last_chunk_mut::<TAG_LEN>()) {
            *tag = general::run::<false>(key, Message { nonce, aad: &[], body: packet.body, out });
        } else {
            wave::run(key, std::slice::from_mut(packet));
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
fn open_batch(key: &Key, packets: &mut [Open<'_>]) {
    if is_brief(packets) {
        for packet in packets.iter_mut() {
            let (nonce, body) = (counter_words(packet.counter), &packet.sealed[..packet.out.len()]);
            let tag = general::run::<true>(key, Message { nonce, aad: &[], body, out: packet.out });
            packet.conclude(&tag);
        }
    } else {
        wave::run(key, packets);
    }
    for packet in packets {
        if !packet.authentic {
            packet.out.fill(0);
        }
    }
}

/// Whether the packets are so few and short that one by one (`general`) is faster than all at once (`wave`). Measured:
/// see docs/decisions/0011-avx512-aead.md.
fn is_brief(packets: &[impl Packet]) -> bool {
    match packets {
        [packet] => packet.encrypted().len() <= 704,
        [a, b] => a.encrypted().len().max(b.encrypted().len()) <= 128,
        _ => false,
    }
}

impl Packet for Seal<'_> {
    const OPENED: bool = false;

    #[inline]
    fn nonce(&self) -> [u32; 3] {
        counter_words(self.counter)
    }

    #[inline]
    fn texts(&mut self) -> (&[u8], &[u8], &mut [u8]) {
        let len = self.head.len() + self.body.len();
        (self.head, self.body, &mut self.out[..len])
    }

    #[inline]
    fn encrypted(&self) -> &[u8] {
        &self.out[..self.head.len() + self.body.len()]
    }

    #[inline]
    fn conclude(&mut self, tag: &[u8; TAG_LEN]) {
        let len = self.head.len() + self.body.len();
        self.out[len..].copy_from_slice(tag);
    }
}

impl Packet for Open<'_> {
    const OPENED: bool = true;

    #[inline]
    fn nonce(&self) -> [u32; 3] {
        counter_words(self.counter)
    }

    #[inline]
    fn texts(&mut self) -> (&[u8], &[u8], &mut [u8]) {
        (&[], &self.sealed[..self.out.len()], self.out)
    }

    #[inline]
    fn encrypted(&self) -> &[u8] {
        &self.sealed[..self.out.len()]
    }

    #[inline]
    fn conclude(&mut self, tag: &[u8; TAG_LEN]) {
        // A packet shorter than a tag has none to compare with; slices of different lengths are not equal.
        self.authentic = tag.ct_eq(&self.sealed[self.out.len()..]).into();
    }
}

fn counter_words(counter: u64) -> [u32; 3] {
    [0, counter as u32, (counter >> 32) as u32]
}

fn nonce_words(nonce: &[u8; 12]) -> [u32; 3] {
    let (words, _) = nonce.as_chunks::<4>();
    std::array::from_fn(|i| u32::from_le_bytes(words[i]))
}
