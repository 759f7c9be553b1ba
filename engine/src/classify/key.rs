//! What makes packets one flow.

use crate::packet::header::{Headers, Transport};
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
    /// have opened it. `None` when it is no error or quotes too little.
    #[must_use]
    pub fn quoted(packet: &[u8], headers: &Headers) -> Option<Self> {
        Headers::parse_quote(packet, headers).map(|inner| Self::of(&inner))
    }
}
