//! What goes in at one end comes out at the other: random traffic through two engines, cut, sealed, troubled on the way,
//! opened, merged, and cut again by what would be the receiving kernel.
//!
//! One datagram of the wire is one packet, in the order of sealing: so each flow's packets can be told exactly, whatever
//! the wire loses, repeats, delays or marks.

#![allow(clippy::unwrap_used)]

use super::carried_traffic::{Item, OwnedFrame, item};
use super::{DropReason, Engine, EngineConfig, PeerId, PeerKind, SessionBackend};
use crate::generation::{GenerationConfig, GenerationId, PrivateKey};
use crate::packet::testing::{host, sum_v4, udp};
use crate::packet::{Datagram, Datagrams, Ecn, Fragment, Frame, Frames, Headers, Offload, Transport, segments};
use crate::policy::{Action, Policy};
use crate::random::Seed;
use proptest::prelude::*;
use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

const PEER: PeerId = PeerId(1);

struct Lent(Vec<OwnedFrame>, usize);
impl Frames for Lent {
    fn next_frame(&mut self) -> Option<Frame<'_>> {
        let (bytes, offload) = self.0.get_mut(self.1)?;
        self.1 += 1;
        Some(Frame { bytes, offload: *offload })
    }
}

#[derive(Clone, Debug, PartialEq)]
struct OnWire {
    bytes: Vec<u8>,
    ecn: Ecn,
}

/// Neighbours of equal size and field, merged as GRO does.
struct Merged(Vec<(Vec<u8>, usize, Ecn)>, usize, SocketAddr);
impl Merged {
    fn of(wire: &[OnWire], source: SocketAddr) -> Self {
        let mut merged: Vec<(Vec<u8>, usize, Ecn)> = Vec::new();
        for datagram in wire {
            match merged.last_mut() {
                Some((bytes, stride, ecn))
                    if *ecn == datagram.ecn
                        && bytes.len().is_multiple_of(*stride)
                        && datagram.bytes.len() <= *stride
                        && bytes.len() + datagram.bytes.len() < 65_507 =>
                {
                    bytes.extend(&datagram.bytes);
                }
                _ => merged.push((datagram.bytes.clone(), datagram.bytes.len(), datagram.ecn)),
            }
        }
        Self(merged, 0, source)
    }
}
impl Datagrams for Merged {
    fn next_datagram(&mut self) -> Option<Datagram<'_>> {
        let (bytes, stride, ecn) = self.0.get_mut(self.1)?;
        self.1 += 1;
        Some(Datagram { bytes, stride: *stride, source: self.2, ecn: *ecn })
    }
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 51820))
}

fn key(number: u8) -> PrivateKey {
    PrivateKey::new([number; 32])
}

/// The engine of host `number`, which knows the `other` one.
fn end(number: u8, other: u8, backend: SessionBackend, now: Instant) -> Engine {
    let config = EngineConfig::new(key(number), Seed::new([number; 32]), SystemTime::now());
    let mut engine = Engine::new(EngineConfig { backend, ..config }, now);
    let nets = [false, true].map(|v6| host(v6, other).into());
    engine.set_peer(PEER, PeerKind::Plain, nets.to_vec());
    let generation = GenerationConfig {
        id: GenerationId(1),
        swap_seq: 0,
        identity: "".into(),
        private_key: key(number),
        peer_public_key: key(other).public(),
        preshared_key: None,
        endpoint: Some(address(other)),
        persistent_keepalive: None,
        policy: Arc::new(Policy::compile(vec![], Action::Allow)),
        last_handshake: [0; 12],
        index: number.into(),
    };
    engine.renew(PEER, generation, now).unwrap();
    engine.deliveries().merge_udp(true);
    engine
}

fn sent(engine: &mut Engine) -> Vec<OnWire> {
    let mut wire = Vec::new();
    for batch in engine.transmits().batches() {
        let pieces = batch.bytes().chunks(batch.segment);
        wire.extend(pieces.map(|bytes| OnWire { bytes: bytes.to_vec(), ecn: batch.ecn }));
    }
    engine.transmits().release(usize::MAX);
    wire
}

/// What the kernel behind the adapter makes of the frames.
fn delivered(engine: &mut Engine) -> Vec<Vec<u8>> {
    let frames: Vec<_> =
        engine.deliveries().frames().map(|f| (f.pieces().collect::<Vec<_>>().concat(), f.offload)).collect();
    engine.deliveries().clear();
    frames.into_iter().flat_map(|frame| cut(frame).unwrap()).collect()
}

