//! Our own code for x86-64 with AVX-512. All of it is safe code but for the loads and stores in `memory` and the calls
//! below into functions compiled for these instructions.
//!
//! No branch and no address depends on a secret: what is branched on and indexed with are lengths, counts and places.

#![allow(unsafe_code)]

mod chacha;
mod general;
mod memory;
mod poly;
mod scalar;
mod wave;

use crate::key::{Open, Refused, Seal, TAG_LEN};
use poly::WAVE;
use std::sync::OnceLock;
use subtle::ConstantTimeEq;
use wave::Job;
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
    })
}

impl Key {
    /// The key, unless this processor lacks an instruction.
    pub(crate) fn new(key: &[u8; 32]) -> Option<Self> {
        let (words, _) = key.as_chunks::<4>();
        is_available().then(|| Self(std::array::from_fn(|i| u32::from_le_bytes(words[i]))))
    }

    pub(crate) fn seal(&self, packets: &mut [Seal<'_>]) {
        for packets in packets.chunks_mut(WAVE) {
            // SAFETY: a `Key` exists only where every instruction named by the callee does, see `new`.
            unsafe { seal_wave(self, packets) };
        }
    }

    pub(crate) fn open(&self, packets: &mut [Open<'_>]) {
        for packets in packets.chunks_mut(WAVE) {
            // SAFETY: as in `seal`.
            unsafe { open_wave(self, packets) };
        }
    }

    pub(crate) fn seal_with(&self, nonce: &[u8; 12], aad: &[u8], plaintext: &[u8], out: &mut [u8]) {
        let Some((out, tag)) = out.split_last_chunk_mut::<TAG_LEN>() else { return };
        let mut job = Job { nonce: nonce_words(nonce), body: plaintext, out, ..Job::default() };
        // SAFETY: as in `seal`.
        unsafe { general::run::<false>(self, aad, &mut job) };
        *tag = job.tag;
    }

    pub(crate) fn open_with(&self, nonce: &[u8; 12], aad: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<(), Refused> {
        let Some((body, tag)) = sealed.split_last_chunk::<TAG_LEN>() else { return Err(Refused) };
        let mut job = Job { nonce: nonce_words(nonce), body, out, ..Job::default() };
        // SAFETY: as in `seal`.
        unsafe { general::run::<true>(self, aad, &mut job) };
        if job.tag.ct_eq(tag).into() {
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

/// Seals up to [`WAVE`] packets.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
fn seal_wave(key: &Key, packets: &mut [Seal<'_>]) {
    let mut jobs = <[Job<'_>; WAVE]>::default();
    let mut tags: [&mut [u8]; WAVE] = Default::default();
    let count = packets.len();
    for ((packet, job), tag) in packets.iter_mut().zip(&mut jobs).zip(&mut tags) {
        let nonce = counter_words(packet.counter);
        let (out, space) = packet.out.split_at_mut(packet.head.len() + packet.body.len());
        *job = Job { nonce, head: packet.head, body: packet.body, out, tag: [0; 16] };
        *tag = space;
    }
    wave::run::<false>(key, &mut jobs[..count]);
    for (job, tag) in jobs.iter().zip(&mut tags).take(count) {
        tag.copy_from_slice(&job.tag);
    }
}

/// Opens up to [`WAVE`] packets.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
fn open_wave(key: &Key, packets: &mut [Open<'_>]) {
    let mut jobs = <[Job<'_>; WAVE]>::default();
    let count = packets.len();
    for (packet, job) in packets.iter_mut().zip(&mut jobs) {
        let body = &packet.sealed[..packet.out.len()];
        *job = Job { nonce: counter_words(packet.counter), body, out: packet.out, ..Job::default() };
    }
    wave::run::<true>(key, &mut jobs[..count]);
    let tags = jobs.map(|job| job.tag);
    for (packet, tag) in packets.iter_mut().zip(tags) {
        // A packet shorter than a tag has none to compare with; slices of different lengths are not equal.
        packet.authentic = tag.ct_eq(&packet.sealed[packet.out.len()..]).into();
        if !packet.authentic {
            packet.out.fill(0);
        }
    }
}

fn counter_words(counter: u64) -> [u32; 3] {
    [0, counter as u32, (counter >> 32) as u32]
}

fn nonce_words(nonce: &[u8; 12]) -> [u32; 3] {
    let (words, _) = nonce.as_chunks::<4>();
    std::array::from_fn(|i| u32::from_le_bytes(words[i]))
}
