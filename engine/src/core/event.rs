//! What the engine tells control.

use super::{NameRequest, PeerId, TunnelNews};
use crate::generation::{GenerationId, Http, PublicKey};
use std::{net::SocketAddr, time::Duration};

/// Something control must know. Drain with `Engine::poll_event`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is confirmed: the generation may be committed.
    Ready {
        /// Peer.
        peer: PeerId,
        /// Generation.
        generation: GenerationId,
        /// Measured by the handshake.
        rtt: Duration,
    },
    /// From now on everything leaves under `generation`. At the gateway this is the audit record of a swap.
    Committed {
        /// Peer.
        peer: PeerId,
        /// The new active generation.
        generation: GenerationId,
        /// The one that drains now.
        previous: Option<GenerationId>,
        /// The order it answers.
        swap_seq: u64,
    },
    /// Device only: the gateway has committed, too.
    Acknowledged {
        /// Peer.
        peer: PeerId,
        /// Generation.
        generation: GenerationId,
    },
    /// A generation was given up: its handshake found no answer in time, or its keys were never renewed.
    Failed {
        /// Peer.
        peer: PeerId,
        /// Generation.
        generation: GenerationId,
    },
    /// Keys zeroised, counters folded in.
    Retired {
        /// Peer.
        peer: PeerId,
        /// Generation.
        generation: GenerationId,
    },
    /// Plain peers only: both ends have new keys. The caller's clock says when, which `wg` shows as the latest handshake.
    HandshakeCompleted {
        /// Peer.
        peer: PeerId,
        /// Generation.
        generation: GenerationId,
    },
    /// Persist before answering anything else: the greatest handshake timestamp seen from this key.
    HandshakeSeen {
        /// The initiator's static key.
        peer_public_key: PublicKey,
        /// TAI64N.
        timestamp: [u8; 12],
    },
    /// Device only: what carries a generation over MASQUE from now on.
    Carried {
        /// Peer.
        peer: PeerId,
        /// Generation.
        generation: GenerationId,
        /// The version of HTTP.
        http: Http,
        /// Where the gateway is reached.
        endpoint: Option<SocketAddr>,
    },
    /// Plain peers only: what becomes of a tunnel over MASQUE.
    Tunnel {
        /// Peer.
        peer: PeerId,
        /// Generation.
        generation: GenerationId,
        /// What is new.
        news: TunnelNews,
    },
    /// Plain peers only: the target of a client's request is a name, and what it stands for is to be told by
    /// [`Engine::name_resolved`](super::Engine::name_resolved).
    NameWanted {
        /// The request.
        request: NameRequest,
        /// The name.
        name: String,
    },
    /// The peer is reached at a new address (roaming).
    EndpointMoved {
        /// Peer.
        peer: PeerId,
        /// Generation.
        generation: GenerationId,
        /// New address.
        endpoint: SocketAddr,
    },
}

/// Why `prepare` refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// No such peer.
    #[error("no peer {0:?}: call `set_peer` first")]
    UnknownPeer(PeerId),
    /// The receiver index's upper 24 bits are taken.
    #[error("receiver index {0:#x} is in use: draw another 24 random bits")]
    IndexInUse(u32),
    /// A swap order that is not newer than one already seen.
    #[error("swap_seq {got} is not above {seen}: the order is stale")]
    StaleOrder {
        /// Asked for.
        got: u64,
        /// Greatest seen.
        seen: u64,
    },
    /// Two peers cannot share a static key.
    #[error("the public key already belongs to another peer")]
    KeyInUse,
    /// A device connects over MASQUE and a gateway is connected to.
    #[error("the peer is at the wrong end for this tunnel: devices connect to gateways")]
    WrongEnd,
}

/// Why `commit` refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Nothing of that id is preparing.
    #[error("generation {0:?} is not preparing")]
    NotPreparing(GenerationId),
    /// The handshake is not confirmed.
    #[error("generation {0:?} is not ready: its handshake is not confirmed")]
    NotReady(GenerationId),
    /// All drain places are taken.
    #[error("too many generations drain: retry in {retry_after:?}")]
    DrainingFull {
        /// When the oldest will have drained.
        retry_after: Duration,
    },
}
