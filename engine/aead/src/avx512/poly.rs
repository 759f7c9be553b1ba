//! Arithmetic for Poly1305 (RFC 8439, 2.5), eight numbers at a time.
//!
//! Numbers mod 2^130 - 5 are three limbs of 44, 44 and 42 bits, in a 64-bit lane each, which suits the 52-bit multiply
//! and add instructions. Eight blocks are taken in together: lane l of a register works on block `LANE_BLOCK[l]` of every
//! 128 bytes, and is multiplied by r^8 from step to step and at the end by the power of r that it still lacks.

use super::V;
use super::memory::load_pair;
use std::arch::x86_64::*;

pub(super) const LIMB_44: i64 = (1 << 44) - 1;
pub(super) const LIMB_42: i64 = (1 << 42) - 1;
/// 2^128, the bit above every block, in the third limb.
const ABOVE_BLOCK: i64 = 1 << 40;

/// The block (of eight) in each lane, as interleaving two loads of four blocks leaves them.
pub(super) const LANE_BLOCK: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];
/// The lanes of the last k blocks of eight, at k.
const LAST_BLOCKS: [u8; 9] = {
    let mut masks = [0; 9];
    let mut k = 0;
    while k <= 8 {
        let mut lane = 0;
        while lane < 8 {
            if LANE_BLOCK[lane] + k >= 8 {
                masks[k] |= 1 << lane;
            }
            lane += 1;
        }
        k += 1;
    }
    masks
};

pub(super) type Limbs = [V; 3];
/// What to multiply by: three limbs, and 20 times the upper two (2^132 is 20 mod 2^130 - 5).
pub(super) type Factor = [V; 5];

/// Sums of the low and high halves of products, by limb.
pub(super) struct Product {
    pub(super) low: Limbs,
    pub(super) high: Limbs,
}

impl Product {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    #[inline]
    pub(super) fn starting_from(low: Limbs) -> Self {
        Self { low, high: [_mm512_setzero_si512(); 3] }
    }

    /// Adds `a * b`. Limbs stay far below 2^52 and up to sixteen sums below 2^56.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    #[inline]
    pub(super) fn add(&mut self, a: Limbs, [r0, r1, r2, s1, s2]: Factor) {
        for (a, row) in a.into_iter().zip([[r0, r1, r2], [s2, r0, r1], [s1, s2, r0]]) {
            for ((low, high), r) in self.low.iter_mut().zip(&mut self.high).zip(row) {
                *low = _mm512_madd52lo_epu64(*low, a, r);
                *high = _mm512_madd52hi_epu64(*high, a, r);
            }
        }
    }

    /// Adds the high halves in their place: 2^52 is 2^8 of the next limb. The fourth value's weight is 2^132.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    #[inline]
    pub(super) fn joined(self) -> [V; 4] {
        let [h0, h1, h2] = self.high.map(|high| _mm512_slli_epi64::<8>(high));
        [self.low[0], _mm512_add_epi64(self.low[1], h0), _mm512_add_epi64(self.low[2], h1), h2]
    }

    /// Limbs of 44, a little over 44, and 42 bits.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    #[inline]
    pub(super) fn reduced(self) -> Limbs {
        let mask = _mm512_set1_epi64(LIMB_44);
        let [d0, d1, d2, top] = self.joined();
        let d1 = _mm512_add_epi64(d1, _mm512_srli_epi64::<44>(d0));
        let d2 = _mm512_add_epi64(d2, _mm512_srli_epi64::<44>(d1));
        // What lies above 2^130 comes back five times.
        let above = _mm512_add_epi64(_mm512_srli_epi64::<42>(d2), _mm512_slli_epi64::<2>(top));
        let above = _mm512_add_epi64(above, _mm512_slli_epi64::<2>(above));
        let d0 = _mm512_add_epi64(_mm512_and_si512(d0, mask), above);
        let d1 = _mm512_add_epi64(_mm512_and_si512(d1, mask), _mm512_srli_epi64::<44>(d0));
        [_mm512_and_si512(d0, mask), d1, _mm512_and_si512(d2, _mm512_set1_epi64(LIMB_42))]
    }
}

/// `a * b`, reduced.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
pub(super) fn multiply(a: Limbs, b: Factor) -> Limbs {
    let mut product = Product::starting_from([_mm512_setzero_si512(); 3]);
    product.add(a, b);
    product.reduced()
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
pub(super) fn factor([r0, r1, r2]: Limbs) -> Factor {
    let twenty = |limb| _mm512_add_epi64(_mm512_slli_epi64::<4>(limb), _mm512_slli_epi64::<2>(limb));
    [r0, r1, r2, twenty(r1), twenty(r2)]
}

/// Numbers of 128 bits as limbs.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
pub(super) fn limbs(low: V, high: V) -> Limbs {
    let mask = _mm512_set1_epi64(LIMB_44);
    [
        _mm512_and_si512(low, mask),
        _mm512_and_si512(_mm512_shrdi_epi64::<44>(low, high), mask),
        _mm512_srli_epi64::<24>(high),
    ]
}

/// Eight blocks (the last one perhaps cut short) as numbers, 2^128 added to each.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
pub(super) fn whole_blocks(bytes: &[u8]) -> Limbs {
    let [a, b] = load_pair(bytes);
    let [m0, m1, m2] = limbs(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    [m0, m1, _mm512_or_si512(m2, _mm512_set1_epi64(ABOVE_BLOCK))]
}

/// The last `blocks` blocks: what is left of the text, then the lengths, at the end of eight.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
pub(super) fn last_blocks(rest: &[u8], blocks: usize, len: usize) -> Limbs {
    let [a, b] = load_pair(rest);
    // Lane i takes lane i - 2 (8 - blocks) of the sixteen; where that is negative, nothing.
    let shift = 16 - 2 * blocks as i64;
    let index = _mm512_sub_epi64(_mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_epi64(shift));
    let first = _mm512_maskz_permutexvar_epi64((0xffff_u32 << shift) as u8, index, a);
    let index = _mm512_add_epi64(index, _mm512_set1_epi64(8));
    let second = _mm512_permutex2var_epi64(a, index, b);
    // The top block is the lengths': no additional data, `len` bytes of text.
    let second = _mm512_mask_set1_epi64(second, 0x80, len as i64);
    let [m0, m1, m2] = limbs(_mm512_unpacklo_epi64(first, second), _mm512_unpackhi_epi64(first, second));
    let above = _mm512_maskz_set1_epi64(LAST_BLOCKS[blocks], ABOVE_BLOCK);
    [m0, m1, _mm512_or_si512(m2, above)]
}

/// The 8 x 8 transposition of 64-bit elements.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
pub(super) fn transposed(rows: [V; 8]) -> [V; 8] {
    let mut pairs = [_mm512_setzero_si512(); 8];
    for i in 0..4 {
        pairs[i] = _mm512_unpacklo_epi64(rows[2 * i], rows[2 * i + 1]);
        pairs[4 + i] = _mm512_unpackhi_epi64(rows[2 * i], rows[2 * i + 1]);
    }
    let mut out = [_mm512_setzero_si512(); 8];
    for odd in 0..2 {
        let [a, b, c, d] = [pairs[4 * odd], pairs[4 * odd + 1], pairs[4 * odd + 2], pairs[4 * odd + 3]];
        let columns = super::chacha::quarters_transposed([a, b, c, d]);
        for i in 0..4 {
            out[2 * i + odd] = columns[i];
        }
    }
    out
}
