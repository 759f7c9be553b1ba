//! What the client tells.

use crate::masque::report::List;
use ipnet::IpNet;
use serde::Serialize;
use std::fmt;
use std::net::SocketAddr;

#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Told<'a> {
    Connecting {
        peer: &'a str,
        address: SocketAddr,
    },
    Opened {
        endpoint: SocketAddr,
        http: u8,
    },
    Assigned {
        addresses: &'a [IpNet],
    },
    Routes {
        routes: &'a [IpNet],
    },
    Mtu {
        mtu: u16,
        #[serde(skip)]
        enough: bool,
    },
    Up {
        interface: &'a str,
        addresses: &'a [IpNet],
        routes: &'a [IpNet],
    },
    Proxies {
        addresses: &'a [IpNet],
        socks: Option<SocketAddr>,
        http: Option<SocketAddr>,
    },
    Idle,
    Lost {
        reason: String,
    },
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting { peer, address } => write!(f, "connecting to {peer} at {address}"),
            Self::Opened { endpoint, http } => write!(f, "tunnel open with {endpoint} over HTTP/{http}"),
            Self::Assigned { addresses } => write!(f, "our addresses: {}", List(addresses)),
            Self::Routes { routes: [] } => f.write_str("the peer forwards nowhere"),
            Self::Routes { routes } => write!(f, "the peer forwards to {}", List(routes)),
            // While the path is explored there are many of them.
            Self::Mtu { enough: true, .. } => Ok(()),
            Self::Mtu { mtu, .. } => write!(f, "packets up to {mtu} bytes fit, which is less than the interface's MTU"),
            Self::Up { interface, addresses, routes } => {
                write!(f, "{interface} is up with {}, routes: {}", List(addresses), List(routes))
            }
            Self::Proxies { addresses, socks, http } => {
                write!(f, "proxies are up with {}", List(addresses))?;
                socks.iter().try_for_each(|at| write!(f, ", SOCKS5 at {at}"))?;
                http.iter().try_for_each(|at| write!(f, ", HTTP CONNECT at {at}"))
            }
            Self::Idle => f.write_str("the other end closed the idle tunnel: it is made anew for the next packet"),
            Self::Lost { reason } => write!(f, "no tunnel: {reason}; trying again"),
        }
    }
}
