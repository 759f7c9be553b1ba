//! WireGuard on boringtun: one `Tunn` per generation, behind `Session`.
//!
//! What `Tunn` cannot do is done here: counters and indices are read from the wire format, and the handshake timestamp
//! is checked per static key before a `Tunn` sees the initiation (a new `Tunn` would accept a replayed one).

mod aead;
mod cookie;
mod handshake;
mod initiation;
mod limits;
mod message;
mod noise;
mod session;
mod transport;
mod window;

pub(crate) use initiation::Responder;
pub(crate) use message::{DATA_OVERHEAD, Message};
pub(crate) use session::{Opened, Sealed, Session};
