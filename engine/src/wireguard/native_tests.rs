//! Two native sessions, or one and boringtun's, in one process under times that the test makes up.
#![allow(clippy::unwrap_used)]

use super::super::limits::{REJECT_AFTER_MESSAGES, REKEY_TIMEOUT, RETRY_MIN};
use super::*;
use crate::generation::{GenerationId, PrivateKey};
use crate::policy::{Action, Policy};
use crate::random::Seed;
use crate::wireguard::handshake::Knock;
use std::time::{Duration, SystemTime};
use x25519_dalek::StaticSecret;

#[path = "native_differential_tests.rs"]
mod differential;
#[path = "native_timer_tests.rs"]
mod timers;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An inner packet of 60 bytes.
fn packet(number: u32) -> Vec<u8> {
    let mut packet = vec![0; 60];
    packet[0] = 0x45;
    packet[3] = 60;
    packet[20..24].copy_from_slice(&number.to_be_bytes());
    packet
}

/// One end, with what the engine does around a session.
struct End {
    session: Native,
    key: PrivateKey,
    last_handshake: [u8; 12],
    /// Inner packets that came.
    got: Vec<Vec<u8>>,
    /// Datagrams to the other end.
    out: Vec<Vec<u8>>,
    refused: u32,
}

impl End {
    fn new(role: Role, key: u8, peer: u8, persistent: Option<u16>, now: Instant) -> Self {
        let config = GenerationConfig {
            id: GenerationId(1),
            swap_seq: 1,
            identity: "one".into(),
            private_key: PrivateKey::new([key; 32]),
            peer_public_key: PrivateKey::new([peer; 32]).public(),
            preshared_key: Some(PrivateKey::new([77; 32])),
            endpoint: None,
            persistent_keepalive: persistent,
            policy: Policy::compile(Vec::new(), Action::Allow).into(),
            last_handshake: [0; 12],
            index: u32::from(key),
        };
        let stamps = Arc::new(Stamps::new(SystemTime::UNIX_EPOCH + seconds(1_000_000), now));
        Self {
            session: Native::new(
                &config,
                config.private_key.public(),
                role,
                Random::new(&Seed::new([key; 32])),
                stamps,
                now,
            ),
            key: config.private_key,
            last_handshake: [0; 12],
            got: Vec::new(),
            out: Vec::new(),
            refused: 0,
        }
    }

    fn send(&mut self, packet: &[u8], now: Instant) -> Sealed {
        let mut room = [0; 2048];
        let sealed = self.session.seal(packet, &mut room, now);
        match sealed {
            Sealed::Data { len, .. } | Sealed::Waiting { initiation: len @ 1.. } => self.out.push(room[..len].to_vec()),
            _ => {}
        }
        sealed
    }

    fn flush(&mut self, now: Instant) {
        let mut room = [0; 2048];
        while let Some(Sealed::Data { len, .. }) = self.session.seal_waiting(&mut room, now) {
            self.out.push(room[..len].to_vec());
        }
    }

    fn initiate(&mut self, now: Instant) {
        let mut room = [0; 148];
        assert_eq!(self.session.initiate(&mut room, now), 148);
        self.out.push(room.to_vec());
    }

    fn tick(&mut self, now: Instant) {
        let mut room = [0; 2048];
        for _ in 0..10 {
            match self.session.tick(&mut room, now, true) {
                0 => {
                    self.flush(now);
                    assert!(self.session.deadline().is_none_or(|at| at > now), "{:?}", self.session.timers);
                    return;
                }
                len => self.out.push(room[..len].to_vec()),
            }
        }
        panic!("ticks without end: {:?}", self.session.timers);
    }

