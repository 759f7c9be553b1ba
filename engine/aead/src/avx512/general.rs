//! One message under any nonce, with additional data: for vectors and for what is not the packet path.

use super::chacha::{self, LANES};
use super::memory::{lane, wipe};
use super::scalar::Poly1305;
use super::wave::{Job, put};
use super::{Key, V};
use std::arch::x86_64::*;

/// En- or decrypts one message and leaves its tag.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
pub(super) fn run<const OPEN: bool>(key: &Key, aad: &[u8], job: &mut Job<'_>) {
    let mut stream = [_mm512_setzero_si512(); LANES];
    make(key, job.nonce, 0, &mut stream);
    let mut mac = Poly1305::new(std::array::from_fn(|i| lane(&stream[0], i)));
    mac.padded(aad);
    if OPEN {
        mac.padded(job.body);
    }
    // The first block is Poly1305's key, the text begins with the second.
    let (mut block, mut skip, mut from, mut to) = (0, 1, job.body, &mut *job.out);
    while !to.is_empty() {
        if block != 0 {
            make(key, job.nonce, block, &mut stream);
        }
        let count = to.len().min((LANES - skip) * 64);
        let (now, next) = to.split_at_mut(count);
        put(&stream[skip..], &from[..count], now);
        (from, to) = (&from[count..], next);
        (block, skip) = (block + LANES as u32, 0);
    }
    if !OPEN {
        mac.padded(job.out);
    }
    mac.lengths(aad.len(), job.body.len());
    job.tag = mac.tag();
    wipe(&mut stream);
}

/// Sixteen blocks from number `block` on.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
fn make(key: &Key, nonce: [u32; 3], block: u32, stream: &mut [V; LANES]) {
    let mut counters = [_mm512_setzero_si512(); 4];
    let lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    counters[0] = _mm512_add_epi32(lane, _mm512_set1_epi32(block.cast_signed()));
    for i in 0..3 {
        counters[1 + i] = _mm512_set1_epi32(nonce[i].cast_signed());
    }
    let mut words = chacha::words(&key.0, counters, || ());
    chacha::blocks(&words, stream);
    wipe(&mut words);
}
