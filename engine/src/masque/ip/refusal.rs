//! Why a packet does not travel, and what its sender is told (RFC 9484 section 7.2.1).

use crate::packet::answer::{IcmpMessage, icmp_error};
use crate::packet::{Headers, Malformed};
use std::net::IpAddr;

/// Why a packet is not forwarded. None of these is an error of the peer's protocol: the tunnel goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is no packet.
    #[error("malformed packet")]
    Malformed(#[source] Malformed),
    /// Its sender does not own the source address (BCP 38).
    #[error("the source address was not assigned to the sender")]
    Source,
    /// Nobody advertised a route to its destination.
    #[error("no route to the destination")]
    NoRoute,
    /// The request was not made for such packets.
    #[error("the destination or the protocol is outside the request's scope")]
    Scope,
    /// It does not fit into the tunnel.
    #[error("the packet is longer than the tunnel's {mtu} bytes")]
    TooBig {
        /// What fits.
        mtu: u16,
    },
    /// It was forwarded too often.
    #[error("hop limit exceeded")]
    HopLimit,
    /// It must not leave the link it was sent on.
    #[error("link-local packets are not forwarded")]
    LinkLocal,
    /// An ICMP error about a packet that did not come through this tunnel.
    #[error("an ICMP error quotes a packet that was not sent through this tunnel")]
    Quote,
}

impl Refusal {
    /// Type, code and value of the ICMP or ICMPv6 error; `None`: nothing is said.
    fn message(self, v4: bool) -> Option<IcmpMessage> {
        let (kind, code, value) = match (self, v4) {
            (Self::Source, true) | (Self::Scope, true) => (3, 13, 0),
            (Self::Source, false) => (1, 5, 0),
            (Self::NoRoute, true) => (3, 0, 0),
            (Self::NoRoute, false) => (1, 0, 0),
            (Self::Scope, false) => (1, 1, 0),
            (Self::TooBig { mtu }, true) => (3, 4, u32::from(mtu)),
            (Self::TooBig { mtu }, false) => (2, 0, u32::from(mtu)),
            (Self::HopLimit, true) => (11, 0, 0),
            (Self::HopLimit, false) => (3, 0, 0),
            (Self::Malformed(_) | Self::LinkLocal | Self::Quote, _) => return None,
        };
        Some(IcmpMessage { kind, code, value })
    }

    /// Writes the ICMP error for `packet` into `out` (1280 bytes suffice), from `answerer` or, without one of its IP
    /// version, from the packet's destination; returns its length. `None` where nothing is to be said, or an ICMP error
    /// is forbidden (see [`crate::packet::answer::deny`]).
    pub fn answer(self, packet: &[u8], headers: &Headers, answerer: Option<IpAddr>, out: &mut [u8]) -> Option<usize> {
        icmp_error(packet, headers, answerer, self.message(headers.source.is_ipv4())?, out)
    }
}
