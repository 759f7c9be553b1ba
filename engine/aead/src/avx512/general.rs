//! One message alone, with any nonce and additional data: for vectors, and for short packets, whose Poly1305 is done
//! sooner block by block than the powers for eight at a time are made.

use super::chacha::{self, Counters, LANES};
use super::memory::{lane, wipe};
use super::scalar::Poly1305;
use super::wave::put;
use super::{Key, V};
use std::arch::x86_64::*;

/// A message on its way through.
pub(super) struct Message<'a> {
    pub(super) nonce: [u32; 3],
    pub(super) aad: &'a [u8],
    pub(super) body: &'a [u8],
    /// As long as `body`.
    pub(super) out: &'a mut [u8],
}

/// En- or decrypts one message and gives the tag of its encrypted text.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
pub(super) fn run<const OPEN: bool>(key: &Key, message: Message<'_>) -> [u8; 16] {
    let Message { nonce, aad, body, out } = message;
    let mut stream = [_mm512_setzero_si512(); LANES];
    // The first block is Poly1305's key, the text begins with the second. What is opened is authenticated between the
    // rounds of later blocks, for which the key has to be there early.
    let made = match out.len() {
        193..=448 if !OPEN => few::<2>(key, nonce, 0, &mut stream, || ()),
        449.. if !OPEN => few::<3>(key, nonce, 0, &mut stream, || ()),
        _ => few::<1>(key, nonce, 0, &mut stream, || ()),
    };
    let mut mac = Poly1305::new(std::array::from_fn(|i| lane(&stream[0], i)));
    mac.padded(aad);
    let mut done = out.len().min((made - 1) * 64);
    put(&stream[1..made], &body[..done], &mut out[..done]);
    let mut taken = 0;
    while done < out.len() {
        let block = 1 + (done / 64) as u32;
        let hole = || {
            if OPEN && let Some(next) = body.get(taken..).and_then(|text| text.first_chunk()) {
                mac.four(next);
                taken += 64;
            }
        };
        let made = match out.len() - done {
            0..=256 => few::<1>(key, nonce, block, &mut stream, hole),
            257..=512 => few::<2>(key, nonce, block, &mut stream, hole),
            _ => {
                chacha::sixteen(&key.0, numbered(nonce, block), &mut stream, hole);
                LANES
            }
        };
        let to = out.len().min(done + made * 64);
        put(&stream[..made], &body[done..to], &mut out[done..to]);
        done = to;
    }
    mac.padded(if OPEN { &body[taken..] } else { &out[taken..] });
    mac.lengths(aad.len(), body.len());
    wipe(&mut stream);
    mac.tag()
}

/// `4 * N` blocks of one message, from number `block` on; gives their number.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
fn few<const N: usize>(key: &Key, nonce: [u32; 3], block: u32, stream: &mut [V; LANES], hole: impl FnMut()) -> usize {
    chacha::few::<N>(&key.0, numbered(nonce, block), stream, hole);
    4 * N
}

/// The counters of sixteen blocks of one message, from number `block` on.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
fn numbered(nonce: [u32; 3], block: u32) -> Counters {
    let lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    let [a, b, c] = nonce.map(u32::cast_signed);
    let block = _mm512_add_epi32(lane, _mm512_set1_epi32(block.cast_signed()));
    [block, _mm512_set1_epi32(a), _mm512_set1_epi32(b), _mm512_set1_epi32(c)]
}
