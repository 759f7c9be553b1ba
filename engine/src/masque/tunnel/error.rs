//! How tunnels end, and why a packet is not sent.

use crate::masque::capsule::CapsuleError;
use crate::masque::ip::{BelowIpv6Minimum, Refusal};
use crate::masque::request::ResponseError;

/// What the peer did wrong, and so what its stream is reset with; every version of HTTP has its codes for these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nothing: the stream is cancelled.
    None,
    /// It broke the rules of capsules: the message is malformed.
    Malformed,
    /// It asks for more than anybody needs, or does not take what it gets.
    Excessive,
}

/// Why a tunnel ended or never came to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TunnelError {
    /// The connection below ended.
    #[error("the connection ended")]
    Connection,
    /// The gateway serves no extended CONNECT.
    #[error("the peer does not offer extended CONNECT, which IP proxying needs")]
    NoExtendedConnect,
    /// The gateway said no.
    #[error("the request was not accepted")]
    Response(#[source] ResponseError),
    /// The peer's capsules are malformed.
    #[error("malformed capsules")]
    Capsules(#[source] CapsuleError),
    /// The peer reset the stream.
    #[error("the peer aborted the request stream with {code:#x}")]
    Reset {
        /// Its code.
        code: u64,
    },
    /// A rule of HTTP/3 or HTTP datagrams was broken on this stream.
    #[error("the request stream was aborted with {code:#x}")]
    Aborted {
        /// The code on the wire.
        code: u64,
    },
    /// The tunnel became too narrow for the IPv6 it carries.
    #[error("too narrow for IPv6")]
    Narrow(#[source] BelowIpv6Minimum),
    /// Nobody answered the echo requests that would prove IPv6's least MTU.
    #[error("1280-byte packets do not get through")]
    Probe,
    /// More capsules came than anybody needs.
    #[error("the peer floods us with capsules")]
    Flood,
    /// More capsules wait for the peer than it will ever read.
    #[error("the peer does not read: {waiting} bytes of capsules wait")]
    Stalled {
        /// What waits.
        waiting: usize,
    },
}

impl TunnelError {
    /// What the peer did wrong.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Capsules(_) | Self::Aborted { .. } => Fault::Malformed,
            Self::Flood | Self::Stalled { .. } => Fault::Excessive,
            _ => Fault::None,
        }
    }
}

/// Why a packet was not sent. It is lost; the tunnel goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no such tunnel, or it is not open yet, or no longer.
    #[error("the tunnel is not open")]
    NotOpen,
    /// It must not travel, or does not fit: tell its sender (see [`Refusal::answer`]).
    #[error("the packet was refused")]
    Refused(#[source] Refusal),
    /// The queue is full: the path is slower than its senders.
    #[error("the send queue is full")]
    Full,
}