    fn receive(&mut self, datagram: &[u8], now: Instant) {
        let mut room = vec![0; 2048];
        let opened = match datagram[0] {
            1 => {
                let secret = StaticSecret::from(*self.key.expose());
                let read = Knock::read(datagram, &secret, &self.key.public().0);
                let shared = self.session.shared().unwrap().clone();
                match read.and_then(|knock| knock.authenticate(datagram, &shared)) {
                    Some(initiation) if initiation.timestamp > self.last_handshake => {
                        self.last_handshake = initiation.timestamp;
                        self.session.respond(initiation, &mut room, now)
                    }
                    _ => Opened::Refused,
                }
            }
            2 | 3 => self.session.answered(datagram, &mut room, now),
            _ => self.session.open(datagram, &mut room, now),
        };
        match opened {
            Opened::Packet(len) => self.got.push(room[..len].to_vec()),
            Opened::Reply(len) => self.out.push(room[..len].to_vec()),
            Opened::Refused | Opened::Replayed => self.refused += 1,
            Opened::Keepalive | Opened::Nothing => {}
        }
        if opened != Opened::Refused {
            self.flush(now);
        }
    }
}

/// Both ends, and the time.
struct World {
    a: End,
    b: End,
    now: Instant,
}

impl World {
    fn new(a: Role, b: Role) -> Self {
        let now = Instant::now();
        Self { a: End::new(a, 1, 2, None, now), b: End::new(b, 2, 1, None, now), now }
    }

    fn device() -> Self {
        let mut world = Self::new(Role::Device, Role::Gateway);
        world.a.initiate(world.now);
        world.settle();
        world
    }

    /// Carries everything until the wire is quiet; gives the datagrams' types by sender.
    fn settle(&mut self) -> (Vec<u8>, Vec<u8>) {
        let mut seen = (Vec::new(), Vec::new());
        loop {
            let (up, down) = (std::mem::take(&mut self.a.out), std::mem::take(&mut self.b.out));
            if up.is_empty() && down.is_empty() {
                return seen;
            }
            for datagram in up {
                seen.0.push(datagram[0]);
                self.b.receive(&datagram, self.now);
            }
            for datagram in down {
                seen.1.push(datagram[0]);
                self.a.receive(&datagram, self.now);
            }
        }
    }

    /// Lets time pass, deadline by deadline; gives what was sent with the second of its sending.
    fn pass(&mut self, span: Duration) -> Vec<(u64, char, u8, usize)> {
        let (start, end) = (self.now, self.now + span);
        let mut seen = Vec::new();
        loop {
            let next = [self.a.session.deadline(), self.b.session.deadline()].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.a.tick(self.now);
            self.b.tick(self.now);
            let at = (self.now - start).as_secs();
            seen.extend(self.a.out.iter().map(|datagram| (at, 'a', datagram[0], datagram.len())));
            seen.extend(self.b.out.iter().map(|datagram| (at, 'b', datagram[0], datagram.len())));
            self.settle();
        }
        self.now = end;
        seen
    }
}

#[test]
fn what_waited_leaves_in_order_and_the_first_packets_bring_the_session_up() {
    let mut world = World::new(Role::Plain, Role::Plain);
    assert_eq!(world.a.send(&packet(0), world.now), Sealed::Waiting { initiation: 148 });
    for n in 1..10 {
        assert_eq!(world.a.send(&packet(n), world.now), Sealed::Waiting { initiation: 0 });
    }
    assert!(world.a.session.sealing(world.now).is_none());
    world.settle();
    assert_eq!(world.b.got, (0..10).map(packet).collect::<Vec<_>>());
    assert!(matches!(world.b.send(&packet(10), world.now), Sealed::Data { counter: 0, .. }));
    assert!(world.a.session.sealing(world.now).is_some() && world.b.session.sealing(world.now).is_some());
}

#[test]
fn a_responder_sends_nothing_before_the_initiator_has_used_the_keys() {
    let mut world = World::new(Role::Device, Role::Gateway);
    assert_eq!(world.b.send(&packet(1), world.now), Sealed::Waiting { initiation: 0 });
    world.a.initiate(world.now);
    let initiation = world.a.out.remove(0);
    world.b.receive(&initiation, world.now);
    assert_eq!(world.b.out.len(), 1, "only the response");
    assert!(world.b.session.sealing(world.now).is_none());
    world.settle();
    assert_eq!(world.a.got, [packet(1)]);
}

