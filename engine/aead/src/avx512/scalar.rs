//! Poly1305 (RFC 8439, 2.5), one block after the other in general registers: for short packets, for additional data,
//! and as what the vector code is tested against.

use zeroize::Zeroize;

/// A running Poly1305.
pub(super) struct Poly1305 {
    r: [u64; 2],
    /// 5/4 of `r[1]`, whose two lowest bits are zero: the factor of what overflows 2^130.
    s: u64,
    pad: [u64; 2],
    h: [u64; 3],
}

impl Poly1305 {
    /// Takes the one-time key as the words of a ChaCha20 block; `r` is clamped here.
    pub(super) fn new(key: [u64; 4]) -> Self {
        let r = [key[0] & 0x0fff_fffc_0fff_ffff, key[1] & 0x0fff_fffc_0fff_fffc];
        Self { r, s: r[1] + (r[1] >> 2), pad: [key[2], key[3]], h: [0; 3] }
    }

    /// Takes in `bytes` as whole blocks, the last one filled up with zeros.
    #[target_feature(enable = "bmi2,adx")]
    pub(super) fn padded(&mut self, bytes: &[u8]) {
        let (whole, rest) = bytes.as_chunks::<16>();
        for block in whole {
            self.block(u128::from_le_bytes(*block));
        }
        if !rest.is_empty() {
            let mut block = [0; 16];
            block[..rest.len()].copy_from_slice(rest);
            self.block(u128::from_le_bytes(block));
        }
    }

    /// Takes in four blocks.
    #[target_feature(enable = "bmi2,adx")]
    #[inline]
    pub(super) fn four(&mut self, bytes: &[u8; 64]) {
        for block in bytes.as_chunks::<16>().0 {
            self.block(u128::from_le_bytes(*block));
        }
    }

    /// Takes in the last block: the lengths of additional data and text.
    #[inline]
    pub(super) fn lengths(&mut self, aad: usize, text: usize) {
        self.block(aad as u128 | (text as u128) << 64);
    }

    #[inline]
    fn block(&mut self, block: u128) {
        let [r0, r1] = self.r.map(u128::from);
        let s = u128::from(self.s);
        // Ends the sum: h + block + 2^128.
        let low = u128::from(self.h[0]) | u128::from(self.h[1]) << 64;
        let (low, carry) = low.overflowing_add(block);
        let h2 = self.h[2] + u64::from(carry) + 1;
        let [h0, h1] = [low as u64, (low >> 64) as u64].map(u128::from);
        // h < 2^131, r and s < 2^61: no sum passes 2^127.
        let d0 = h0 * r0 + h1 * s;
        let d1 = h0 * r1 + h1 * r0 + u128::from(h2) * s + (d0 >> 64);
        let d2 = h2 * self.r[0] + (d1 >> 64) as u64;
        // What lies above 2^130 comes back five times.
        let low = u128::from(d0 as u64) | u128::from(d1 as u64) << 64;
        let (low, carry) = low.overflowing_add(u128::from((d2 >> 2) + (d2 & !3)));
        self.h = [low as u64, (low >> 64) as u64, (d2 & 3) + u64::from(carry)];
    }

    /// The tag.
    pub(super) fn tag(self) -> [u8; 16] {
        // h - p is h + 5 - 2^130; it is taken if it is not negative.
        let low = u128::from(self.h[0]) | u128::from(self.h[1]) << 64;
        let (less, carry) = low.overflowing_add(5);
        let mask = u128::from((self.h[2] + u64::from(carry)) >> 2).wrapping_neg();
        let reduced = (low & !mask) | (less & mask);
        reduced.wrapping_add(u128::from(self.pad[0]) | u128::from(self.pad[1]) << 64).to_le_bytes()
    }
}

impl Drop for Poly1305 {
    fn drop(&mut self) {
        self.r.zeroize();
        self.s.zeroize();
        self.pad.zeroize();
        self.h.zeroize();
    }
}
