//! What the server tells.

use crate::masque::report::List;
use ipnet::IpNet;
use serde::Serialize;
use std::fmt;
use std::net::SocketAddr;

#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Told<'a> {
    Ready {
        listen: SocketAddr,
        http: Vec<u8>,
        key_sha256: String,
        interface: &'a str,
        addresses: &'a [IpNet],
        clients: usize,
    },
    Opened {
        client: &'a str,
        endpoint: SocketAddr,
        http: u8,
        addresses: &'a [IpNet],
    },
    Lost {
        client: &'a str,
        reason: String,
    },
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { listen, http, key_sha256, interface, addresses, clients } => {
                let ways: Vec<_> = http.iter().map(|http| if *http == 3 { "UDP" } else { "TCP" }).collect();
                let ways = ways.join(" and ");
                let addresses = List(addresses);
                write!(f, "listening at {ways} {listen} for {clients} clients, {interface} has {addresses}")?;
                write!(f, "\nour key, for --pin: {key_sha256}")
            }
            Self::Opened { client, endpoint, http, addresses } => {
                write!(f, "{client}: tunnel open with {endpoint} over HTTP/{http}, addresses {}", List(addresses))
            }
            Self::Lost { client, reason } => write!(f, "{client}: tunnel ended: {reason}"),
        }
    }
}
