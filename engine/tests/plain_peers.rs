//! Plain WireGuard peers: what may be changed while they talk, and what is told of them.
#![allow(clippy::unwrap_used, missing_docs)]

mod ends;

use ends::{Batch, Wire};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use vestibule_engine::core::{Engine, EngineConfig, Event, PeerId, PeerKind};
use vestibule_engine::generation::{GenerationConfig, GenerationId, PrivateKey};
use vestibule_engine::policy::{Action, Policy};
use vestibule_engine::random::Seed;

const PEER: PeerId = PeerId(1);

struct End {
    engine: Engine,
    key: PrivateKey,
    address: SocketAddr,
    delivered: Vec<Vec<u8>>,
    events: Vec<Event>,
    last: u64,
}

fn key(byte: u8) -> PrivateKey {
    PrivateKey::new([byte; 32])
}

fn packet(from: u8, to: u8) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, from, 10, 0, 0, to];
    packet.extend([0x10, 0, 0x20, 0, 0, 8, 0, 0]);
    let sum: u32 = packet[..20].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

impl End {
    fn new(number: u8, now: Instant) -> Self {
        let key = key(number);
        let config = EngineConfig::new(key.clone(), Seed::new([number; 32]), SystemTime::now());
        let address = SocketAddr::from(([192, 0, 2, number], 51820));
        Self { engine: Engine::new(config, now), key, address, delivered: vec![], events: vec![], last: 0 }
    }

    /// Gives the peer another generation.
    fn renew(&mut self, other: &PrivateKey, endpoint: Option<SocketAddr>, preshared: Option<u8>, now: Instant) {
        self.last += 1;
        let config = GenerationConfig {
            id: GenerationId(self.last),
            swap_seq: 0,
            identity: "".into(),
            private_key: self.key.clone(),
            peer_public_key: other.public(),
            preshared_key: preshared.map(key),
            endpoint,
            persistent_keepalive: None,
            policy: Arc::new(Policy::compile(vec![], Action::Allow)),
            last_handshake: [0; 12],
            index: self.last as u32,
        };
        self.engine.renew(PEER, config, now).unwrap();
    }

    fn send(&mut self, packet: Vec<u8>, now: Instant) {
        self.engine.handle_frames(&mut Batch([packet].into(), vec![]), now);
    }
}

/// Two ends, joined by a lossless wire.
struct World {
    ends: [End; 2],
    now: Instant,
    /// Handshake initiations seen on the wire.
    initiations: usize,
    /// Bytes of datagrams sent by each end.
    wire_bytes: [u64; 2],
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let mut ends = [End::new(1, now), End::new(2, now)];
        for (place, other) in [(0, 2), (1, 1)] {
            let net = format!("10.0.0.{other}/32").parse().unwrap();
            ends[place].engine.set_peer(PEER, PeerKind::Plain, vec![net]);
        }
        let (one, two) = (ends[0].key.clone(), ends[1].key.clone());
        let to = ends[1].address;
        ends[0].renew(&two, Some(to), None, now);
        ends[1].renew(&one, None, None, now);
        Self { ends, now, initiations: 0, wire_bytes: [0; 2] }
    }

    fn settle(&mut self) {
        loop {
            let mut moved = false;
            for place in [0, 1] {
                let source = self.ends[place].address;
                let mut wire = VecDeque::new();
                let other = self.ends[1 - place].address;
                let transmits = self.ends[place].engine.transmits();
                for batch in transmits.batches() {
                    let stride = batch.segment.max(1);
                    for datagram in batch.bytes().chunks(stride) {
                        self.initiations += usize::from(datagram[0] == 1);
                        self.wire_bytes[place] += datagram.len() as u64;
                    }
                    if batch.destination == other {
                        wire.push_back((source, stride, batch.bytes().to_vec()));
                    }
                }
                let all = transmits.len();
                transmits.release(all);
                moved |= !wire.is_empty();
                self.ends[1 - place].engine.handle_datagrams(&mut Wire(wire, vec![]), self.now);
            }
            if !moved {
                break;
            }
        }
        for end in &mut self.ends {
            let frames = end.engine.deliveries();
            end.delivered.extend(frames.frames().map(|frame| frame.pieces().collect::<Vec<_>>().concat()));
            frames.clear();
            end.events.extend(std::iter::from_fn(|| end.engine.poll_event()));
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self.ends.iter().filter_map(|end| end.engine.poll_deadline()).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            for end in &mut self.ends {
                end.engine.handle_deadline(self.now);
            }
            self.settle();
        }
        self.now = end;
    }

    /// A packet from each end must arrive.
    fn exchange(&mut self) {
        for place in [0, 1] {
            let numbers = (place as u8 + 1, 2 - place as u8);
            let now = self.now;
            self.ends[place].send(packet(numbers.0, numbers.1), now);
            self.settle();
            assert_eq!(self.ends[1 - place].delivered.pop(), Some(packet(numbers.0, numbers.1)), "from {}", numbers.0);
        }
    }

    fn handshakes(&self, place: usize) -> usize {
        self.ends[place].events.iter().filter(|event| matches!(event, Event::HandshakeCompleted { .. })).count()
    }
}

#[test]
fn each_handshake_is_told_once_and_bytes_are_those_of_the_wire() {
    let mut world = World::new();
    world.exchange();
    world.exchange();
    assert_eq!((world.handshakes(0), world.handshakes(1), world.initiations), (1, 1, 1));
    let now = world.now;
    world.ends[0].engine.rekey(PEER, now);
    world.settle();
    world.exchange();
    assert_eq!((world.handshakes(0), world.handshakes(1)), (2, 2));
    let told = [0, 1].map(|place: usize| world.ends[place].engine.peer_statistics(PEER).unwrap());
    assert_eq!([told[0].tx_bytes, told[1].tx_bytes], world.wire_bytes);
    assert_eq!([told[1].rx_bytes, told[0].rx_bytes], world.wire_bytes);
    assert_eq!(told[1].endpoint, Some(world.ends[0].address), "learned from its packets");
    assert_eq!(world.ends[0].engine.peer_statistics(PeerId(9)), None);
}

