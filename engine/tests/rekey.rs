//! Two plain peers on native sessions, joined by a wire with a delay, under times that the test makes up: nothing is
//! lost, doubled or reordered while keys are renewed again and again under load.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant, UNIX_EPOCH};
use vestibule_engine::core::{DropReason, Engine, EngineConfig, PeerId, PeerKind};
use vestibule_engine::generation::{GenerationConfig, GenerationId, PrivateKey};
use vestibule_engine::packet::{Datagram, Datagrams, Ecn, Frame, Frames, Offload};
use vestibule_engine::policy::{Action, Policy};
use vestibule_engine::random::Seed;

const PEER: PeerId = PeerId(7);
const STEP: Duration = Duration::from_millis(20);

struct Batch(VecDeque<Vec<u8>>, Vec<u8>);
impl Frames for Batch {
    fn next_frame(&mut self) -> Option<Frame<'_>> {
        self.1 = self.0.pop_front()?;
        Some(Frame { bytes: &mut self.1, offload: Offload::default() })
    }
}

struct Wire(VecDeque<(usize, Vec<u8>)>, Vec<u8>, SocketAddr);
impl Datagrams for Wire {
    fn next_datagram(&mut self) -> Option<Datagram<'_>> {
        let (stride, bytes) = self.0.pop_front()?;
        self.1 = bytes;
        Some(Datagram { bytes: &mut self.1, stride, source: self.2, ecn: Ecn::NotEct })
    }
}

/// One end: its engine, what is on the way to it, and the numbers that arrived.
struct End {
    engine: Engine,
    address: SocketAddr,
    inner: [u8; 4],
    coming: VecDeque<(Instant, usize, Vec<u8>)>,
    got: Vec<u32>,
    sent: u32,
    initiations: u32,
}

struct World {
    ends: [End; 2],
    now: Instant,
    delay: Duration,
}

fn inner(number: u8) -> [u8; 4] {
    [10, 9, 0, number]
}

impl World {
    fn new(kinds: [PeerKind; 2], delay: Duration) -> Self {
        let now = Instant::now();
        let keys = [PrivateKey::new([3; 32]), PrivateKey::new([4; 32])];
        let address = |end: usize| SocketAddr::from(([192, 0, 2, end as u8 + 1], 51820));
        let ends = [0, 1].map(|end| {
            let seed = Seed::new([end as u8; 32]);
            let mut engine = Engine::new(EngineConfig::new(keys[end].clone(), seed, UNIX_EPOCH), now);
            engine.set_peer(
                PEER,
                kinds[end],
                vec![ipnet::Ipv4Net::new(inner(2 - end as u8).into(), 32).unwrap().into()],
            );
            let generation = GenerationConfig {
                id: GenerationId(1),
                swap_seq: 1,
                identity: "one".into(),
                private_key: keys[end].clone(),
                peer_public_key: keys[1 - end].public(),
                preshared_key: Some(PrivateKey::new([9; 32])),
                endpoint: Some(address(1 - end)),
                persistent_keepalive: None,
                policy: Policy::compile(Vec::new(), Action::Allow).into(),
                last_handshake: [0; 12],
                index: 5 + end as u32,
            };
            engine.prepare(PEER, generation, now).unwrap();
            End {
                engine,
                address: address(end),
                inner: inner(end as u8 + 1),
                coming: VecDeque::new(),
                got: Vec::new(),
                sent: 0,
                initiations: 0,
            }
        });
        Self { ends, now, delay }
    }

    fn send(&mut self, end: usize) {
        let (from, to) = (self.ends[end].inner, self.ends[1 - end].inner);
        let end = &mut self.ends[end];
        let mut packet = vec![0; 32];
        packet[0] = 0x45;
        packet[3] = 32;
        (packet[8], packet[9]) = (64, 17);
        packet[12..16].copy_from_slice(&from);
        packet[16..20].copy_from_slice(&to);
        packet[20..26].copy_from_slice(&[0, 9, 0, 9, 0, 12]);
        packet[28..].copy_from_slice(&end.sent.to_be_bytes());
        end.sent += 1;
        end.engine.handle_frames(&mut Batch([packet].into(), Vec::new()), self.now);
    }

