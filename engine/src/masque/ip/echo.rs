//! ICMPv6 echo inside the tunnel: proof that IPv6's least MTU gets through, and the answer to who asks for it
//! (RFC 9484 section 7.2).

use super::IPV6_MINIMUM_MTU;
use crate::packet::answer::write_ip;
use crate::packet::checksum::pseudo_header;
use crate::packet::header::{Fragment, Headers, ICMPV6, Transport};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// All nodes on the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
/// After each request so long; the fifth wait ends in failure: 0.5 + 1 + 2 + 4 + 4 s, in which any path that works
/// carries one of five.
const WAITS: [Duration; 5] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(4),
];

/// What is known of the tunnel's MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeState {
    /// No answer yet.
    Waiting,
    /// 1280 bytes get through, both ways.
    Confirmed,
    /// Five requests had no answer: the tunnel must be torn down.
    Failed,
}

/// Sends ICMPv6 echo requests with 1232 bytes of data, 1280 in all, until one is answered.
#[derive(Debug)]
pub struct MtuProbe {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    id: u16,
    sent: usize,
    due: Instant,
    state: ProbeState,
}

impl MtuProbe {
    /// A probe that begins at once. Without a `peer` it asks all nodes on the link. `id` tells its answers from those
    /// to other pings.
    #[must_use]
    pub fn new(source: Ipv6Addr, peer: Option<Ipv6Addr>, id: u16, now: Instant) -> Self {
        let destination = peer.unwrap_or(ALL_NODES);
        Self { source, destination, id, sent: 0, due: now, state: ProbeState::Waiting }
    }

    /// Writes the request that is due into `out` (1280 bytes) and returns its length.
    pub fn poll(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        if self.state != ProbeState::Waiting || now < self.due {
            return None;
        }
        let Some(wait) = WAITS.get(self.sent) else {
            self.state = ProbeState::Failed;
            return None;
        };
        self.sent += 1;
        self.due = now + *wait;
        let sequence = u16::try_from(self.sent).unwrap_or(u16::MAX).to_be_bytes();
        let id = self.id.to_be_bytes();
        write_echo(ECHO_REQUEST, self.source, self.destination, out, IPV6_MINIMUM_MTU - 40, |icmp| {
            icmp[4..8].copy_from_slice(&[id[0], id[1], sequence[0], sequence[1]]);
            icmp[8..].fill(0x5a);
        })
    }

    /// True when `packet` is the answer that was waited for; it is for nobody else then.
    pub fn is_answered_by(&mut self, packet: &[u8], headers: &Headers) -> bool {
        let ours = headers.transport == Transport::Echo { id: self.id, reply: true }
            && headers.destination == IpAddr::V6(self.source)
            && (self.destination == ALL_NODES || headers.source == IpAddr::V6(self.destination))
            && headers.total_len == IPV6_MINIMUM_MTU
            && packet.len() >= headers.total_len;
        if ours && self.state == ProbeState::Waiting {
            self.state = ProbeState::Confirmed;
        }
        ours
    }

    /// When [`Self::poll`] wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        (self.state == ProbeState::Waiting).then_some(self.due)
    }

    /// What is known by now.
    #[must_use]
    pub fn state(&self) -> ProbeState {
        self.state
    }
}

/// Writes this end's answer to an ICMPv6 echo request for `own`, or for all nodes on the link, into `out`; returns its
/// length. `None`: `packet` is no such request, or `out` is too small.
pub fn answer_echo(packet: &[u8], headers: &Headers, own: Ipv6Addr, out: &mut [u8]) -> Option<usize> {
    let IpAddr::V6(asker) = headers.source else { return None };
    let for_us = headers.destination == IpAddr::V6(own) || headers.destination == IpAddr::V6(ALL_NODES);
    let whole =
        headers.fragment == Fragment::Whole && matches!(headers.transport, Transport::Echo { reply: false, .. });
    if !for_us || !whole || asker.is_multicast() || asker.is_unspecified() {
        return None;
    }
    let request = packet.get(headers.transport_offset..headers.total_len)?;
    write_echo(ECHO_REPLY, own, asker, out, request.len(), |icmp| icmp[4..].copy_from_slice(&request[4..]))
}

