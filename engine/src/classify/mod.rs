//! From packet to flow: header parsing, flow keys and the flow table.

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