    /// One step of time: what is due arrives, timers run, what was produced leaves.
    fn step(&mut self) {
        self.now += STEP;
        for at in 0..2 {
            let source = self.ends[1 - at].address;
            let end = &mut self.ends[at];
            let mut due = VecDeque::new();
            while let Some((_, stride, bytes)) = end.coming.pop_front_if(|(arrives, ..)| *arrives <= self.now) {
                due.push_back((stride, bytes));
            }
            end.engine.handle_datagrams(&mut Wire(due, Vec::new(), source), self.now);
            end.engine.handle_deadline(self.now);
            while end.engine.poll_event().is_some() {}
            for frame in end.engine.deliveries().frames() {
                let packet = frame.pieces().collect::<Vec<_>>().concat();
                end.got.push(u32::from_be_bytes(packet[28..].try_into().unwrap()));
            }
            end.engine.deliveries().clear();
            let mut left: Vec<_> = Vec::new();
            for batch in end.engine.transmits().batches() {
                left.push((self.now + self.delay, batch.segment, batch.bytes().to_vec()));
            }
            end.engine.transmits().release(usize::MAX);
            end.initiations += left.iter().filter(|(_, _, bytes)| bytes[0] == 1).count() as u32;
            self.ends[1 - at].coming.extend(left);
        }
    }

    fn complete(&mut self) {
        for _ in 0..20 {
            self.step();
        }
        for at in 0..2 {
            let sent: Vec<_> = (0..self.ends[1 - at].sent).collect();
            assert!(self.ends[at].got == sent, "{} of {} arrived", self.ends[at].got.len(), sent.len());
        }
    }

    fn drops(&self, end: usize, reason: DropReason) -> u64 {
        self.ends[end].engine.counters().drops(reason)
    }
}

#[test]
fn plain_peers_lose_nothing_across_ten_renewals_under_load() {
    let mut world = World::new([PeerKind::Plain; 2], Duration::from_millis(60));
    for step in 0..1300 * 50_u32 {
        // One end begins; then both send at rates of their own.
        world.send(0);
        if step > 50 && step % 3 == 0 {
            world.send(1);
        }
        world.step();
    }
    world.complete();
    assert_eq!((world.ends[0].initiations, world.ends[1].initiations), (11, 0), "the initiator stays the initiator");
}

#[test]
fn both_begin_at_once_and_lose_nothing() {
    let mut world = World::new([PeerKind::Plain; 2], Duration::from_millis(100));
    for _ in 0..400 * 50 {
        world.send(0);
        world.send(1);
        world.step();
    }
    world.complete();
    assert_eq!((0..2).map(|end| world.drops(end, DropReason::GivenUp)).sum::<u64>(), 0);
}

#[test]
fn handshakes_forced_in_quick_succession_from_both_ends_lose_nothing() {
    let mut world = World::new([PeerKind::Plain; 2], Duration::from_millis(40));
    world.send(0);
    for _ in 0..20 {
        world.step();
    }
    for step in 0..3000 {
        world.send(0);
        world.send(1);
        let now = world.now;
        if step % 17 == 0 {
            world.ends[0].engine.rekey(PEER, now);
        }
        if step % 23 == 0 {
            world.ends[1].engine.rekey(PEER, now);
        }
        world.step();
    }
    world.complete();
}

#[test]
fn packets_that_wait_too_long_are_given_up_and_counted() {
    let mut world = World::new([PeerKind::Plain; 2], Duration::from_millis(20));
    for _ in 0..130 {
        world.send(0);
    }
    world.ends[0].engine.transmits().release(usize::MAX);
    assert_eq!(world.drops(0, DropReason::GivenUp), 2);
    // Nobody hears us for a hundred seconds: the rest goes, too, and then everything is quiet.
    for _ in 0..100 * 50 {
        world.step();
        world.ends[1].coming.clear();
    }
    assert_eq!(world.drops(0, DropReason::GivenUp), 130);
    assert!((17..=19).contains(&world.ends[0].initiations), "{}", world.ends[0].initiations);
}

#[test]
fn an_idle_pair_wants_nothing_after_its_keys_are_gone() {
    let mut world = World::new([PeerKind::Plain; 2], Duration::from_millis(20));
    world.send(0);
    let mut looks = 0;
    for _ in 0..700 * 50 {
        let due = world.ends.iter().any(|end| end.engine.poll_deadline().is_some_and(|at| at <= world.now + STEP));
        looks += u32::from(due);
        world.step();
    }
    assert!(looks < 60, "{looks}");
    for end in &world.ends {
        // Only the flow table is still looked after.
        assert!(end.engine.poll_deadline().is_none_or(|at| at > world.now + Duration::from_secs(1)));
    }
}