#[test]
fn the_bytes_of_former_generations_stay_until_the_peer_is_removed() {
    let mut world = World::new();
    world.exchange();
    let other = world.ends[1].key.clone();
    let now = world.now;
    world.ends[0].renew(&other, None, None, now);
    world.settle();
    world.exchange();
    world.pass(Duration::from_secs(20));
    assert!(world.ends[0].events.contains(&Event::Retired { peer: PEER, generation: GenerationId(1) }));
    let told = world.ends[0].engine.peer_statistics(PEER).unwrap();
    assert_eq!(told.tx_bytes, world.wire_bytes[0]);
    let now = world.now;
    world.ends[0].engine.remove_peer(PEER, now);
    assert_eq!(world.ends[0].engine.peer_statistics(PEER).unwrap().tx_bytes, 0);
}

#[test]
fn a_keepalive_that_is_set_leaves_at_once_and_then_in_its_interval() {
    let mut world = World::new();
    world.exchange();
    world.pass(Duration::from_secs(60));
    let before = world.wire_bytes[0];
    let now = world.now;
    assert!(world.ends[0].engine.set_keepalive(PEER, Some(20), now));
    world.pass(Duration::from_secs(50));
    assert_eq!(world.wire_bytes[0] - before, 3 * 32, "at 0, 20 and 40 s");
    let now = world.now;
    assert!(world.ends[0].engine.set_keepalive(PEER, None, now));
    world.pass(Duration::from_secs(50));
    assert_eq!(world.wire_bytes[0] - before, 3 * 32);
    assert!(!world.ends[0].engine.set_keepalive(PeerId(9), None, now));
}

#[test]
fn a_keepalive_begins_a_handshake_as_soon_as_it_is_known_where_to() {
    let mut world = World::new();
    let now = world.now;
    assert!(world.ends[1].engine.set_keepalive(PEER, Some(25), now));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.initiations, 0, "the second end knows no endpoint");
    let (now, to) = (world.now, world.ends[0].address);
    assert!(world.ends[1].engine.set_endpoint(PEER, to, now));
    world.pass(Duration::from_secs(1));
    assert_eq!((world.initiations, world.handshakes(1)), (1, 1));
    world.exchange();
}

#[test]
fn a_preshared_key_holds_from_the_next_handshake_on() {
    let mut world = World::new();
    world.exchange();
    assert!(world.ends[0].engine.set_preshared_key(PEER, Some(&key(7))));
    world.exchange();
    let now = world.now;
    world.ends[0].engine.rekey(PEER, now);
    world.settle();
    world.exchange();
    assert_eq!(world.handshakes(0), 1, "only one end has the key");
    assert!(world.ends[1].engine.set_preshared_key(PEER, Some(&key(7))));
    world.pass(Duration::from_secs(10));
    world.exchange();
    assert_eq!(world.handshakes(0), 2);
}

#[test]
fn an_endpoint_is_moved_by_order_and_by_packets() {
    let mut world = World::new();
    world.exchange();
    let elsewhere = SocketAddr::from(([198, 51, 100, 1], 1));
    let now = world.now;
    assert!(world.ends[0].engine.set_endpoint(PEER, elsewhere, now));
    world.ends[0].send(packet(1, 2), now);
    world.settle();
    assert!(world.ends[1].delivered.is_empty(), "it has left for elsewhere");
    let now = world.now;
    world.ends[1].address = SocketAddr::from(([203, 0, 113, 5], 7));
    world.ends[1].send(packet(2, 1), now);
    world.settle();
    world.ends[0].delivered.clear();
    assert_eq!(world.ends[0].engine.peer_statistics(PEER).unwrap().endpoint, Some(world.ends[1].address));
    world.exchange();
    assert!(!world.ends[0].engine.set_endpoint(PeerId(9), elsewhere, now));
}

#[test]
fn another_private_key_begins_anew_and_what_is_in_flight_arrives() {
    let mut world = World::new();
    world.exchange();
    // On the wire, under the old keys, when both ends change.
    let now = world.now;
    world.ends[1].send(packet(2, 1), now);
    let (new, other) = (key(5), world.ends[1].key.clone());
    world.ends[0].engine.set_private_key(&new, now);
    world.ends[0].key = new.clone();
    world.ends[0].renew(&other, None, None, now);
    world.ends[1].renew(&new, None, None, now);
    world.settle();
    assert_eq!(world.ends[0].delivered.pop(), Some(packet(2, 1)));
    world.exchange();
    // The other end may begin the next one: it knocks at the new key.
    let now = world.now;
    world.ends[1].engine.rekey(PEER, now);
    world.settle();
    world.exchange();
    assert!(world.handshakes(0) >= 3, "the old keys, the new ones, and again");
}

#[test]
fn an_address_that_is_given_to_another_peer_is_not_the_formers_any_more() {
    let mut world = World::new();
    world.exchange();
    let net = "10.0.0.2/32".parse().unwrap();
    world.ends[0].engine.set_peer(PeerId(2), PeerKind::Plain, vec![net]);
    let now = world.now;
    world.ends[1].send(packet(2, 1), now);
    world.settle();
    assert!(world.ends[0].delivered.is_empty(), "the source is another peer's");
    world.ends[0].engine.set_peer(PEER, PeerKind::Plain, vec![net]);
    world.exchange();
}
