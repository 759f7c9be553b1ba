//! A gateway against devices made by hand from the library, which do what our own engine never would.

use boringtun::x25519::{PublicKey, StaticSecret};
use std::net::SocketAddr;
use vestibule_engine::{
    core::{DropReason, Engine, EngineConfig, Event, PeerId, PeerKind},
    generation::{GenerationConfig, GenerationId, PrivateKey},
    policy::{Action, Policy},
    random::Seed,
};
use vestibule_virtual_time::{
    Clock,
    node::{Node, Output},
    packet::{Direction, Stamp, Tuple, UDP, build, payload},
    tunn::Driver,
    wire::{Kind, kind},
};

const GATEWAY: [u8; 32] = [9; 32];
const PEER: PeerId = PeerId(1);

fn address() -> SocketAddr {
    ([203, 0, 113, 1], 40_000).into()
}

struct World {
    clock: Clock,
    gateway: Node,
    events: Vec<Event>,
}

impl World {
    fn new() -> Self {
        let clock = Clock::start();
        let config = EngineConfig::new(PrivateKey::new(GATEWAY), Seed::new([1; 32]), std::time::UNIX_EPOCH);
        let mut engine = Engine::new(config, clock.now());
        engine.set_peer(PEER, PeerKind::Device, vec!["100.96.0.1/32".parse().unwrap()]);
        Self { clock, gateway: Node::new(engine, ([198, 51, 100, 1], 51820).into()), events: Vec::new() }
    }

    /// The gateway persists an order and prepares it; the device's half is the library's, its handshake done.
    fn order(&mut self, swap_seq: u64) -> Driver {
        let key = [u8::try_from(swap_seq).unwrap() + 100; 32];
        let config = GenerationConfig {
            id: GenerationId(swap_seq),
            swap_seq,
            identity: "device".into(),
            private_key: PrivateKey::new(GATEWAY),
            peer_public_key: PrivateKey::new(key).public(),
            preshared_key: None,
            endpoint: None,
            persistent_keepalive: None,
            policy: Policy::compile(Vec::new(), Action::Allow).into(),
            last_handshake: [0; 12],
            index: 1000 + u32::try_from(swap_seq).unwrap(),
        };
        self.gateway.engine.prepare(PEER, config, self.clock.now()).unwrap();
        let gateway = PublicKey::from(&StaticSecret::from(GATEWAY));
        let mut device = Driver::new(&StaticSecret::from(key), &gateway, None, 50 + u32::try_from(swap_seq).unwrap());
        let initiation = device.initiate().network.remove(0);
        for response in self.hand_in(&[initiation]).datagrams {
            let confirmations = device.receive(&response.1).network;
            self.hand_in(&confirmations);
        }
        device
    }

    fn hand_in(&mut self, datagrams: &[Vec<u8>]) -> Output {
        let batch: Vec<_> = datagrams.iter().map(|bytes| (address(), bytes.clone())).collect();
        let mut output = self.gateway.datagrams(&batch, self.clock.now());
        self.events.append(&mut output.events);
        output
    }

    fn active(&self) -> Option<GenerationId> {
        self.gateway.engine.active(PEER)
    }

    fn drops(&self, reason: DropReason) -> u64 {
        self.gateway.engine.counters().drops(reason)
    }
}

fn data(sequence: u64) -> Vec<u8> {
    let tuple = Tuple { source: ([100, 96, 0, 1].into(), 9), destination: ([10, 0, 0, 53].into(), 53), protocol: UDP };
    build(tuple, 0, 0, &payload(Stamp { flow: 0, direction: Direction::Up, sequence }, 64), false)
}

fn seal(device: &mut Driver, packet: &[u8]) -> Vec<u8> {
    device.send(packet).network.remove(0)
}

/// The marker as it stands on the wire inside the tunnel.
fn marker(swap_seq: u64, (old_receiver, old_counter): (u32, u64)) -> Vec<u8> {
    let mut packet = vec![0; 48];
    packet[..12].copy_from_slice(&[0x45, 0, 0, 48, 0, 0, 0, 0, 1, 253, 0, 0]);
    packet[12..20].copy_from_slice(&[192, 0, 0, 8, 192, 0, 0, 8]);
    let sum: u32 = packet[..20].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    packet[10..12].copy_from_slice(&(!u16::try_from(folded).unwrap()).to_be_bytes());
    packet[20..26].copy_from_slice(b"VSTB\x01\x01");
    packet[28..36].copy_from_slice(&swap_seq.to_be_bytes());
    packet[36..40].copy_from_slice(&old_receiver.to_be_bytes());
    packet[40..48].copy_from_slice(&old_counter.to_be_bytes());
    packet
}

