//! ChaCha20 (RFC 8439, 2.3), sixteen blocks at a time: each of the sixteen registers holds one word of the state, each
//! 32-bit lane of a register belongs to another block. The lanes are free to belong to different packets, since block
//! counter and nonce differ by lane.

use super::V;
use std::arch::x86_64::*;

/// Blocks made at a time.
pub(super) const LANES: usize = 16;

/// "expand 32-byte k" (RFC 8439, 2.3).
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// Block counters and nonces of sixteen blocks: words 12 to 15 of their states.
pub(super) type Counters = [V; 4];

/// Sixteen blocks. `hole` runs ten times, after each double round: work put there fills the
/// execution ports that the rounds leave idle.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
pub(super) fn sixteen(key: &[u32; 8], counters: Counters, blocks: &mut [V; 16], mut hole: impl FnMut()) {
    let set = |word: u32| _mm512_set1_epi32(word.cast_signed());
    let mut state = [_mm512_setzero_si512(); 16];
    for i in 0..4 {
        state[i] = set(CONSTANTS[i]);
        state[12 + i] = counters[i];
    }
    for i in 0..8 {
        state[4 + i] = set(key[i]);
    }
    for _ in 0..10 {
        double_round(&mut state);
        hole();
    }
    for i in 0..4 {
        state[i] = _mm512_add_epi32(state[i], set(CONSTANTS[i]));
        state[12 + i] = _mm512_add_epi32(state[12 + i], counters[i]);
    }
    for i in 0..8 {
        state[4 + i] = _mm512_add_epi32(state[4 + i], set(key[i]));
    }
    arrange(&state, blocks);
}