fn cut((mut bytes, offload): OwnedFrame) -> Option<Vec<Vec<u8>>> {
    let mut packets = Vec::new();
    segments(Frame { bytes: &mut bytes, offload }, |packet| packets.push(packet.to_vec())).ok()?;
    Some(packets)
}

/// Two engines with a session.
fn pair(backend: SessionBackend, now: Instant) -> (Engine, Engine) {
    let (mut one, mut two) = (end(1, 2, backend, now), end(2, 1, backend, now));
    one.handle_frames(&mut Lent(vec![(udp(false, (1, 1), b"first"), Offload::default())], 0), now);
    for _ in 0..4 {
        two.handle_datagrams(&mut Merged::of(&sent(&mut one), address(1)), now);
        one.handle_datagrams(&mut Merged::of(&sent(&mut two), address(2)), now);
    }
    assert_eq!(delivered(&mut two).len(), 1, "a session is there");
    (one, two)
}

/// What the wire does to the datagrams: for each, whether it is lost, repeated, by how many places it is late, and how a
/// router marks it.
type Trouble = Vec<(u8, u8, u8)>;

/// The datagrams as they arrive: their numbers, and their marks.
fn arrivals(wire: &[OnWire], trouble: &Trouble) -> Vec<(usize, OnWire)> {
    let mut arriving = Vec::new();
    for (number, datagram) in wire.iter().enumerate() {
        let (fate, late, mark) = trouble.get(number % trouble.len().max(1)).copied().unwrap_or((255, 255, 255));
        let mut datagram = datagram.clone();
        match mark {
            0..40 if datagram.ecn != Ecn::NotEct => datagram.ecn = Ecn::Ce,
            40..44 => datagram.ecn = Ecn::Ce,
            44..50 => datagram.ecn = Ecn::Ect1,
            50..60 => datagram.ecn = Ecn::NotEct,
            _ => {}
        }
        let at = number * 2 + if late < 40 { usize::from(late) * 2 + 1 } else { 0 };
        if fate >= 20 {
            arriving.push((at, number, datagram.clone()));
        }
        if (20..40).contains(&fate) {
            arriving.push((at + usize::from(late), number, datagram));
        }
    }
    arriving.sort_by_key(|(at, number, _)| (*at, *number));
    arriving.into_iter().map(|(_, number, datagram)| (number, datagram)).collect()
}

/// The identification of a packet that must not be fragmented means nothing, and merging does not keep it.
fn plain(mut packet: Vec<u8>) -> Vec<u8> {
    let headers = Headers::parse(&packet).unwrap();
    packet.truncate(headers.total_len);
    if packet[0] >> 4 == 4 && packet[6] & 0x40 != 0 {
        packet[4..6].fill(0);
        sum_v4(&mut packet);
    }
    packet
}

type Pair = (IpAddr, IpAddr, u8);
type Flow = (Pair, Option<(u16, u16)>);
/// A flow, or the fragments of a pair of hosts, whose place is kept among all of the pair's flows.
fn flow(packet: &[u8]) -> (Pair, Option<(u16, u16)>, bool) {
    let headers = Headers::parse(packet).unwrap();
    let ports = match headers.transport {
        Transport::Tcp(tcp) => Some((tcp.source_port, tcp.destination_port)),
        Transport::Udp { source_port, destination_port } => Some((source_port, destination_port)),
        _ => None,
    };
    ((headers.source, headers.destination, headers.protocol), ports, headers.is_fragment())
}

/// For every flow its packets, with the fragments between them, in order.
fn by_flow(packets: Vec<Vec<u8>>) -> Vec<(Flow, Vec<Vec<u8>>)> {
    let packets: Vec<_> = packets.into_iter().map(plain).map(|packet| (flow(&packet), packet)).collect();
    let flows: BTreeSet<_> =
        packets.iter().map(|((pair, ports, fragment), _)| (*pair, ports.filter(|_| !fragment))).collect();
    let belongs =
        |(pair, ports): &Flow, key: &(Pair, Option<(u16, u16)>, bool)| key.0 == *pair && (key.2 || key.1 == *ports);
    flows
        .into_iter()
        .map(|of| {
            let own = packets.iter().filter(|(key, _)| belongs(&of, key)).map(|(_, packet)| packet.clone());
            (of, own.collect())
        })
        .collect()
}

