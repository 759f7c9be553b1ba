#[cfg(all(feature = "avx512", target_arch = "x86_64"))]
use crate::avx512;
use crate::{Backend, library};
use std::fmt;

/// Length of the authentication tag at the end of a sealed packet.
pub const TAG_LEN: usize = 16;

/// What one nonce is good for: the block counter has 32 bits, and block 0 is the one-time key (RFC 8439, 2.8).
const TEXT_MAX: u64 = ((1 << 32) - 1) * 64;

/// A ChaCha20-Poly1305 key. Dropping it wipes it, `Debug` does not show it. A few hundred bytes at most, so that
/// thousands of idle ones cost little.
pub struct Key(Inner);

enum Inner {
    Library(library::Key),
    #[cfg(all(feature = "avx512", target_arch = "x86_64"))]
    Avx512(avx512::Key),
}

/// One packet to seal. The plaintext is `head ++ body`; there is no additional data (WireGuard paper, 5.4.6).
///
/// `head` is for what had to be rewritten: when a TCP super-packet is cut, each segment's headers and the first bytes
/// of its payload come from a small buffer and the rest from the super-packet itself.
#[derive(Debug)]
pub struct Seal<'a> {
    /// The nonce: four zero bytes, then this counter, little-endian. Never to be used twice with one key.
    pub counter: u64,
    /// First part of the plaintext; its length is zero or a multiple of 64.
    pub head: &'a [u8],
    /// The rest of the plaintext.
    pub body: &'a [u8],
    /// Takes the sealed packet: `head.len() + body.len() + TAG_LEN` bytes.
    pub out: &'a mut [u8],
}

/// One packet to open.
#[derive(Debug)]
pub struct Open<'a> {
    /// The nonce, as in [`Seal::counter`].
    pub counter: u64,
    /// The sealed packet, tag included. Shorter than a tag: not authentic.
    pub sealed: &'a [u8],
    /// Takes the plaintext: [`TAG_LEN`] bytes fewer than `sealed`. All zeros if the packet is not authentic.
    pub out: &'a mut [u8],
    /// The verdict.
    pub authentic: bool,
}

/// The tag does not fit: the bytes were not sealed under this key, nonce and additional data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("packet refused: its tag does not fit key, nonce and content")]
pub struct Refused;

impl Key {
    /// Takes the fastest backend that works here.
    pub fn new(key: &[u8; 32]) -> Self {
        Self::with_backend(key, Backend::best())
    }

    /// Takes the backend asked for, or the library's where that one is not available; [`Key::backend`] tells.
    pub fn with_backend(key: &[u8; 32], backend: Backend) -> Self {
        #[cfg(all(feature = "avx512", target_arch = "x86_64"))]
        if let (Backend::Avx512, Some(key)) = (backend, avx512::Key::new(key)) {
            return Self(Inner::Avx512(key));
        }
        let _ = backend;
        Self(Inner::Library(library::Key::new(key)))
    }

    /// The backend in force.
    pub fn backend(&self) -> Backend {
        match self.0 {
            Inner::Library(_) => Backend::Library,
            #[cfg(all(feature = "avx512", target_arch = "x86_64"))]
            Inner::Avx512(_) => Backend::Avx512,
        }
    }

    /// Seals every packet of a batch.
    ///
    /// # Panics
    /// If an `out` has the wrong length, a `head` is not whole blocks of 64 bytes, or a text passes 256 GiB: the caller's mistake, never a
    /// peer's. Nothing has been sealed then.
    pub fn seal(&self, packets: &mut [Seal<'_>]) {
        for packet in packets.iter() {
            assert_eq!(packet.head.len() % 64, 0, "`head` must be whole blocks of 64 bytes");
            let want = packet.head.len() + packet.body.len() + TAG_LEN;
            assert_eq!(packet.out.len(), want, "`out` must hold plaintext and tag");
            assert_short(want);
        }
        match &self.0 {
            Inner::Library(key) => packets.iter_mut().for_each(|packet| key.seal(packet)),
            #[cfg(all(feature = "avx512", target_arch = "x86_64"))]
            Inner::Avx512(key) => key.seal(packets),
        }
    }

    /// Opens every packet of a batch and leaves each one's verdict in [`Open::authentic`].
    ///
    /// # Panics
    /// If an `out` has the wrong length: the caller's mistake, never a peer's. Nothing has been opened then.
    pub fn open(&self, packets: &mut [Open<'_>]) {
        for packet in packets.iter() {
            let want = packet.sealed.len().saturating_sub(TAG_LEN);
            assert_eq!(packet.out.len(), want, "`out` must hold what `sealed` holds without its tag");
            assert_short(want);
        }
        match &self.0 {
            Inner::Library(key) => packets.iter_mut().for_each(|packet| key.open(packet)),
            #[cfg(all(feature = "avx512", target_arch = "x86_64"))]
            Inner::Avx512(key) => key.open(packets),
        }
    }

    /// Seals one message under any nonce, with additional data: the general form, for what is not the packet path.
    ///
    /// # Panics
    /// If `out` is not [`TAG_LEN`] bytes longer than `plaintext`.
    pub fn seal_with(&self, nonce: &[u8; 12], aad: &[u8], plaintext: &[u8], out: &mut [u8]) {
        assert_eq!(out.len(), plaintext.len() + TAG_LEN, "`out` must hold plaintext and tag");
        assert_short(out.len());
        match &self.0 {
            Inner::Library(key) => key.seal_with(nonce, aad, &[], plaintext, out),
            #[cfg(all(feature = "avx512", target_arch = "x86_64"))]
            Inner::Avx512(key) => key.seal_with(nonce, aad, plaintext, out),
        }
    }

    /// Opens one message under any nonce, with additional data.
    ///
    /// # Errors
    /// [`Refused`] if the tag does not fit; `out` is all zeros then.
    ///
    /// # Panics
    /// If `out` is not [`TAG_LEN`] bytes shorter than `sealed` (empty for one shorter than a tag).
    pub fn open_with(&self, nonce: &[u8; 12], aad: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<(), Refused> {
        let want = sealed.len().saturating_sub(TAG_LEN);
        assert_eq!(out.len(), want, "`out` must hold what `sealed` holds without its tag");
        assert_short(want);
        match &self.0 {
            Inner::Library(key) => key.open_with(nonce, aad, sealed, out),
            #[cfg(all(feature = "avx512", target_arch = "x86_64"))]
            Inner::Avx512(key) => key.open_with(nonce, aad, sealed, out),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("backend", &self.backend()).finish_non_exhaustive()
    }
}

/// Beyond this the key stream would begin anew.
#[inline]
fn assert_short(len: usize) {
    assert!(len as u64 <= TEXT_MAX, "{len} bytes are too many for one nonce, at most {TEXT_MAX} can be");
}

/// The nonce of a counter (WireGuard paper, 5.4.6).
pub(crate) fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}