fn session(datagram: &[u8]) -> (u32, u64) {
    let Kind::Data(receiver, counter) = kind(datagram) else { panic!("not data") };
    (receiver, counter)
}

#[test]
fn old_uplink_past_the_markers_counter_is_refused_and_what_was_before_it_passes() {
    let mut world = World::new();
    let mut old = world.order(1);
    assert_eq!(world.active(), None, "a handshake and a keepalive move nothing");
    let first = seal(&mut old, &data(0));
    assert_eq!(world.hand_in(&[first]).frames.len(), 1);
    assert_eq!(world.active(), Some(GenerationId(1)));

    let mut new = world.order(2);
    assert_eq!(world.active(), Some(GenerationId(1)), "a handshake and a keepalive move nothing");
    let late: Vec<_> = (1..=5).map(|sequence| seal(&mut old, &data(sequence))).collect();
    let marker = seal(&mut new, &marker(2, session(&late[2])));
    let answer = world.hand_in(&[marker]);
    assert_eq!((world.active(), answer.frames.len()), (Some(GenerationId(2)), 0), "the marker is never forwarded");
    assert_eq!(answer.datagrams.len(), 1, "an acknowledgement");

    // Overtaken by the marker: what had left before it passes, the rest is refused, in any order.
    for (datagram, passes) in [(&late[4], 0), (&late[0], 1), (&late[3], 0), (&late[2], 1), (&late[1], 1)] {
        assert_eq!(world.hand_in(std::slice::from_ref(datagram)).frames.len(), passes);
    }
    assert_eq!(world.drops(DropReason::PastMarker), 2);
}

#[test]
fn the_first_data_commits_and_a_marker_that_comes_later_still_bounds_the_old_uplink() {
    let mut world = World::new();
    let mut old = world.order(1);
    let before: Vec<_> = (0..3).map(|sequence| seal(&mut old, &data(sequence))).collect();
    world.hand_in(&before[..1]);
    let mut new = world.order(2);
    let first = seal(&mut new, &data(10));
    assert_eq!(world.hand_in(&[first]).frames.len(), 1);
    assert_eq!(world.active(), Some(GenerationId(2)));
    let marker = seal(&mut new, &marker(2, session(&before[1])));
    world.hand_in(&[marker]);
    assert_eq!(world.hand_in(&before[1..2]).frames.len(), 1);
    assert_eq!(world.hand_in(&before[2..3]).frames.len(), 0);
    assert_eq!(world.drops(DropReason::PastMarker), 1);
}

#[test]
fn an_order_that_gave_way_never_commits_whatever_its_device_sends() {
    let mut world = World::new();
    let mut old = world.order(1);
    let first = seal(&mut old, &data(0));
    world.hand_in(&[first]);
    let mut lower = world.order(2);
    let _higher = world.order(3);
    let marker = seal(&mut lower, &marker(2, (0, 0)));
    let packet = seal(&mut lower, &data(1));
    assert_eq!(world.hand_in(&[marker, packet]).frames.len(), 0);
    assert_eq!(world.active(), Some(GenerationId(1)));
    // The naive second order: the device had committed the lower one in good faith and goes on under it. It is on its
    // own until its next order; that is why a device orders only when its last commit is acknowledged.
    assert_eq!(world.drops(DropReason::UnknownIndex), 2);
}

#[test]
fn a_marker_for_another_order_or_under_the_old_keys_moves_nothing() {
    let mut world = World::new();
    let mut old = world.order(1);
    let first = seal(&mut old, &data(0));
    world.hand_in(&[first]);
    let mut new = world.order(2);
    let wrong = seal(&mut new, &marker(3, (0, 0)));
    let foreign = seal(&mut old, &marker(2, (0, 0)));
    assert!(world.hand_in(&[wrong, foreign]).frames.is_empty());
    assert_eq!(world.active(), Some(GenerationId(1)));
    assert_eq!(world.drops(DropReason::StaleControl), 2);
    // A marker that is cut short, and data to the control address: kept from the adapter, too.
    let short = seal(&mut new, &marker(2, (0, 0))[..40]);
    assert!(world.hand_in(&[short]).frames.is_empty());
    assert_eq!(world.active(), Some(GenerationId(1)));
}

#[test]
fn another_devices_source_address_is_refused() {
    let mut world = World::new();
    let mut device = world.order(1);
    let tuple = Tuple { source: ([100, 96, 0, 2].into(), 9), destination: ([10, 0, 0, 53].into(), 53), protocol: UDP };
    let stamp = Stamp { flow: 0, direction: Direction::Up, sequence: 0 };
    let forged = seal(&mut device, &build(tuple, 0, 0, &payload(stamp, 64), false));
    assert!(world.hand_in(&[forged]).frames.is_empty());
    assert_eq!(world.drops(DropReason::SourceNotAllowed), 1);
}
