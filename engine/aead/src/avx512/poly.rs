//! Poly1305 (RFC 8439, 2.5), eight blocks at a time: lane l of a register works on block `LANE_BLOCK[l]` of every 128
//! bytes, multiplied by r^8 from step to step and at the end by what is left of the powers.
//!
//! Numbers mod 2^130 - 5 are three limbs of 44, 44 and 42 bits, in a 64-bit lane each, which suits the 52-bit multiply
//! and add instructions.

use super::memory::{lane, load_pair, wipe};
use super::{V, scalar};
use std::arch::x86_64::*;

/// Packets whose powers are made together.
pub(super) const WAVE: usize = 8;

const LIMB_44: i64 = (1 << 44) - 1;
const LIMB_42: i64 = (1 << 42) - 1;
/// 2^128, the bit above every block, in the third limb.
const ABOVE_BLOCK: i64 = 1 << 40;

/// The block (of eight) in each lane, as interleaving two loads of four blocks leaves them.
const LANE_BLOCK: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];
/// The lane that holds r^k among a packet's powers, at k - 1: that of block 8 - k.
const POWER_LANE: [usize; 8] = [7, 5, 3, 1, 6, 4, 2, 0];
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

type Limbs = [V; 3];
/// What to multiply by: three limbs, and 20 times the upper two (2^132 is 20 mod 2^130 - 5).
type Factor = [V; 5];

/// The powers of the one-time keys of up to eight packets, and the pads.
pub(super) struct Powers {
    /// By packet: r^8, r^4, r^7, r^3 .. r^1 (see `LANE_BLOCK`), limb by limb.
    rows: [Limbs; WAVE],
    /// r^8 and r^16, one lane for each packet.
    eighth: Factor,
    sixteenth: Factor,
    pads: [V; 2],
}

impl Powers {
    /// From the first eight words of sixteen key blocks, of which the first eight count.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
    #[inline]
    pub(super) fn new(words: &[V; 8]) -> Self {
        let pair = |i: usize| {
            let low = _mm512_cvtepu32_epi64(_mm512_castsi512_si256(words[i]));
            let high = _mm512_cvtepu32_epi64(_mm512_castsi512_si256(words[i + 1]));
            _mm512_or_si512(low, _mm512_slli_epi64::<32>(high))
        };
        let low = _mm512_and_si512(pair(0), _mm512_set1_epi64(0x0fff_fffc_0fff_ffff));
        let high = _mm512_and_si512(pair(2), _mm512_set1_epi64(0x0fff_fffc_0fff_fffc));
        let mut powers = [[_mm512_setzero_si512(); 3]; 8];
        powers[0] = limbs(low, high);
        let first = factor(powers[0]);
        powers[1] = multiply(powers[0], first);
        let second = factor(powers[1]);
        powers[2] = multiply(powers[0], second);
        powers[3] = multiply(powers[1], second);
        let fourth = factor(powers[3]);
        for i in 0..4 {
            powers[4 + i] = multiply(powers[i], fourth);
        }
        let eighth = factor(powers[7]);
        let sixteenth = factor(multiply(powers[7], eighth));
        let mut rows = [[_mm512_setzero_si512(); 3]; WAVE];
        for limb in 0..3 {
            let by_packet = transposed([7, 3, 6, 2, 5, 1, 4, 0].map(|power| powers[power][limb]));
            for packet in 0..WAVE {
                rows[packet][limb] = by_packet[packet];
            }
        }
        Self { rows, eighth, sixteenth, pads: [pair(4), pair(6)] }
    }

    /// Overwrites all of it.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
    pub(super) fn wipe(&mut self) {
        wipe(self.rows.as_flattened_mut());
        wipe(&mut self.eighth);
        wipe(&mut self.sixteenth);
        wipe(&mut self.pads);
    }

    /// r^k of one packet in every lane.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
    #[inline]
    fn power(&self, packet: usize, k: usize) -> Factor {
        let at = POWER_LANE[k - 1];
        factor([0, 1, 2].map(|limb| every(&self.rows[packet][limb], at)))
    }
}

/// One packet's Poly1305 as far as it has come.
pub(super) struct Mac {
    packet: usize,
    len: usize,
    done: usize,
    sum: Limbs,
}

impl Mac {
    /// For the text of `len` bytes of the packet with this place among the powers.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
    #[inline]
    pub(super) fn new(packet: usize, len: usize) -> Self {
        Self { packet, len, done: 0, sum: [_mm512_setzero_si512(); 3] }
    }

    /// Bytes taken in.
    pub(super) fn done(&self) -> usize {
        self.done
    }

    /// Takes in 256 bytes.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
    #[inline]
    pub(super) fn step(&mut self, powers: &Powers, bytes: &[u8; 256]) {
        let (first, second) = bytes.split_at(128);
        let eighth = powers.eighth.each_ref().map(|limb| every(limb, self.packet));
        let mut product = Product::starting_from(whole_blocks(second));
        product.add(whole_blocks(first), eighth);
        if self.done != 0 {
            let sixteenth = powers.sixteenth.each_ref().map(|limb| every(limb, self.packet));
            product.add(self.sum, sixteenth);
        }
        self.sum = product.reduced();
        self.done += 256;
    }