/// Four quarter rounds side by side, so that neighbouring instructions do not wait for one another.
macro_rules! quarter_rounds {
    ($x:ident: $([$a:literal $b:literal $c:literal $d:literal])*) => {
        $($x[$a] = _mm512_add_epi32($x[$a], $x[$b]);)*
        $($x[$d] = _mm512_rol_epi32::<16>(_mm512_xor_si512($x[$d], $x[$a]));)*
        $($x[$c] = _mm512_add_epi32($x[$c], $x[$d]);)*
        $($x[$b] = _mm512_rol_epi32::<12>(_mm512_xor_si512($x[$b], $x[$c]));)*
        $($x[$a] = _mm512_add_epi32($x[$a], $x[$b]);)*
        $($x[$d] = _mm512_rol_epi32::<8>(_mm512_xor_si512($x[$d], $x[$a]));)*
        $($x[$c] = _mm512_add_epi32($x[$c], $x[$d]);)*
        $($x[$b] = _mm512_rol_epi32::<7>(_mm512_xor_si512($x[$b], $x[$c]));)*
    };
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
fn double_round(x: &mut [V; 16]) {
    quarter_rounds!(x: [0 4 8 12] [1 5 9 13] [2 6 10 14] [3 7 11 15]);
    quarter_rounds!(x: [0 5 10 15] [1 6 11 12] [2 7 8 13] [3 4 9 14]);
}

/// A round of whole rows, of `$n` times four blocks.
macro_rules! row_round {
    ($a:ident $b:ident $c:ident $d:ident, $n:ident) => {
        row_round!(@half $a $b $c $d, $n, 16, 12);
        row_round!(@half $a $b $c $d, $n, 8, 7);
    };
    (@half $a:ident $b:ident $c:ident $d:ident, $n:ident, $first:literal, $second:literal) => {
        for i in 0..$n {
            $a[i] = _mm512_add_epi32($a[i], $b[i]);
            $d[i] = _mm512_rol_epi32::<$first>(_mm512_xor_si512($d[i], $a[i]));
        }
        for i in 0..$n {
            $c[i] = _mm512_add_epi32($c[i], $d[i]);
            $b[i] = _mm512_rol_epi32::<$second>(_mm512_xor_si512($b[i], $c[i]));
        }
    };
}

/// Turns words of sixteen blocks into sixteen blocks.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
fn arrange(words: &[V; 16], blocks: &mut [V; 16]) {
    // Within each quarter of a register: rows of four words, as a 4 x 4 transposition of 32-bit elements.
    let mut rows = [_mm512_setzero_si512(); 16];
    for q in 0..4 {
        let [a, b, c, d] = [words[4 * q], words[4 * q + 1], words[4 * q + 2], words[4 * q + 3]];
        let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        rows[4 * q] = _mm512_unpacklo_epi64(ab_low, cd_low);
        rows[4 * q + 1] = _mm512_unpackhi_epi64(ab_low, cd_low);
        rows[4 * q + 2] = _mm512_unpacklo_epi64(ab_high, cd_high);
        rows[4 * q + 3] = _mm512_unpackhi_epi64(ab_high, cd_high);
    }
    // Between quarters: a 4 x 4 transposition of 128-bit elements.
    for i in 0..4 {
        let [a, b, c, d] = quarters_transposed([rows[i], rows[4 + i], rows[8 + i], rows[12 + i]]);
        blocks[i] = a;
        blocks[4 + i] = b;
        blocks[8 + i] = c;
        blocks[12 + i] = d;
    }
}

/// The 4 x 4 transposition of 128-bit elements.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
pub(super) fn quarters_transposed([a, b, c, d]: [V; 4]) -> [V; 4] {
    let (ab_low, ab_high) = (_mm512_shuffle_i32x4::<0x44>(a, b), _mm512_shuffle_i32x4::<0xee>(a, b));
    let (cd_low, cd_high) = (_mm512_shuffle_i32x4::<0x44>(c, d), _mm512_shuffle_i32x4::<0xee>(c, d));
    [
        _mm512_shuffle_i32x4::<0x88>(ab_low, cd_low),
        _mm512_shuffle_i32x4::<0xdd>(ab_low, cd_low),
        _mm512_shuffle_i32x4::<0x88>(ab_high, cd_high),
        _mm512_shuffle_i32x4::<0xdd>(ab_high, cd_high),
    ]
}

/// The first `4 * N` of sixteen blocks, for when there is no more to do: each register holds a row of the state (RFC
/// 8439, 2.3) of four blocks, which wastes no lane and costs a shuffle for every three rounds of arithmetic.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
pub(super) fn few<const N: usize>(key: &[u32; 8], counters: Counters, blocks: &mut [V; 16], mut hole: impl FnMut()) {
    let row = |words: &[u32; 4]| {
        let [a, b, c, d] = words.map(u32::cast_signed);
        _mm512_broadcast_i32x4(_mm_setr_epi32(a, b, c, d))
    };
    let (keys, _) = key.as_chunks::<4>();
    let [a, b, c, d] = counters;
    let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    let last = quarters_transposed([
        _mm512_unpacklo_epi64(ab_low, cd_low),
        _mm512_unpackhi_epi64(ab_low, cd_low),
        _mm512_unpacklo_epi64(ab_high, cd_high),
        _mm512_unpackhi_epi64(ab_high, cd_high),
    ]);
    let (first, second, third) = (row(&CONSTANTS), row(&keys[0]), row(&keys[1]));
    let mut a = [first; N];
    let mut b = [second; N];
    let mut c = [third; N];
    let mut d = [last[0]; N];
    d.copy_from_slice(&last[..N]);
    for _ in 0..10 {
        row_round!(a b c d, N);
        for i in 0..N {
            b[i] = _mm512_shuffle_epi32::<0b00_11_10_01>(b[i]);
            c[i] = _mm512_shuffle_epi32::<0b01_00_11_10>(c[i]);
            d[i] = _mm512_shuffle_epi32::<0b10_01_00_11>(d[i]);
        }
        row_round!(a b c d, N);
        for i in 0..N {
            b[i] = _mm512_shuffle_epi32::<0b10_01_00_11>(b[i]);
            c[i] = _mm512_shuffle_epi32::<0b01_00_11_10>(c[i]);
            d[i] = _mm512_shuffle_epi32::<0b00_11_10_01>(d[i]);
        }
        hole();
    }
    for i in 0..N {
        let made = quarters_transposed([
            _mm512_add_epi32(a[i], first),
            _mm512_add_epi32(b[i], second),
            _mm512_add_epi32(c[i], third),
            _mm512_add_epi32(d[i], last[i]),
        ]);
        blocks[4 * i..4 * i + 4].copy_from_slice(&made);
    }
}