#[test]
fn a_replayed_response_or_initiation_changes_nothing() {
    let mut world = World::new(Role::Device, Role::Gateway);
    world.a.initiate(world.now);
    let initiation = world.a.out[0].clone();
    world.b.receive(&world.a.out.remove(0), world.now);
    let response = world.b.out[0].clone();
    world.settle();
    world.b.receive(&initiation, world.now);
    world.a.receive(&response, world.now);
    assert_eq!((world.a.refused, world.b.refused), (1, 1));
    assert!(world.a.out.is_empty() && world.b.out.is_empty());
    world.a.send(&packet(1), world.now);
    world.settle();
    assert_eq!(world.b.got.len(), 1);
}

#[test]
fn counters_end_before_reject_after_messages_and_new_keys_are_asked_for_in_time() {
    let mut world = World::device();
    world.now += REKEY_TIMEOUT;
    world.a.session.keypairs.usable(world.now).unwrap().sealing.skip_to(REKEY_AFTER_MESSAGES);
    world.a.send(&packet(1), world.now);
    assert_eq!(world.a.session.deadline(), Some(world.now), "Rekey-After-Messages");
    world.a.tick(world.now);
    assert_eq!(world.settle(), (vec![4, 1, 4], vec![2]));

    world.a.session.keypairs.usable(world.now).unwrap().sealing.skip_to(REJECT_AFTER_MESSAGES - 1);
    let last = world.a.send(&packet(2), world.now);
    assert!(matches!(last, Sealed::Data { counter, .. } if counter == REJECT_AFTER_MESSAGES - 1));
    world.settle();
    assert!(world.a.session.sealing(world.now).is_none());
    world.now += REKEY_TIMEOUT;
    world.a.send(&packet(3), world.now);
    world.a.tick(world.now);
    world.settle();
    assert_eq!(world.b.got, (1..=3).map(packet).collect::<Vec<_>>());
}

#[test]
fn crossing_handshakes_lose_nothing() {
    for order in 0..4 {
        let mut world = World::new(Role::Plain, Role::Plain);
        world.a.send(&packet(0), world.now);
        world.settle();
        let (mut sent, mut a_to_b, mut b_to_a) = (1, Vec::new(), Vec::new());
        world.b.got.clear();
        world.a.initiate(world.now);
        world.b.initiate(world.now);
        for step in 0..12 {
            world.a.send(&packet(sent), world.now);
            world.b.send(&packet(sent), world.now);
            sent += 1;
            a_to_b.append(&mut world.a.out);
            b_to_a.append(&mut world.b.out);
            for _ in 0..(step + order) % 4 {
                if !a_to_b.is_empty() {
                    world.b.receive(&a_to_b.remove(0), world.now);
                }
                if order & 1 == 1 && !b_to_a.is_empty() {
                    world.a.receive(&b_to_a.remove(0), world.now);
                }
            }
        }
        for datagram in a_to_b {
            world.b.receive(&datagram, world.now);
        }
        for datagram in b_to_a {
            world.a.receive(&datagram, world.now);
        }
        world.settle();
        let want: Vec<_> = (1..sent).map(packet).collect();
        assert!(world.a.got == want && world.b.got == want, "order {order}");
    }
}

#[test]
fn zeros_at_the_end_are_the_senders_padding() {
    let mut padded = packet(7);
    padded.extend([0; 4]);
    assert_eq!((unpadded(&padded), unpadded(&packet(7)), unpadded(&[0; 9]), unpadded(&[])), (60, 60, 9, 0));
    let mut six = vec![0; 64];
    (six[0], six[5]) = (0x60, 13);
    assert_eq!((unpadded(&six), unpadded(&six[..50])), (53, 50));
}
