//! The only loads and stores of bytes: every access is bounded by a slice, so that the rest of the backend is safe code.

use super::V;
use std::arch::x86_64::*;

/// 64 bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
pub(super) fn load(bytes: &[u8; 64]) -> V {
    // SAFETY: the reference covers the 64 bytes read; the instruction asks for no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// Puts 64 bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
pub(super) fn store(bytes: &mut [u8; 64], value: V) {
    // SAFETY: the reference covers the 64 bytes written; the instruction asks for no alignment.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), value) }
}

/// At most 64 bytes, zeros behind them.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
pub(super) fn load_part(bytes: &[u8]) -> V {
    // SAFETY: the mask names at most `bytes.len()` bytes from the start, and the instruction touches no others.
    unsafe { _mm512_maskz_loadu_epi8(first(bytes.len()), bytes.as_ptr().cast()) }
}

/// Puts the first `bytes.len()` (at most 64) bytes of `value`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
pub(super) fn store_part(bytes: &mut [u8], value: V) {
    // SAFETY: the mask names at most `bytes.len()` bytes from the start, and the instruction touches no others.
    unsafe { _mm512_mask_storeu_epi8(bytes.as_mut_ptr().cast(), first(bytes.len()), value) }
}

/// 128 bytes, or fewer with zeros behind them.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
pub(super) fn load_pair(bytes: &[u8]) -> [V; 2] {
    let (first, second) = bytes.split_at(bytes.len().min(64));
    [load_part(first), load_part(second)]
}

/// One 64-bit lane.
#[inline]
pub(super) fn lane(value: &V, index: usize) -> u64 {
    // SAFETY: a register's image in memory is eight u64, for which its alignment suffices.
    let lanes: &[u64; 8] = unsafe { &*std::ptr::from_ref(value).cast() };
    lanes[index]
}

/// Overwrites secrets, in a way the compiler does not leave out.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi2,bmi2,adx")]
#[inline]
pub(super) fn wipe(secrets: &mut [V]) {
    for secret in secrets {
        // SAFETY: a reference is valid and aligned for a write.
        unsafe { std::ptr::write_volatile(secret, _mm512_setzero_si512()) };
    }
    std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
}

/// A mask of the first `count` bytes; all of them from 64 on.
#[inline]
fn first(count: usize) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}