/// What must come out for what arrives.
fn expected(packets: &[Vec<u8>], arriving: &[(usize, OnWire)]) -> (Vec<Vec<u8>>, u64, u64) {
    let (mut seen, mut firsts) = (HashSet::new(), HashSet::new());
    let (mut out, mut congested, mut lonely) = (Vec::new(), 0, 0);
    for (number, datagram) in arriving {
        if !seen.insert(*number) {
            continue;
        }
        let mut packet = packets[*number].clone();
        let Some(ecn) = datagram.ecn.onto(Ecn::of(&packet)) else {
            congested += 1;
            continue;
        };
        if packet[0] >> 4 == 6 {
            packet[1] = packet[1] & !0x30 | ecn.bits() << 4;
        } else {
            packet[1] = packet[1] & !3 | ecn.bits();
            sum_v4(&mut packet);
        }
        let headers = Headers::parse(&packet).unwrap();
        match headers.fragment {
            Fragment::First { id } => {
                firsts.insert((headers.source, id));
            }
            Fragment::Later { id } if !firsts.contains(&(headers.source, id)) => {
                lonely += 1;
                continue;
            }
            _ => {}
        }
        out.push(packet);
    }
    (out, congested, lonely)
}

fn check(backend: SessionBackend, items: &[Item], trouble: &Trouble, batch: usize) -> Result<(), TestCaseError> {
    let now = Instant::now();
    let (mut one, mut two) = pair(backend, now);
    let mut seqs = [1, 1_000_000, u32::MAX - 9000, 77];
    let mut frames = Vec::new();
    for item in items {
        let of_item = item.frames(&mut seqs);
        // A stack sends no identification twice in so short a time, for its fragments at least.
        let again = |(bytes, _): &OwnedFrame| {
            match Headers::parse(bytes).unwrap().fragment {
            Fragment::First { id } => frames.iter().any(|(other, _): &OwnedFrame| {
                matches!(Headers::parse(other).unwrap().fragment, Fragment::First { id: it } if it == id)
            }),
            _ => false,
        }
        };
        if !of_item.iter().any(again) {
            frames.extend(of_item);
        }
    }
    let packets: Vec<_> = frames.iter().flat_map(|frame| cut(frame.clone()).unwrap()).collect();
    let mut wire = Vec::new();
    for frames in frames.chunks(batch) {
        one.handle_frames(&mut Lent(frames.to_vec(), 0), now);
        wire.extend(sent(&mut one));
    }
    prop_assert_eq!(wire.len(), packets.len(), "one datagram each");
    for (datagram, packet) in wire.iter().zip(&packets) {
        prop_assert_eq!(datagram.ecn, Ecn::of(packet));
    }
    let arriving = arrivals(&wire, trouble);
    let mut out = Vec::new();
    for arriving in arriving.chunks(batch * 10) {
        let batch: Vec<_> = arriving.iter().map(|(_, datagram)| datagram.clone()).collect();
        two.handle_datagrams(&mut Merged::of(&batch, address(1)), now);
        out.extend(delivered(&mut two));
    }
    let (expected, congested, lonely) = expected(&packets, &arriving);
    prop_assert_eq!(by_flow(out), by_flow(expected));
    let drops = |reason| two.counters().drops(reason);
    prop_assert_eq!(drops(DropReason::CongestionExperienced), congested);
    prop_assert_eq!(drops(DropReason::FragmentWithoutFirst), lonely);
    let distinct: HashSet<_> = arriving.iter().map(|(number, _)| number).collect();
    prop_assert_eq!(drops(DropReason::Replayed), (arriving.len() - distinct.len()) as u64);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// On a path that keeps all and their order, nothing changes but the marks.
    #[test]
    fn what_goes_in_comes_out(items in prop::collection::vec(item(), 1..40), batch in 1usize..20) {
        for backend in [SessionBackend::Native, SessionBackend::Boringtun] {
            check(backend, &items, &Vec::new(), batch)?;
        }
    }

    /// On one that loses, repeats, delays and marks, each flow gets what arrived, once, in the order of arrival.
    #[test]
    fn a_bad_wire_costs_what_it_takes_and_no_more(
        items in prop::collection::vec(item(), 1..40),
        trouble in prop::collection::vec(any::<(u8, u8, u8)>(), 1..200),
        batch in 1usize..20,
    ) {
        for backend in [SessionBackend::Native, SessionBackend::Boringtun] {
            check(backend, &items, &trouble, batch)?;
        }
    }
}
