//! WireGuard: one session per generation, our own or boringtun's, behind `Session`.
//!
//! Who knocks, and with which timestamp, is found out by `Responder` before a session sees the initiation: greatest
//! timestamps are kept per static key, and a new session would accept a replayed one.
//!
//! The native session by file: `noise` (symmetric state), `handshake` (both messages), `cookie` (macs, load),
//! `transport`, `window` and `keypairs` (keys in use), `timers` and `limits` (section 6 of the paper), `native` (all together).

mod cookie;
mod handshake;
mod initiation;
mod keypairs;
mod limits;
mod message;
mod native;
mod native_handshake;
mod noise;
mod session;
mod stamps;
mod timers;
mod transport;
mod tunn;
mod waiting;
mod window;

pub(crate) use cookie::Admission;
pub(crate) use initiation::Responder;
pub(crate) use message::{COOKIE_LEN, DATA_HEADER, DATA_OVERHEAD, Message, data_header};
pub use session::SessionBackend;
pub(crate) use session::{Opened, Sealed, Session, Sessions};
pub(crate) use stamps::Stamps;
pub(crate) use timers::Role;
pub(crate) use transport::Sealing;
