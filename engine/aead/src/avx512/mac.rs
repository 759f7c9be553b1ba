//! Poly1305 of a wave's packets, cut into steps short enough to be put between ChaCha20's rounds.

use super::V;
use super::memory::{lane, wipe};
use super::poly::{LIMB_42, LIMB_44, Limbs, Product, last_blocks, whole_blocks};
use super::powers::{Powers, WAVE};
use std::arch::x86_64::*;

/// Where a step is called from. Every place has its own copy of the code: a function with a single caller is inlined
/// whatever its size, and a call between ChaCha20's rounds would move all of their state to memory and back.
pub(super) trait Site {}

/// The Poly1305 of one packet after the other.
pub(super) struct Mac {
    /// Bytes taken in.
    done: usize,
    /// All of the text and the lengths are taken in.
    whole: bool,
    sum: Limbs,
}

impl Mac {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    #[inline]
    pub(super) fn new() -> Self {
        let zero = _mm512_setzero_si512();
        Self { done: 0, whole: false, sum: [zero; 3] }
    }

    /// Takes one step in the text of one packet, of which the first `there` bytes can be had; that is nothing if too
    /// few of them can. True when the packet is done and the next one's turn has come.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    #[inline]
    pub(super) fn advance<S: Site>(&mut self, powers: &mut Powers, packet: usize, text: &[u8], there: usize) -> bool {
        let Some(rest) = text.get(self.done..there) else { return false };
        if let Some(step) = rest.first_chunk() {
            self.two_steps::<S>(powers, packet, step);
        } else if there < text.len() {
        } else if rest.len() > 112 {
            // As long as the last step, which also holds the block of lengths, would not fit them.
            self.one_step::<S>(powers, packet, &rest[..rest.len().min(128)]);
        } else if !self.whole {
            self.last_step::<S>(powers, packet, rest, text.len());
        } else {
            let mut product = Product::starting_from([_mm512_setzero_si512(); 3]);
            product.add(self.sum, powers.row(packet));
            powers.keep(packet, product.joined());
            self.done = 0;
            self.whole = false;
            return true;
        }
        false
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    #[inline]
    fn two_steps<S: Site>(&mut self, powers: &Powers, packet: usize, bytes: &[u8; 256]) {
        let (first, second) = bytes.split_at(128);
        let mut product = Product::starting_from(whole_blocks(second));
        product.add(whole_blocks(first), powers.eighth(packet));
        if self.done != 0 {
            product.add(self.sum, powers.sixteenth(packet));
        }
        self.sum = product.reduced();
        self.done += bytes.len();
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    #[inline]
    fn one_step<S: Site>(&mut self, powers: &Powers, packet: usize, bytes: &[u8]) {
        let mut product = Product::starting_from(whole_blocks(bytes));
        if self.done != 0 {
            product.add(self.sum, powers.eighth(packet));
        }
        self.sum = product.reduced();
        self.done += bytes.len();
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    #[inline]
    fn last_step<S: Site>(&mut self, powers: &Powers, packet: usize, rest: &[u8], len: usize) {
        let blocks = rest.len().div_ceil(16) + 1;
        let last = last_blocks(rest, blocks, len);
        if self.done == 0 {
            self.sum = last;
        } else {
            let mut product = Product::starting_from(last);
            product.add(self.sum, powers.power(packet, blocks));
            self.sum = product.reduced();
        }
        self.done = len;
        self.whole = true;
    }

    /// Overwrites all of it.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    pub(super) fn wipe(&mut self) {
        wipe(&mut self.sum);
    }
}

/// The tags of a wave whose packets are all done: sums over the lanes, wholly reduced, plus the pads.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
pub(super) fn tags(powers: &Powers) -> [[u8; 16]; WAVE] {
    let [mask_44, mask_42] = [_mm512_set1_epi64(LIMB_44), _mm512_set1_epi64(LIMB_42)];
    let [d0, d1, d2, top] = [total(powers, 0), total(powers, 1), total(powers, 2), total(powers, 3)];
    let d1 = _mm512_add_epi64(d1, _mm512_srli_epi64::<44>(d0));
    let d2 = _mm512_add_epi64(d2, _mm512_srli_epi64::<44>(d1));
    // What lies above 2^130 comes back five times.
    let above = _mm512_add_epi64(_mm512_srli_epi64::<42>(d2), _mm512_slli_epi64::<2>(top));
    let above = _mm512_add_epi64(above, _mm512_slli_epi64::<2>(above));
    let d0 = _mm512_add_epi64(_mm512_and_si512(d0, mask_44), above);
    let d1 = _mm512_add_epi64(_mm512_and_si512(d1, mask_44), _mm512_srli_epi64::<44>(d0));
    let d2 = _mm512_add_epi64(_mm512_and_si512(d2, mask_42), _mm512_srli_epi64::<44>(d1));
    let [d0, d1] = [_mm512_and_si512(d0, mask_44), _mm512_and_si512(d1, mask_44)];
    // h - p is h + 5 - 2^130; it is taken if it is not negative.
    let e0 = _mm512_add_epi64(d0, _mm512_set1_epi64(5));
    let e1 = _mm512_add_epi64(d1, _mm512_srli_epi64::<44>(e0));
    let e2 = _mm512_add_epi64(d2, _mm512_srli_epi64::<44>(e1));
    let less = _mm512_cmpgt_epu64_mask(e2, mask_42);
    let d0 = _mm512_mask_and_epi64(d0, less, e0, mask_44);
    let d1 = _mm512_mask_and_epi64(d1, less, e1, mask_44);
    let d2 = _mm512_mask_mov_epi64(d2, less, e2);
    let low = _mm512_or_si512(d0, _mm512_slli_epi64::<44>(d1));
    let high = _mm512_or_si512(_mm512_srli_epi64::<20>(d1), _mm512_slli_epi64::<24>(d2));
    let [pad_low, pad_high] = powers.pads();
    let low = _mm512_add_epi64(low, pad_low);
    let carry = _mm512_maskz_set1_epi64(_mm512_cmplt_epu64_mask(low, pad_low), 1);
    let high = _mm512_add_epi64(_mm512_add_epi64(high, pad_high), carry);
    let mut tags = [[0; 16]; WAVE];
    for (packet, tag) in tags.iter_mut().enumerate() {
        *tag = (u128::from(lane(&low, packet)) | u128::from(lane(&high, packet)) << 64).to_le_bytes();
    }
    tags
}

/// One limb of each packet, added up over the lanes, in a lane for each packet.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
fn total(powers: &Powers, limb: usize) -> V {
    let mut pairs = [_mm512_setzero_si512(); 4];
    for (pair, packets) in pairs.iter_mut().zip(powers.sums().as_chunks::<2>().0) {
        let [a, b] = [packets[0][limb], packets[1][limb]];
        *pair = _mm512_add_epi64(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    }
    let [a, b, c, d] = pairs;
    added_quarters(added_quarters(a, b), added_quarters(c, d))
}

/// The sums of neighbouring quarters, those of `a` before those of `b`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
fn added_quarters(a: V, b: V) -> V {
    _mm512_add_epi64(_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b))
}
