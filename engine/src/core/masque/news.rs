//! What becomes of the tunnel to a peer of others, told as it happens.

use crate::core::{Engine, Event, PeerKind};
use crate::generation::{GenerationId, Http};
use crate::masque::capsule::Routes;
use crate::masque::session::{ConnectionError, TunnelError};
use ipnet::IpNet;
use std::net::SocketAddr;

/// News of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TunnelNews {
    /// It is open.
    Opened {
        /// Where the other end is.
        endpoint: SocketAddr,
        /// What carries it.
        http: Http,
    },
    /// All addresses that the other end has given us, which replace those before.
    Assigned(Vec<IpNet>),
    /// What the other end forwards to, which replaces what it said before.
    Routes(Routes),
    /// The longest packet that fits.
    Mtu(u16),
    /// It ended, or never came to be. A client tries again.
    Ended(TunnelEnd),
}

/// How a tunnel ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TunnelEnd {
    /// One of the ends closed it.
    #[error("the other end closed the tunnel")]
    InOrder,
    /// The other end closed what was idle; a packet brings the tunnel back.
    #[error("the other end closed the idle tunnel")]
    Idle,
    /// The tunnel failed.
    #[error(transparent)]
    Tunnel(#[from] TunnelError),
    /// The connection below failed.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The HTTP/2 connection below failed, or there was none to be had.
    #[error("the HTTP/2 connection failed")]
    Stream(#[source] StreamLoss),
    /// Nobody answers at any of the gateway's addresses.
    #[error("nobody answers over UDP")]
    Silent,
}

/// Why there is no HTTP/2 connection, or no longer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamLoss {
    /// TLS failed: one end did not believe or did not understand the other.
    #[error("{0}")]
    Tls(String),
    /// The gateway serves no extended CONNECT.
    #[error("the peer does not offer extended CONNECT, which IP proxying needs")]
    NoExtendedConnect,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl StreamLoss {
    /// It is gone, and why does not matter.
    #[must_use]
    pub fn gone() -> Self {
        Self::Other("the connection ended".to_owned())
    }
}

impl Engine {
    /// Tells what is new of a plain peer's tunnel; Vestibule's own ends have other events.
    pub(super) fn tell_tunnel(&mut self, slot: usize, generation: GenerationId, news: TunnelNews) {
        let peer = &self.peers[slot];
        if peer.kind == PeerKind::Plain {
            self.events.push_back(Event::Tunnel { peer: peer.id, generation, news });
        }
    }
}
