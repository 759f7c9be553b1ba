//! ChaCha20-Poly1305 (RFC 8439) as WireGuard uses it: batches of packets, one key, counters for nonces, out of place.
//!
//! [`Key::seal`] and [`Key::open`] take a batch, because packets come and go in batches and because a backend may work
//! on several packets of one batch at a time. The plaintext is read where it lies (a ring, a super-packet) and the
//! result is written where it leaves from (a send batch), so that sealing is also the copy.
//!
//! Two backends ([`Backend`]): the library's (`aws-lc-rs`) and our own for AVX-512. [`Key::new`] takes the best one
//! here; the cargo feature `avx512` compiles the second one out, and [`Key::with_backend`] is for configuration.

#[cfg(all(feature = "avx512", target_arch = "x86_64"))]
mod avx512;
mod backend;
mod key;
mod library;

pub use backend::{Backend, UnknownBackend};
pub use key::{Key, Open, Refused, Seal, TAG_LEN};
