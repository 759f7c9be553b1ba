//! IP tunnels over HTTP/3 (RFC 9114, 9220, 9297, 9484): sans-IO, for both ends.
//!
//! Feed an [`Endpoint`] UDP datagrams, packets and the time, then drain [`Endpoint::poll_transmit`],
//! [`Endpoint::poll_packet`] and [`Endpoint::poll_event`], and call [`Endpoint::handle_deadline`] when
//! [`Endpoint::poll_deadline`] says so. Below lies `quinn-proto`, which with `rustls` draws its own randomness, and
//! `h3wire`; neither is seen from outside save for their settings.
//!
//! By file: `endpoint` (one UDP socket's connections), `arrivals` (what the socket brings them) and `steer` (what is done to them), `connection` (QUIC and HTTP/3
//! joined) with `streams`, `requests`, `packets` and `offer` (a dialect's settings), `tls`, `settings`, `controller` and `breaker`.

mod arrivals;
mod breaker;
#[cfg(test)]
mod busy_tests;
mod connection;
mod controller;
mod drops;
mod endpoint;
mod error;
mod event;
mod half_open;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod mtu_tests;
mod offer;
mod packets;
#[cfg(test)]
mod path_tests;
mod requests;
mod settings;
mod steer;
mod streams;
#[cfg(test)]
mod tests;
pub mod tls;
#[cfg(test)]
mod wire;

pub use super::tunnel::{Counters, Fault, Origin, SendError, TunnelError};
pub use controller::Congestion;
pub use drops::Drops;
pub use endpoint::Endpoint;
pub use error::ConnectionError;
pub use event::{Event, Transmit, TunnelId};
pub use settings::{ConnectError, EndpointConfig, InvalidSettings, Settings};
