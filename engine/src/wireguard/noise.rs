//! The symmetric state of WireGuard's handshake, Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s (WireGuard paper, section 5.4).
//! Function names are the paper's where it has one.

use crate::random::Random;
use blake2::digest::{FixedOutput, Mac, Update, consts::U16};
use blake2::{Blake2s256, Blake2sMac, Digest};
use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce, Tag};
use hmac::SimpleHmac;
use x25519_dalek::{PublicKey as Point, StaticSecret};
use zeroize::Zeroizing;

const CONSTRUCTION: &[u8] = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
const IDENTIFIER: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";

/// Bytes that authenticate a sealed text.
pub(crate) const TAG: usize = 16;

/// A key that is forgotten when it is dropped.
pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// `C` and `H` of section 5.4: the chaining key and the transcript's hash.
#[derive(Clone)]
pub(crate) struct Symmetric {
    chain: Secret,
    hash: [u8; 32],
}

impl Symmetric {
    /// The state before the first message to the owner of `responder`.
    pub(crate) fn new(responder: &[u8; 32]) -> Self {
        let chain = hash(&[CONSTRUCTION]);
        let begun = hash(&[&chain, IDENTIFIER]);
        Self { chain: Zeroizing::new(chain), hash: hash(&[&begun, responder]) }
    }

    pub(crate) fn mix_hash(&mut self, part: &[u8]) {
        self.hash = hash(&[&self.hash, part]);
    }

    /// `KDF1`: only the chaining key moves on.
    pub(crate) fn mix_chain(&mut self, input: &[u8]) {
        self.chain = kdf::<1>(&self.chain, input)[0].clone();
    }

    /// `KDF2`: the chaining key moves on, and a key to seal or open with.
    pub(crate) fn mix_key(&mut self, input: &[u8]) -> Secret {
        let [chain, key] = kdf(&self.chain, input);
        self.chain = chain;
        key
    }

    /// `KDF3` with the preshared key, of which the transcript notes a part.
    pub(crate) fn mix_preshared(&mut self, preshared: &[u8; 32]) -> Secret {
        let [chain, part, key] = kdf(&self.chain, preshared);
        self.chain = chain;
        self.mix_hash(part.as_slice());
        key
    }

    /// Seals `out`'s first bytes in place, with the tag behind them, and notes it all.
    pub(crate) fn seal(&mut self, key: &Secret, out: &mut [u8]) {
        let Some((text, tag)) = out.split_last_chunk_mut::<TAG>() else { return };
        // Fails only for texts of 2^38 bytes.
        let sealed = cipher(key).encrypt_in_place_detached(&Nonce::default(), &self.hash, text).unwrap_or_default();
        tag.copy_from_slice(&sealed);
        self.mix_hash(out);
    }

    /// Opens `sealed` into `out` (shorter by the tag) and notes it; `None` when it is not authentic.
    pub(crate) fn open(&mut self, key: &Secret, sealed: &[u8], out: &mut [u8]) -> Option<()> {
        let (text, tag) = sealed.split_last_chunk::<TAG>()?;
        out.copy_from_slice(text);
        cipher(key).decrypt_in_place_detached(&Nonce::default(), &self.hash, out, Tag::from_slice(tag)).ok()?;
        self.mix_hash(sealed);
        Some(())
    }

    /// The transport keys: (initiator to responder, responder to initiator).
    pub(crate) fn split(self) -> (Secret, Secret) {
        let [to_responder, to_initiator] = kdf(&self.chain, &[]);
        (to_responder, to_initiator)
    }
}

/// A fresh ephemeral key.
pub(crate) fn ephemeral(random: &mut Random) -> (StaticSecret, [u8; 32]) {
    let secret = StaticSecret::from(*random.bytes::<32>());
    let public = Point::from(&secret).to_bytes();
    (secret, public)
}

/// `DH`; `None` for a point of low order, which would give everybody the same secret.
pub(crate) fn shared(secret: &StaticSecret, point: &[u8; 32]) -> Option<Secret> {
    let shared = secret.diffie_hellman(&Point::from(*point));
    shared.was_contributory().then(|| Zeroizing::new(shared.to_bytes()))
}

/// `HASH`.
pub(crate) fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut state = Blake2s256::new();
    for part in parts {
        Update::update(&mut state, part);
    }
    state.finalize_fixed().into()
}

/// `MAC`, ready to finish or to compare in constant time. Keys are 16 or 32 bytes.
pub(crate) fn mac<const N: usize>(key: &[u8; N], parts: &[&[u8]]) -> Blake2sMac<U16> {
    const { assert!(N <= 32) };
    #[expect(clippy::expect_used, reason = "BLAKE2s takes keys of up to 32 bytes, which is checked above")]
    let mut state =
        <Blake2sMac<U16> as blake2::digest::KeyInit>::new_from_slice(key).expect("a key of at most 32 bytes");
    for part in parts {
        Update::update(&mut state, part);
    }
    state
}

/// `Hmac`.
fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> Secret {
    // HMAC fills a short key up with zeros itself; the fixed-size form cannot fail.
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    let mut state = <SimpleHmac<Blake2s256> as Mac>::new(block.as_slice().into());
    for part in parts {
        Mac::update(&mut state, part);
    }
    Zeroizing::new(state.finalize().into_bytes().into())
}

/// `KDF1` to `KDF3`.
fn kdf<const N: usize>(chain: &[u8; 32], input: &[u8]) -> [Secret; N] {
    let secret = hmac(chain, &[input]);
    let mut outputs: [Secret; N] = std::array::from_fn(|_| Zeroizing::default());
    for (at, number) in (0..N).zip(1..) {
        let output = match at.checked_sub(1).and_then(|before| outputs.get(before)) {
            Some(before) => hmac(&secret, &[before.as_slice(), &[number]]),
            None => hmac(&secret, &[&[number]]),
        };
        outputs[at] = output;
    }
    outputs
}

fn cipher(key: &Secret) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(Key::from_slice(&key[..]))
}
