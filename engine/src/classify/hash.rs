//! SipHash-1-3 over whole words: keyed, so that nobody outside can aim at one bucket.

/// The hash of `words` under `key`.
pub(super) fn siphash(key: [u64; 2], words: &[u64]) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    for &word in words {
        absorb(&mut v, word);
    }
    // The last word of SipHash holds the length in bytes modulo 256 and the bytes that fill no word: none here.
    absorb(&mut v, (words.len() as u64 * 8) << 56);
    v[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[inline]
fn absorb(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    round(v);
    v[0] ^= word;
}

#[inline]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;
    #[expect(deprecated, reason = "the standard library's SipHash-2-4 is the oracle for the round function")]
    use std::hash::{Hasher, SipHasher};

    /// SipHash-2-4 from the same parts, to hold against the standard library.
    fn siphash_2_4(key: [u64; 2], words: &[u64]) -> u64 {
        let mut v = [
            key[0] ^ 0x736f_6d65_7073_6575,
            key[1] ^ 0x646f_7261_6e64_6f6d,
            key[0] ^ 0x6c79_6765_6e65_7261,
            key[1] ^ 0x7465_6462_7974_6573,
        ];
        for word in words.iter().copied().chain([(words.len() as u64 * 8) << 56]) {
            v[3] ^= word;
            round(&mut v);
            round(&mut v);
            v[0] ^= word;
        }
        v[2] ^= 0xff;
        for _ in 0..4 {
            round(&mut v);
        }
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }

    #[test]
    #[expect(deprecated, reason = "see above")]
    fn the_round_is_siphashs_round() {
        let words = [1, u64::MAX, 0x0123_4567_89ab_cdef, 0, 42];
        let mut oracle = SipHasher::new_with_keys(7, 9);
        for word in words {
            oracle.write(&word.to_le_bytes());
        }
        assert_eq!(siphash_2_4([7, 9], &words), oracle.finish());
    }

    #[test]
    fn every_word_and_both_halves_of_the_key_count() {
        let base = siphash([1, 2], &[3, 4, 5, 6, 7]);
        for other in [
            siphash([0, 2], &[3, 4, 5, 6, 7]),
            siphash([1, 0], &[3, 4, 5, 6, 7]),
            siphash([1, 2], &[0, 4, 5, 6, 7]),
            siphash([1, 2], &[3, 4, 5, 6, 0]),
            siphash([1, 2], &[3, 4, 5, 6]),
        ] {
            assert_ne!(base, other);
        }
    }
}
