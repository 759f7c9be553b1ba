//! What an endpoint tells.

use super::{ConnectionError, TunnelError};
use crate::masque::addresses::Changes;
use crate::masque::capsule::{RequestedAddress, Routes};
use crate::masque::request::Incoming;
use crate::masque::tunnel::News;
use quinn_proto::ConnectionHandle;
use std::net::{IpAddr, SocketAddr};

/// One request stream of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TunnelId {
    /// The connection.
    pub connection: ConnectionHandle,
    /// The request stream's id.
    pub stream: u64,
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The QUIC handshake is complete; who the peer is can be asked now.
    Connected(ConnectionHandle),
    /// The connection ended; the events of its tunnels' ends came before.
    Closed(ConnectionHandle, ConnectionError),
    /// A client asks for a tunnel: [`super::Endpoint::accept`] or [`super::Endpoint::refuse`] it.
    Requested(TunnelId, Incoming),
    /// Our request was accepted.
    Opened(TunnelId),
    /// The peer's ADDRESS_ASSIGN: what is ours from now on, and what changed.
    Assigned(TunnelId, Changes),
    /// The peer's ADDRESS_REQUEST: to be answered by [`super::Endpoint::answer_addresses`].
    AddressesRequested(TunnelId, Vec<RequestedAddress>),
    /// The peer's ROUTE_ADVERTISEMENT, which replaces the one before.
    RoutesAdvertised(TunnelId, Routes),
    /// The longest packet the tunnel carries changed.
    MtuChanged(TunnelId, u16),
    /// Packets of this length are known to reach us through the tunnel, and the peer knows it, too, a moment later.
    ReachedBy(TunnelId, u16),
    /// The tunnel ended; without an error: the peer or we ended it in good order.
    Ended(TunnelId, Option<TunnelError>),
}

impl Event {
    pub(super) fn news(of: TunnelId, news: News) -> Self {
        match news {
            News::Assigned(changes) => Self::Assigned(of, changes),
            News::AddressesRequested(requests) => Self::AddressesRequested(of, requests),
            News::RoutesAdvertised(routes) => Self::RoutesAdvertised(of, routes),
        }
    }
}

/// A datagram to send, or several of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub destination: SocketAddr,
    /// From which of our addresses, if that matters.
    pub source: Option<IpAddr>,
    /// Bytes in the buffer.
    pub len: usize,
    /// The size of each datagram but the last.
    pub segment: usize,
    /// The ECN field.
    pub ecn: crate::packet::Ecn,
}
