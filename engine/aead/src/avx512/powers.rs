//! The powers of Poly1305's one-time keys, for the packets of a wave together: one lane for each packet.

use super::V;
use super::memory::{lane, wipe};
use super::poly::{Factor, Limbs, factor, limbs, multiply, transposed};
use std::arch::x86_64::*;

/// Packets whose powers are made together.
pub(super) const WAVE: usize = 8;

/// The lane that holds r^k among a packet's powers, at k - 1: that of block 8 - k.
const POWER_LANE: [usize; 8] = [7, 5, 3, 1, 6, 4, 2, 0];

/// The powers of the keys of up to eight packets, and the pads.
pub(super) struct Powers {
    /// While they are made: r^1 to r^8, limb by limb, one lane for each packet. Then by packet: r^8, r^4, r^7, r^3 .. r^1
    /// (see `poly::LANE_BLOCK`). At last, for each packet that is done, the sum in four limbs that still have to be added
    /// up over the lanes.
    rows: [[V; 4]; WAVE],
    /// r^8 and r^16, one lane for each packet.
    eighth: Factor,
    sixteenth: Factor,
    pads: [V; 2],
    stage: u8,
}

/// Stages of the work: without keys; done.
const NONE: u8 = u8::MAX;
const READY: u8 = 5;

impl Powers {
    /// Of no keys yet.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    #[inline]
    pub(super) fn none() -> Self {
        let zero = _mm512_setzero_si512();
        Self { rows: [[zero; 4]; WAVE], eighth: [zero; 5], sixteenth: [zero; 5], pads: [zero; 2], stage: NONE }
    }

    /// Starts from the packets' key blocks, of which the first four times 64 bits count.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    #[inline]
    pub(super) fn start(&mut self, blocks: [V; WAVE]) {
        let [low, high, pad_low, pad_high, ..] = transposed(blocks);
        let low = _mm512_and_si512(low, _mm512_set1_epi64(0x0fff_fffc_0fff_ffff));
        let high = _mm512_and_si512(high, _mm512_set1_epi64(0x0fff_fffc_0fff_fffc));
        set(&mut self.rows[0], limbs(low, high));
        self.pads = [pad_low, pad_high];
        self.stage = 0;
    }

    /// Whether there are keys.
    #[inline]
    pub(super) fn are_there(&self) -> bool {
        self.stage != NONE
    }

    /// Whether there is no work left.
    #[inline]
    pub(super) fn are_ready(&self) -> bool {
        self.stage == READY
    }

    /// Does a fifth of the work.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    pub(super) fn advance(&mut self) {
        match self.stage {
            0 => self.make(1, 0, 0),
            1 => {
                self.make(2, 0, 1);
                self.make(3, 1, 1);
            }
            2 => {
                self.make(4, 0, 3);
                self.make(5, 1, 3);
            }
            3 => {
                self.make(6, 2, 3);
                self.make(7, 3, 3);
                self.eighth = factor(self.limbs(7));
            }
            _ => {
                self.sixteenth = factor(multiply(self.limbs(7), self.eighth));
                for limb in 0..3 {
                    let by_power = [7, 3, 6, 2, 5, 1, 4, 0].map(|power: usize| self.rows[power][limb]);
                    for (row, power) in self.rows.iter_mut().zip(transposed(by_power)) {
                        row[limb] = power;
                    }
                }
            }
        }
        self.stage += 1;
    }

    /// Makes r^(product + 1) of r^(a + 1) and r^(b + 1).
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    #[inline]
    fn make(&mut self, product: usize, a: usize, b: usize) {
        let limbs = multiply(self.limbs(a), factor(self.limbs(b)));
        set(&mut self.rows[product], limbs);
    }

    #[inline]
    fn limbs(&self, row: usize) -> Limbs {
        let [r0, r1, r2, _] = self.rows[row];
        [r0, r1, r2]
    }

    /// r^8 in every lane.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    #[inline]
    pub(super) fn eighth(&self, packet: usize) -> Factor {
        let [r0, r1, r2, s1, s2] = &self.eighth;
        [every(r0, packet), every(r1, packet), every(r2, packet), every(s1, packet), every(s2, packet)]
    }

    /// r^16 in every lane.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    #[inline]
    pub(super) fn sixteenth(&self, packet: usize) -> Factor {
        let [r0, r1, r2, s1, s2] = &self.sixteenth;
        [every(r0, packet), every(r1, packet), every(r2, packet), every(s1, packet), every(s2, packet)]
    }

    /// r^k in every lane, for k from 1 to 8.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    #[inline]
    pub(super) fn power(&self, packet: usize, k: usize) -> Factor {
        let at = POWER_LANE[k - 1];
        let [r0, r1, r2, _] = &self.rows[packet];
        factor([every(r0, at), every(r1, at), every(r2, at)])
    }

    /// In each lane what its block still lacks.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    #[inline]
    pub(super) fn row(&self, packet: usize) -> Factor {
        factor(self.limbs(packet))
    }

    /// Keeps the sum of a packet that is done, in place of its powers.
    #[inline]
    pub(super) fn keep(&mut self, packet: usize, sum: [V; 4]) {
        self.rows[packet] = sum;
    }

    /// The sums of the packets that are done.
    #[inline]
    pub(super) fn sums(&self) -> &[[V; 4]; WAVE] {
        &self.rows
    }

    /// What is added to the sums in the end, one lane for each packet: the lower and the upper 64 bits.
    pub(super) fn pads(&self) -> [V; 2] {
        self.pads
    }

    /// Overwrites all of it, if there is anything.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
    pub(super) fn wipe(&mut self) {
        if !self.are_there() {
            return;
        }
        self.stage = NONE;
        wipe(self.rows.as_flattened_mut());
        wipe(&mut self.eighth);
        wipe(&mut self.sixteenth);
        wipe(&mut self.pads);
    }
}

fn set(row: &mut [V; 4], [r0, r1, r2]: Limbs) {
    (row[0], row[1], row[2]) = (r0, r1, r2);
}

/// One lane, in all of them.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
fn every(value: &V, index: usize) -> V {
    _mm512_set1_epi64(lane(value, index).cast_signed())
}
