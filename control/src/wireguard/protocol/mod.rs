//! WireGuard's cross-platform userspace configuration protocol (wireguard.com/xplatform): lines of `key=value`, ended by
//! an empty one. Pure: bytes in, typed requests out; typed state in, bytes out.

mod render;
mod set;
#[cfg(test)]
mod tests;

pub(super) use render::{PeerView, View, render, status};
pub(super) use set::SetParser;

use ipnet::IpNet;
use std::net::SocketAddr;
use vestibule_engine::generation::{PrivateKey, PublicKey};

/// Longest line in bytes. The longest that means anything is a key of 64 hexadecimal digits with its name.
pub(super) const MAX_LINE: usize = 1024;

/// `EINVAL` and `EPROTO`, as every system with this protocol numbers the first, and Linux the second.
const INVALID: i32 = 22;
const PROTOCOL: i32 = 71;

/// What one `set=1` asks for. Its peers are changed in order.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) private_key: Option<KeyChange>,
    pub(super) listen_port: Option<u16>,
    pub(super) fwmark: Option<u32>,
    pub(super) replace_peers: bool,
    pub(super) peers: Vec<PeerChange>,
}

/// A secret key is set, or (all zeros in the protocol) removed.
#[derive(Debug)]
pub(super) enum KeyChange {
    Set(PrivateKey),
    Remove,
}

impl KeyChange {
    /// The key, if there is one from now on.
    pub(super) fn into_key(self) -> Option<PrivateKey> {
        match self {
            Self::Set(key) => Some(key),
            Self::Remove => None,
        }
    }
}

/// What is asked for one peer.
#[derive(Debug)]
pub(super) struct PeerChange {
    pub(super) public_key: PublicKey,
    pub(super) remove: bool,
    /// Only if it is there already.
    pub(super) update_only: bool,
    pub(super) preshared_key: Option<KeyChange>,
    pub(super) endpoint: Option<SocketAddr>,
    /// Seconds; 0 for none.
    pub(super) persistent_keepalive: Option<u16>,
    pub(super) replace_allowed_ips: bool,
    pub(super) allowed_ips: Vec<AllowedIp>,
}

/// One change of what a peer may send and is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AllowedIp {
    /// The network is this peer's from now on.
    Add(IpNet),
    /// It is not, if it was.
    Remove(IpNet),
}

/// Why a request was refused. Never holds a secret, nor what might be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestError {
    #[error("line {line}: expected `key=value`")]
    NotAPair { line: usize },
    #[error("line {line} is longer than {MAX_LINE} bytes")]
    TooLong { line: usize },
    #[error("line {line}: unknown key {key:?} of {of}")]
    UnknownKey { line: usize, of: &'static str, key: String },
    #[error("line {line}: {key}={value}: expected {expected}")]
    BadValue { line: usize, key: &'static str, value: String, expected: &'static str },
    #[error("line {line}: {key}=(hidden): expected 64 hexadecimal digits")]
    BadSecret { line: usize, key: &'static str },
    #[error("expected an empty line after `get=1`")]
    GetTakesNothing,
    #[error("the connection ended before the request's empty line")]
    Unfinished,
}

impl RequestError {
    /// The number that answers it.
    pub(super) fn errno(&self) -> i32 {
        match self {
            Self::NotAPair { .. } | Self::TooLong { .. } | Self::Unfinished => PROTOCOL,
            Self::UnknownKey { .. } | Self::BadValue { .. } | Self::BadSecret { .. } | Self::GetTakesNothing => INVALID,
        }
    }
}
