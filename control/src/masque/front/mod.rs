//! Proxies in front of the tunnel: programs speak SOCKS5 or HTTP CONNECT to this process, whose own TCP carries their
//! connections through the tunnel as IP packets. The host gets no interface and no routes.
//!
//! By file: `server` (who may ask), `socks` and `http` (how), `dial` (where to), `stack` (TCP over the tunnel), `pipe` (bytes
//! between the two).

mod dial;
mod http;
mod pipe;
mod server;
mod socks;
mod stack;

pub use server::FrontError;

pub(super) use dial::Dialer;
pub(super) use server::{Fronts, serve};
pub(super) use stack::Stack;

use std::net::{IpAddr, SocketAddr};

/// Where a connection is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    Address(SocketAddr),
    Name(String, u16),
}

impl Destination {
    fn new(host: &str, port: u16) -> Self {
        match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => Self::Address(SocketAddr::new(address, port)),
            Err(_) => Self::Name(host.to_owned(), port),
        }
    }
}

/// Why a connection did not come to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DialError {
    #[error("names are not resolved here: use an address, or start with --dns SERVER")]
    NoResolver,
    #[error("the name could not be resolved")]
    Name,
    #[error("the tunnel gave us no address of this IP version")]
    NoAddress,
    #[error("the connection was refused")]
    Refused,
    #[error("no answer in time")]
    Timeout,
    #[error("too many connections")]
    Full,
    #[error("the tunnel has ended")]
    Ended,
}