    /// Takes in the rest of the text and gives the tag.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
    #[inline]
    pub(super) fn finish(&mut self, powers: &Powers, mut rest: &[u8]) -> [u8; 16] {
        // Eight blocks at a time as long as the last step, which also holds the block of lengths, would not fit them.
        while rest.len() > 112 {
            let (step, next) = rest.split_at(rest.len().min(128));
            let mut product = Product::starting_from(whole_blocks(step));
            if self.done != 0 {
                let eighth = powers.eighth.each_ref().map(|limb| every(limb, self.packet));
                product.add(self.sum, eighth);
            }
            self.sum = product.reduced();
            self.done += step.len();
            rest = next;
        }
        let blocks = rest.len().div_ceil(16) + 1;
        let last = last_blocks(rest, blocks, self.len);
        let mut sum = last;
        if self.done != 0 {
            let mut product = Product::starting_from(last);
            product.add(self.sum, powers.power(self.packet, blocks));
            sum = product.reduced();
        }
        let mut product = Product::starting_from([_mm512_setzero_si512(); 3]);
        product.add(sum, factor(powers.rows[self.packet]));
        product.tag([lane(&powers.pads[0], self.packet), lane(&powers.pads[1], self.packet)])
    }
}

/// Sums of the low and high halves of products, by limb.
struct Product {
    low: Limbs,
    high: Limbs,
}

impl Product {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
    #[inline]
    fn starting_from(low: Limbs) -> Self {
        Self { low, high: [_mm512_setzero_si512(); 3] }
    }

    /// Adds `a * b`. Limbs stay far below 2^52 and up to sixteen sums below 2^56.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
    #[inline]
    fn add(&mut self, a: Limbs, [r0, r1, r2, s1, s2]: Factor) {
        for (a, row) in a.into_iter().zip([[r0, r1, r2], [s2, r0, r1], [s1, s2, r0]]) {
            for ((low, high), r) in self.low.iter_mut().zip(&mut self.high).zip(row) {
                *low = _mm512_madd52lo_epu64(*low, a, r);
                *high = _mm512_madd52hi_epu64(*high, a, r);
            }
        }
    }

    /// Adds the high halves in their place: 2^52 is 2^8 of the next limb. The fourth value's weight is 2^132.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
    #[inline]
    fn joined(self) -> [V; 4] {
        let [h0, h1, h2] = self.high.map(|high| _mm512_slli_epi64::<8>(high));
        [self.low[0], _mm512_add_epi64(self.low[1], h0), _mm512_add_epi64(self.low[2], h1), h2]
    }

    /// Limbs of 44, a little over 44, and 42 bits.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
    #[inline]
    fn reduced(self) -> Limbs {
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

    /// The sum over all lanes, wholly reduced, plus the pad.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
    #[inline]
    fn tag(self, pad: [u64; 2]) -> [u8; 16] {
        let [d0, d1, d2, top] = self.joined().map(|lanes| _mm512_reduce_add_epi64(lanes).cast_unsigned());
        let (mask_44, mask_42) = (LIMB_44.cast_unsigned(), LIMB_42.cast_unsigned());
        let d1 = d1 + (d0 >> 44);
        let d2 = d2 + (d1 >> 44);
        let d0 = (d0 & mask_44) + 5 * ((d2 >> 42) + (top << 2));
        let d1 = (d1 & mask_44) + (d0 >> 44);
        let d2 = (d2 & mask_42) + (d1 >> 44);
        let low = u128::from(d0 & mask_44) | u128::from(d1 & mask_44) << 44 | u128::from(d2) << 88;
        scalar::tag(low, d2 >> 40, pad)
    }
}

/// `a * b`, reduced.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
#[inline]
fn multiply(a: Limbs, b: Factor) -> Limbs {
    let mut product = Product::starting_from([_mm512_setzero_si512(); 3]);
    product.add(a, b);
    product.reduced()
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
#[inline]
fn factor([r0, r1, r2]: Limbs) -> Factor {
    let twenty = |limb| _mm512_add_epi64(_mm512_slli_epi64::<4>(limb), _mm512_slli_epi64::<2>(limb));
    [r0, r1, r2, twenty(r1), twenty(r2)]
}

/// One lane, in all of them.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
#[inline]
fn every(value: &V, index: usize) -> V {
    _mm512_set1_epi64(lane(value, index).cast_signed())
}

/// Numbers of 128 bits as limbs.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
#[inline]
fn limbs(low: V, high: V) -> Limbs {
    let mask = _mm512_set1_epi64(LIMB_44);
    [
        _mm512_and_si512(low, mask),
        _mm512_and_si512(_mm512_shrdi_epi64::<44>(low, high), mask),
        _mm512_srli_epi64::<24>(high),
    ]
}

/// Eight blocks (the last one perhaps cut short) as numbers, 2^128 added to each.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
#[inline]
fn whole_blocks(bytes: &[u8]) -> Limbs {
    let [a, b] = load_pair(bytes);
    let [m0, m1, m2] = limbs(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    [m0, m1, _mm512_or_si512(m2, _mm512_set1_epi64(ABOVE_BLOCK))]
}

/// The last `blocks` blocks: what is left of the text, then the lengths, at the end of eight.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
#[inline]
fn last_blocks(rest: &[u8], blocks: usize, len: usize) -> Limbs {
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
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2")]
#[inline]
fn transposed(rows: [V; 8]) -> [V; 8] {
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
