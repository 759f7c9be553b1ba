//! Two native sessions, or one and boringtun's, in one process under times that the test makes up.
#![allow(clippy::unwrap_used)]

use super::super::limits::{
    KEEPALIVE_TIMEOUT, REJECT_AFTER_MESSAGES, REKEY_TIMEOUT, RENEW_AFTER, RETRY_MIN, SILENCE, ZERO_AFTER,
};
use super::*;
use crate::generation::{GenerationId, PrivateKey};
use crate::policy::{Action, Policy};
use crate::random::Seed;
use crate::wireguard::handshake::Knock;
use std::time::{Duration, SystemTime};
use x25519_dalek::StaticSecret;

#[path = "native_differential_tests.rs"]
mod differential;

const JITTER: Duration = super::super::limits::JITTER;

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
            session: Native::new(&config, role, Random::new(&Seed::new([key; 32])), stamps, now),
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
    world.a.session.current_mut().unwrap().sealing.skip_to(REKEY_AFTER_MESSAGES);
    world.a.send(&packet(1), world.now);
    assert_eq!(world.a.session.deadline(), Some(world.now), "Rekey-After-Messages");
    world.a.tick(world.now);
    assert_eq!(world.settle(), (vec![4, 1, 4], vec![2]));

    world.a.session.current_mut().unwrap().sealing.skip_to(REJECT_AFTER_MESSAGES - 1);
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
fn who_heard_data_and_said_nothing_sends_a_keepalive_after_ten_seconds() {
    let mut world = World::new(Role::Plain, Role::Plain);
    world.a.send(&packet(0), world.now);
    world.settle();
    let first = world.pass(seconds(60));
    assert_eq!(first, [(10, 'b', 4, 32)], "one, and none for the keepalive itself");
    assert_eq!(KEEPALIVE_TIMEOUT, seconds(10));
    // Answered within the time: none.
    world.a.send(&packet(1), world.now);
    world.settle();
    world.b.send(&packet(2), world.now);
    world.settle();
    world.a.send(&packet(3), world.now);
    world.settle();
    assert_eq!(world.pass(seconds(60)), [(10, 'b', 4, 32)]);
}

#[test]
fn silence_after_data_begins_a_handshake_which_ends_after_rekey_attempt_time() {
    let mut world = World::new(Role::Plain, Role::Plain);
    world.a.send(&packet(0), world.now);
    world.settle();
    world.pass(seconds(20));
    world.a.send(&packet(1), world.now);
    world.a.out.clear();
    let start = world.now;
    let mut initiations = Vec::new();
    while let Some(next) = world.a.session.deadline().filter(|next| *next < start + seconds(300)) {
        world.now = next;
        world.a.tick(world.now);
        initiations.extend(world.a.out.drain(..).filter(|datagram| datagram[0] == 1).map(|_| world.now - start));
    }
    assert!(initiations[0] >= SILENCE && initiations[0] <= SILENCE + JITTER, "{initiations:?}");
    for pair in initiations.windows(2) {
        assert!((REKEY_TIMEOUT..=REKEY_TIMEOUT + JITTER).contains(&(pair[1] - pair[0])));
    }
    let span = *initiations.last().unwrap() - initiations[0];
    assert!(span <= seconds(90) && span > seconds(80), "{initiations:?}");
    // All gone after three times Reject-After-Time, but a new packet begins again.
    world.now = start + ZERO_AFTER + seconds(10);
    world.a.tick(world.now);
    assert!(world.a.session.keypairs().next().is_none() && world.a.session.initiated.is_none());
    assert_eq!(world.a.session.deadline(), None);
    assert_eq!(world.a.send(&packet(2), world.now), Sealed::Waiting { initiation: 148 });
}

