//! What makes packets one flow.

use crate::packet::header::{Headers, TCP, Transport, UDP};
use std::net::IpAddr;

/// A flow as its opener sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Who opened the flow.
    pub source: IpAddr,
    /// Whom the flow was opened towards.
    pub destination: IpAddr,
    /// IP protocol number (6 TCP, 17 UDP, 1 ICMP, 58 ICMPv6, ...).
    pub protocol: u8,
    /// TCP/UDP source port, ICMP echo identifier; else 0.
    pub source_port: u16,
    /// TCP/UDP destination port; else 0.
    pub destination_port: u16,
}

impl FlowKey {
    /// The key of the packet's flow, if this packet opened it.
    #[must_use]
    pub fn of(headers: &Headers) -> Self {
        let (source_port, destination_port) = match headers.transport {
            Transport::Tcp(tcp) => (tcp.source_port, tcp.destination_port),
            Transport::Udp { source_port, destination_port } => (source_port, destination_port),
            Transport::Echo { id, .. } => (id, 0),
            Transport::IcmpError { .. } | Transport::Icmp | Transport::Opaque => (0, 0),
        };
        Self {
            source: headers.source,
            destination: headers.destination,
            protocol: headers.protocol,
            source_port,
            destination_port,
        }
    }

    /// The key of the flow that the ICMP error in `packet` complains about, as the quoted packet's sender would
    /// have opened it. `None` when it is no error, quotes too little, or is not addressed to the quoted packet's
    /// sender, to whom alone such an error is of use (RFC 1122 section 3.2.2).
    #[must_use]
    pub fn quoted(packet: &[u8], headers: &Headers) -> Option<Self> {
        let inner = Headers::parse_quote(packet, headers)?;
        (inner.source == headers.destination).then(|| Self::of(&inner))
    }

    /// The key that a packet in the other direction has. An echo identifier stays where it is.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let swaps = matches!(self.protocol, TCP | UDP);
        let (source_port, destination_port) =
            if swaps { (self.destination_port, self.source_port) } else { (self.source_port, self.destination_port) };
        Self {
            source: self.destination,
            destination: self.source,
            protocol: self.protocol,
            source_port,
            destination_port,
        }
    }

    /// The key as words that are the same for both directions.
    pub(super) fn symmetric(&self) -> [u64; 5] {
        let other = if matches!(self.protocol, TCP | UDP) { self.destination_port } else { self.source_port };
        let (mut low, mut high) = ((bits(self.source), self.source_port), (bits(self.destination), other));
        if low > high {
            std::mem::swap(&mut low, &mut high);
        }
        let rest = u64::from(low.1) << 48
            | u64::from(high.1) << 32
            | u64::from(self.protocol) << 8
            | u64::from(self.source.is_ipv6());
        [(low.0 >> 64) as u64, low.0 as u64, (high.0 >> 64) as u64, high.0 as u64, rest]
    }
}

/// An address as a number.
pub(super) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}
