//! Randomness from a seed: the engine has no entropy source of its own.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use zeroize::{Zeroize, Zeroizing};

/// 32 secret random bytes from the caller, from which everything random in an engine follows. Zeroised on drop, redacted
/// in `Debug`. Two engines must never get the same one (outside tests): their ephemeral keys would be the same.
#[derive(Clone)]
pub struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    /// Takes 32 bytes of the system's cryptographic randomness.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(redacted)")
    }
}

/// A generator with fast key erasure: the first 32 bytes of every ChaCha20 stream replace the key before the rest is
/// given out, so that who learns the state learns nothing that was drawn before.
pub(crate) struct Random(Zeroizing<[u8; 32]>);

impl Random {
    pub(crate) fn new(seed: &Seed) -> Self {
        Self(seed.0.clone())
    }

    /// Fills `out` with random bytes.
    pub(crate) fn fill(&mut self, out: &mut [u8]) {
        let mut stream = ChaCha20::new((&*self.0).into(), &[0; 12].into());
        self.0.zeroize();
        stream.apply_keystream(&mut self.0[..]);
        out.zeroize();
        stream.apply_keystream(out);
    }

    /// So many random bytes.
    pub(crate) fn bytes<const N: usize>(&mut self) -> Zeroizing<[u8; N]> {
        let mut bytes = Zeroizing::new([0; N]);
        self.fill(&mut bytes[..]);
        bytes
    }

    /// 64 random bits, for what is not secret for ever (a hash's key, jitter).
    pub(crate) fn bits(&mut self) -> u64 {
        u64::from_le_bytes(*self.bytes())
    }

    /// A generator of its own, for somebody who must not share this one.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_draw_is_the_stream_behind_the_next_key() {
        // RFC 8439's ChaCha20 (section 2.4) with a zero key and nonce: block 0 is the published key stream (A.1, vector 1).
        let mut random = Random::new(&Seed::new([0; 32]));
        let first = random.bytes::<32>();
        let second_half = [
            0xda, 0x41, 0x59, 0x7c, 0x51, 0x57, 0x48, 0x8d, 0x77, 0x24, 0xe0, 0x3f, 0xb8, 0xd8, 0x4a, 0x37, 0x6a, 0x43,
            0xb8, 0xf4, 0x15, 0x18, 0xa1, 0x1c, 0xc3, 0x87, 0xb6, 0x69, 0xb2, 0xee, 0x65, 0x86,
        ];
        assert_eq!(*first, second_half);
        assert_eq!(random.0[..4], [0x76, 0xb8, 0xe0, 0xad]);
    }

    #[test]
    fn draws_and_forks_differ_and_a_seed_repeats_them() {
        let (mut one, mut two) = (Random::new(&Seed::new([7; 32])), Random::new(&Seed::new([7; 32])));
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let mut child = one.fork();
            assert_eq!(*child.bytes::<16>(), *two.fork().bytes::<16>());
            assert!(seen.insert(*child.bytes::<16>()) && seen.insert(*one.bytes::<16>()));
            two.fill(&mut [0; 16]);
        }
        assert_ne!(Random::new(&Seed::new([8; 32])).bits(), Random::new(&Seed::new([7; 32])).bits());
    }

    #[test]
    fn a_seed_is_not_shown() {
        assert_eq!(format!("{:?}", Seed::new([7; 32])), "Seed(redacted)");
    }
}
