//! The parts alone, where the whole cannot reach: keys and texts at the edges of the arithmetic.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::chacha::{self, LANES};
use super::mac::{Mac, Site, tags};
use super::memory::{lane, store};
use super::powers::{Powers, WAVE};
use super::scalar::Poly1305;
use super::{V, is_available};
use poly1305::universal_hash::{KeyInit, UniversalHash};
use std::arch::x86_64::*;

struct Here;
impl Site for Here {}

/// The tags of up to eight texts under chosen one-time keys.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
fn vector_tags(texts: &[([u8; 32], Vec<u8>)]) -> Vec<[u8; 16]> {
    let mut blocks = [_mm512_setzero_si512(); WAVE];
    for (block, (key, _)) in blocks.iter_mut().zip(texts) {
        let words: [i64; 4] = std::array::from_fn(|i| i64::from_le_bytes(key[8 * i..8 * i + 8].try_into().unwrap()));
        *block = _mm512_setr_epi64(words[0], words[1], words[2], words[3], -1, -1, -1, -1);
    }
    let mut powers = Powers::none();
    powers.start(blocks);
    while !powers.are_ready() {
        powers.advance();
    }
    let mut mac = Mac::new();
    for (packet, (_, text)) in texts.iter().enumerate() {
        while !mac.advance::<Here>(&mut powers, packet, text, text.len()) {}
    }
    tags(&powers)[..texts.len()].to_vec()
}

fn scalar_tag(key: &[u8; 32], text: &[u8]) -> [u8; 16] {
    let mut mac = Poly1305::new(std::array::from_fn(|i| u64::from_le_bytes(key[8 * i..8 * i + 8].try_into().unwrap())));
    // SAFETY: called only where every instruction of the backend is there.
    unsafe { mac.padded(text) };
    mac.lengths(0, text.len());
    mac.tag()
}

/// What another implementation says.
fn expected(key: &[u8; 32], text: &[u8]) -> [u8; 16] {
    let mut mac = poly1305::Poly1305::new(key.into());
    mac.update_padded(text);
    mac.update_padded(&u128::to_le_bytes((text.len() as u128) << 64));
    mac.finalize().into()
}

fn check(texts: &[([u8; 32], Vec<u8>)]) {
    // SAFETY: the callers return early where an instruction is missing.
    let vector = unsafe { vector_tags(texts) };
    for ((key, text), vector) in texts.iter().zip(vector) {
        let want = expected(key, text);
        assert_eq!(vector, want, "vector code, {} bytes, key {key:02x?}", text.len());
        assert_eq!(scalar_tag(key, text), want, "scalar code, {} bytes, key {key:02x?}", text.len());
    }
}

/// r as small and as large as it can be, pads that carry, texts of ones and of zeros.
#[test]
fn keys_and_texts_at_the_edges() {
    if !is_available() {
        return;
    }
    let mut keys = Vec::new();
    for r in [0, 1, 2, 4, u128::MAX, u128::MAX << 64, u128::MAX >> 64, 0x0fff_fffc_0fff_fffc_0fff_fffc_0fff_ffff] {
        for pad in [0, 1, u128::MAX, u128::from(u64::MAX)] {
            let key: [u8; 32] = [r.to_le_bytes(), pad.to_le_bytes()].concat().try_into().unwrap();
            keys.push(key);
        }
    }
    for len in (0..=400).chain([511, 512, 513, 767, 768, 1024, 1420, 4096]) {
        for fill in [0, 0xff, 0x80, 0x01] {
            for keys in keys.chunks(WAVE) {
                check(&keys.iter().map(|key| (*key, vec![fill; len])).collect::<Vec<_>>());
            }
        }
    }
}

/// With r = 1 the sum is the blocks' own: texts whose sum ends just below and just above 2^130 - 5 and 2^130.
#[test]
fn sums_around_the_modulus() {
    if !is_available() {
        return;
    }
    let mut key = [0; 32];
    key[0] = 1;
    let mut wrapped = 0;
    for whole_steps in 0..6 {
        let len = 128 * whole_steps + 80;
        for offset in 0..160_u128 {
            let mut text = vec![0; len];
            text[len - 80..len - 64].fill(0xff);
            // Six blocks bring 6 x 2^128, these two nearly 2 x 2^128, together 2^131 less a little that is chosen here.
            let chosen = 0_u128.wrapping_sub((len as u128) << 64).wrapping_sub(100).wrapping_add(offset);
            text[len - 64..len - 48].copy_from_slice(&chosen.to_le_bytes());
            let tag = u128::from_le_bytes(expected(&key, &text));
            wrapped += u32::from(tag < 160);
            check(&[(key, text)]);
        }
    }
    assert!(wrapped > 100, "the texts do not pass the modulus: {wrapped}");
}

/// RFC 8439, 2.3.2, and every shape of the block function against that of sixteen lanes.
#[test]
fn block_functions_agree() {
    if !is_available() {
        return;
    }
    // SAFETY: every instruction is there.
    unsafe { blocks_agree() };
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
fn blocks_agree() {
    let bytes: [u8; 32] = std::array::from_fn(|i| i as u8);
    let key = std::array::from_fn(|i| u32::from_le_bytes(bytes[4 * i..4 * i + 4].try_into().unwrap()));
    let spread = |from: u32, step: u32| {
        let words: [u32; 16] = std::array::from_fn(|i| from.wrapping_add(step.wrapping_mul(i as u32)));
        // SAFETY: an array of sixteen u32 is what is read.
        unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
    };
    let counters = [spread(1, 1), spread(0x0900_0000, 0), spread(0x4a00_0000, 0x1234_5677), spread(0, 3)];
    let zero = _mm512_setzero_si512();
    let mut sixteen = [zero; LANES];
    let mut holes = 0;
    chacha::sixteen(&key, counters, &mut sixteen, || holes += 1);
    let mut first = [0; 64];
    store(&mut first, sixteen[0]);
    let want = "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e\
                d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e";
    assert_eq!(hex::encode(first), want);
    let mut few = [[zero; LANES]; 3];
    chacha::few::<1>(&key, counters, &mut few[0], || holes += 1);
    chacha::few::<2>(&key, counters, &mut few[1], || holes += 1);
    chacha::few::<3>(&key, counters, &mut few[2], || holes += 1);
    assert_eq!(holes, 40);
    for (made, few) in few.iter().enumerate() {
        assert!(same(&few[..4 * (made + 1)], &sixteen), "few::<{}>", made + 1);
        assert!(few[4 * (made + 1)..].iter().all(|block| lane(block, 0) == 0), "few::<{}> wrote too much", made + 1);
    }
}

fn same(few: &[V], all: &[V; LANES]) -> bool {
    few.iter().zip(all).all(|(a, b)| (0..8).all(|i| lane(a, i) == lane(b, i)))
}