#[test]
fn the_initiator_renews_when_it_sends_after_120_s_and_the_last_minute_counts_receiving() {
    let mut world = World::new(Role::Plain, Role::Plain);
    world.a.send(&packet(0), world.now);
    world.settle();
    world.b.send(&packet(0), world.now);
    world.settle();
    world.pass(seconds(119));
    world.a.send(&packet(1), world.now);
    world.b.send(&packet(1), world.now);
    assert_eq!(world.settle(), (vec![4], vec![4]));
    world.now += seconds(2);
    world.b.send(&packet(2), world.now);
    world.settle();
    assert_eq!(world.b.session.deadline().filter(|at| *at <= world.now), None, "the responder never asks");
    world.a.send(&packet(2), world.now);
    world.a.tick(world.now);
    assert_eq!(world.settle().0, [4, 1, 4]);
    // Only the responder sends now, and the initiator's keepalives do not leave.
    let established = world.now;
    while world.now < established + LAST_MINUTE - seconds(1) {
        world.now += seconds(1);
        world.b.send(&packet(3), world.now);
        world.settle();
        assert_eq!(world.a.session.timers.begin_at, None, "{:?}", world.now - established);
    }
    world.now += seconds(1);
    world.b.send(&packet(4), world.now);
    world.settle();
    assert_eq!(world.a.session.timers.begin_at, Some(world.now));
    world.a.tick(world.now);
    assert_eq!(world.settle().1, [2]);
}

#[test]
fn a_device_renews_without_traffic_and_never_gives_up() {
    let mut world = World::device();
    let renewals: Vec<_> =
        world.pass(seconds(1000)).into_iter().filter(|sent| sent.2 == 1).map(|sent| sent.0).collect();
    assert_eq!(renewals, (1..=10).map(|n| n * RENEW_AFTER.as_secs()).collect::<Vec<_>>());
    // Nobody answers any more: two quick attempts, then every 5 s, then every 3 s for ever.
    let start = world.now;
    let mut attempts = Vec::new();
    while world.now < start + seconds(2000) {
        world.now = world.a.session.deadline().unwrap();
        world.a.tick(world.now);
        attempts.extend(world.a.out.drain(..).filter(|datagram| datagram[0] == 1).map(|_| world.now - start));
    }
    assert!((attempts[1] - attempts[0]) == seconds(1), "{:?}", &attempts[..4]);
    assert!((REKEY_TIMEOUT..=REKEY_TIMEOUT + JITTER).contains(&(attempts[2] - attempts[1])));
    assert!(attempts.windows(2).all(|pair| pair[1] - pair[0] <= REKEY_TIMEOUT + JITTER));
    assert!(attempts.len() > 500);
    assert!(RETRY_MIN < seconds(1));
    world.b.receive(world.a.out.last().unwrap_or(&Vec::from([4; 32])), world.now);
    world.a.initiate(world.now);
    world.settle();
    assert!(world.a.session.sealing(world.now).is_some());
}

#[test]
fn persistent_keepalives_leave_in_time_and_can_be_changed() {
    let mut world = World::device();
    world.a.session.timers.set_persistent(Some(25), world.now);
    let seen: Vec<_> = world.pass(seconds(90)).into_iter().map(|sent| (sent.0, sent.1, sent.3)).collect();
    assert_eq!(seen, [(0, 'a', 32), (25, 'a', 32), (50, 'a', 32), (75, 'a', 32)]);
    world.a.session.timers.set_persistent(None, world.now);
    assert!(world.pass(seconds(9)).is_empty());
}

#[test]
fn keys_are_refused_and_forgotten_when_they_are_180_s_old() {
    let mut world = World::new(Role::Plain, Role::Plain);
    world.a.send(&packet(0), world.now);
    world.settle();
    world.b.send(&packet(1), world.now);
    let late = world.b.out.remove(0);
    world.now += REJECT_AFTER_TIME;
    world.a.receive(&late, world.now);
    assert_eq!((world.a.refused, world.a.got.len()), (1, 0));
    assert!(world.a.session.sealing(world.now).is_none());
    world.a.tick(world.now);
    assert!(world.a.session.keypairs().next().is_none());
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
fn an_unreachable_peer_is_not_tried() {
    let now = Instant::now();
    let mut end = End::new(Role::Plain, 1, 2, Some(5), now);
    assert_eq!(end.session.deadline(), Some(now));
    assert_eq!(end.session.tick(&mut [0; 2048], now, false), 0);
    assert_eq!(end.session.deadline(), None);
    end.session.timers.set_persistent(Some(5), now);
    end.tick(now);
    assert_eq!(end.out[0][0], 1, "a persistent keepalive asks for a session");
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
