//! IP tunnels over HTTP/2 on TCP, for networks that let no UDP through: RFC 9484 in an extended CONNECT (RFC 8441).
//!
//! [`connect`] opens a client's tunnel, a [`Server`] takes those of clients and hands their [`Request`]s up. What comes of
//! either is two ends of a byte stream for the thread that moves packets: an [`Outbox`] for batches of capsules, and what
//! arrives in the [`Inbox`] the thread has for all its streams. The capsules themselves are the engine's
//! (`vestibule_engine::masque::stream`): nothing here knows a packet. A batch crosses the wall to tokio, where `h2` and
//! `tokio-rustls` live, in one hop; the thread is woken by its bell, the driver by its waker.
//!
//! Memory is bounded by HTTP/2's own windows: what arrives counts as taken, and lets the peer send more, when
//! [`Outbox::consumed`] says so, and a batch that finds the outbox full stays with its sender, who drops packets rather
//! than wait. A [`Sending`] keeps these rules.
//!
//! By file: `client` and `server` (the two roles), `gate` (requests of a server's connection), `half_open` (clients that
//! have no tunnel yet), `driver` (one connection), `pump` (one stream), `mailbox` and `line` (the packet thread's side),
//! `head` (requests and answers), `tcp`, `thread` (where all this runs).

mod client;
mod driver;
mod error;
mod gate;
mod half_open;
mod head;
#[cfg(test)]
mod hostile_tests;
mod line;
mod mailbox;
#[cfg(test)]
mod odd_server_tests;
mod pump;
mod request;
mod server;
mod settings;
mod tcp;
#[cfg(test)]
mod tests;
mod thread;
#[cfg(test)]
mod wire;

pub use client::{connect, open};
pub use error::{CarrierError, Stage};
pub use line::{Line, LineEnd, Sending};
pub use mailbox::{Arrival, Inbox, InboxAddress, Input, Outbox, SendBatchError};
pub use request::Request;
pub use server::{Server, ServerCounters};
pub use settings::{ServerSettings, Settings};
pub use tcp::{dial, prepare};
pub use thread::CarrierThread;
