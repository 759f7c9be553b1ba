//! Why a packet went no further.

/// Every reason for which the engine drops a packet; each has a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
#[non_exhaustive]
pub enum DropReason {
    /// Not a well-formed IP packet, or segmentation metadata that does not fit it.
    Malformed,
    /// No peer owns the destination.
    NoRoute,
    /// The peer has no active generation: the tunnel is down.
    NoGeneration,
    /// The active generation has no session and no known endpoint, or may not initiate.
    NoSession,
    /// The packet waits for a handshake inside the session (not lost unless the handshake fails).
    Waiting,
    /// Waited for a handshake and was given up: later packets needed the room, or the handshake failed.
    GivenUp,
    /// The policy refused the flow; an answer was sent.
    Denied,
    /// A later fragment whose first one was not seen.
    FragmentWithoutFirst,
    /// Not a WireGuard message.
    NotWireGuard,
    /// No generation has that receiver index.
    UnknownIndex,
    /// Authentication failed, or the session is gone.
    Refused,
    /// A counter used before or too old.
    Replayed,
    /// Sealed by the peer under its old generation after its marker.
    PastMarker,
    /// Data under a generation that we have not committed.
    NotCommitted,
    /// The inner source address is not the peer's.
    SourceNotAllowed,
    /// A flow that the new identity has closed, seen under the old one.
    ClosedByNewIdentity,
    /// A handshake from a key we do not know, or to an end that only initiates.
    UnexpectedHandshake,
    /// mac1 is wrong, or the initiator must first prove its address.
    HandshakeRefused,
    /// More handshakes wait to be answered than there is room for; the initiator tries again. A QUIC client is told: by a
    /// Retry, which asks it to prove its address, or a refusal.
    TooManyHandshakes,
    /// A handshake timestamp that is not above the greatest seen from that key.
    StaleHandshake,
    /// An inner control packet that is malformed or stale, or that did not come from the other engine.
    StaleControl,
    /// Met congestion on the way, and its transport cannot be told of it but by a loss (RFC 6040).
    CongestionExperienced,
    /// Longer than the tunnel carries; its sender was told what fits.
    TooBig,
    /// The tunnel's send queue is full.
    QueueFull,
    /// What a tunnel must not carry: outside its routes or its scope, link-local, at the end of its hop limit.
    NotCarried,
    /// It came through a tunnel that is not open, or belongs to no generation.
    NoTunnel,
    /// A QUIC packet of no connection of ours, which begins none either.
    UnknownConnection,
    /// An HTTP datagram whose context nobody registered, or that is too short for one.
    UnknownContext,
}

impl DropReason {
    /// All reasons, in counter order.
    pub const ALL: [Self; 28] = [
        Self::Malformed,
        Self::NoRoute,
        Self::NoGeneration,
        Self::NoSession,
        Self::Waiting,
        Self::GivenUp,
        Self::Denied,
        Self::FragmentWithoutFirst,
        Self::NotWireGuard,
        Self::UnknownIndex,
        Self::Refused,
        Self::Replayed,
        Self::PastMarker,
        Self::NotCommitted,
        Self::SourceNotAllowed,
        Self::ClosedByNewIdentity,
        Self::UnexpectedHandshake,
        Self::HandshakeRefused,
        Self::TooManyHandshakes,
        Self::StaleHandshake,
        Self::StaleControl,
        Self::CongestionExperienced,
        Self::TooBig,
        Self::QueueFull,
        Self::NotCarried,
        Self::NoTunnel,
        Self::UnknownConnection,
        Self::UnknownContext,
    ];

    /// The name used in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NoRoute => "no_route",
            Self::NoGeneration => "no_generation",
            Self::NoSession => "no_session",
            Self::Waiting => "waiting",
            Self::GivenUp => "given_up",
            Self::Denied => "denied",
            Self::FragmentWithoutFirst => "fragment_without_first",
            Self::NotWireGuard => "not_wireguard",
            Self::UnknownIndex => "unknown_index",
            Self::Refused => "refused",
            Self::Replayed => "replayed",
            Self::PastMarker => "past_marker",
            Self::NotCommitted => "not_committed",
            Self::SourceNotAllowed => "source_not_allowed",
            Self::ClosedByNewIdentity => "closed_by_new_identity",
            Self::UnexpectedHandshake => "unexpected_handshake",
            Self::HandshakeRefused => "handshake_refused",
            Self::TooManyHandshakes => "too_many_handshakes",
            Self::StaleHandshake => "stale_handshake",
            Self::StaleControl => "stale_control",
            Self::CongestionExperienced => "congestion_experienced",
            Self::TooBig => "too_big",
            Self::QueueFull => "queue_full",
            Self::NotCarried => "not_carried",
            Self::NoTunnel => "no_tunnel",
            Self::UnknownConnection => "unknown_connection",
            Self::UnknownContext => "unknown_context",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_at_its_own_index() {
        for (at, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, at);
        }
    }
}
