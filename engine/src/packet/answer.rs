//! Honest answers: the packets that tell a sender why its own went nowhere.

use super::Headers;
use std::net::{IpAddr, SocketAddr};

/// Largest answer: ICMPv6 errors fill the minimum MTU (RFC 4443 section 2.4).
pub const MAX_ANSWER: usize = 1280;

/// Writes the answer to a denied packet into `out` ([`MAX_ANSWER`] bytes suffice) and returns its length: a TCP RST,
/// or ICMP "administratively prohibited" from `answerer` (the packet's destination if `None`).
///
/// `None` where RFC 1122 and RFC 4443 forbid an answer, or `out` is too small.
pub fn deny(packet: &[u8], headers: &Headers, answerer: Option<IpAddr>, out: &mut [u8]) -> Option<usize> {
    let _ = (packet, headers, answerer, out);
    None
}

/// Writes a TCP RST that closes a live flow, as if `source` had sent it, and returns its length; 0 if `out` is too
/// small or the two addresses are not of one version.
pub fn reset(source: SocketAddr, destination: SocketAddr, seq: u32, ack: Option<u32>, out: &mut [u8]) -> usize {
    let _ = (source, destination, seq, ack, out);
    0
}

/// Writes ICMP "fragmentation needed" or ICMPv6 "packet too big" with `mtu`, from the packet's destination.
///
/// `None` where no answer is allowed, or `out` is too small.
pub fn too_big(packet: &[u8], headers: &Headers, mtu: u16, out: &mut [u8]) -> Option<usize> {
    let _ = (packet, headers, mtu, out);
    None
}