/// An echo message of `len` bytes above IP, at least 8; `fill` writes what follows the checksum.
fn write_echo(
    kind: u8,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    out: &mut [u8],
    len: usize,
    fill: impl FnOnce(&mut [u8]),
) -> Option<usize> {
    let (source, destination) = (source.into(), destination.into());
    let (packet, offset) = write_ip(source, destination, ICMPV6, len, 0, out)?;
    let icmp = packet.get_mut(offset..).filter(|icmp| icmp.len() >= 8)?;
    icmp[..4].copy_from_slice(&[kind, 0, 0, 0]);
    fill(icmp);
    let sum = pseudo_header(source, destination, ICMPV6, u16::try_from(len).ok()?).with(icmp).finish();
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    Some(packet.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::packet::testing::assert_checksums;

    const CLIENT: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
    const GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

    fn exchange(peer: Option<Ipv6Addr>) -> (MtuProbe, Vec<u8>) {
        let now = Instant::now();
        let mut probe = MtuProbe::new(CLIENT, peer, 77, now);
        let (mut request, mut reply) = ([0; 1280], [0; 1280]);
        assert_eq!(probe.poll(now, &mut request), Some(1280));
        assert_checksums(&request);
        let headers = Headers::parse(&request).unwrap();
        assert_eq!(headers.transport_len() - 8, 1232, "the RFC's count of data");
        assert_eq!(answer_echo(&request, &headers, GATEWAY, &mut reply), Some(1280));
        assert_checksums(&reply);
        assert_eq!(reply[44..], request[44..]);
        (probe, reply.to_vec())
    }

    #[test]
    fn d11_an_echo_of_1280_bytes_confirms_the_mtu() {
        for peer in [None, Some(GATEWAY)] {
            let (mut probe, reply) = exchange(peer);
            let headers = Headers::parse(&reply).unwrap();
            assert!(probe.is_answered_by(&reply, &headers));
            assert_eq!((probe.state(), probe.deadline()), (ProbeState::Confirmed, None));
        }
    }

    #[test]
    fn d11_other_echoes_prove_nothing() {
        let (mut probe, reply) = exchange(Some(GATEWAY));
        let mut other = reply.clone();
        other[45] += 1; // another's identifier
        assert!(!probe.is_answered_by(&other, &Headers::parse(&other).unwrap()));
        let mut elsewhere = reply.clone();
        elsewhere[23] += 1; // not who was asked
        assert!(!probe.is_answered_by(&elsewhere, &Headers::parse(&elsewhere).unwrap()));
        let mut short = reply[..1279].to_vec();
        short[4..6].copy_from_slice(&1239u16.to_be_bytes());
        assert!(!probe.is_answered_by(&short, &Headers::parse(&short).unwrap()));
        assert_eq!(probe.state(), ProbeState::Waiting);
    }

    #[test]
    fn d11_an_unanswered_probe_fails_after_five() {
        let start = Instant::now();
        let mut probe = MtuProbe::new(CLIENT, None, 77, start);
        let mut sent = 0;
        while let Some(due) = probe.deadline() {
            sent += usize::from(probe.poll(due, &mut [0; 1280]).is_some());
            assert_eq!(probe.poll(due, &mut [0; 1280]), None, "one at a time");
        }
        assert_eq!((sent, probe.state()), (5, ProbeState::Failed));
        assert_eq!(probe.due - start, Duration::from_millis(11_500));
    }

    #[test]
    fn d15_all_nodes_are_answered_and_nothing_else_that_is_not_ours() {
        let (_, reply) = exchange(None);
        let headers = Headers::parse(&reply).unwrap();
        assert_eq!(answer_echo(&reply, &headers, CLIENT, &mut [0; 1280]), None, "a reply is not answered");
        let mut request = [0; 1280];
        MtuProbe::new(CLIENT, Some(GATEWAY), 1, Instant::now()).poll(Instant::now(), &mut request);
        let headers = Headers::parse(&request).unwrap();
        assert_eq!(answer_echo(&request, &headers, CLIENT, &mut [0; 1280]), None, "for somebody else");
        assert_eq!(answer_echo(&request, &headers, GATEWAY, &mut [0; 1279]), None, "no room");
    }
}
