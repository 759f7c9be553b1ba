//! A native session against boringtun's `Tunn` over a network that loses, doubles and reorders, across renewals that
//! either end forces at any time. (`Tunn` reads the real clock: what takes time is tested in `tests/virtual-time`.)

use super::*;
use crate::wireguard::cookie::{Admission, Checker};
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Tunn, TunnResult};
use std::collections::BTreeSet;
use x25519_dalek::PublicKey as Point;

struct Other {
    tunn: Tunn,
    out: Vec<Vec<u8>>,
    got: Vec<Vec<u8>>,
    errors: u32,
}

impl Other {
    fn new(limiter: Option<u64>) -> Self {
        let key = PrivateKey::new([2; 32]);
        let public = Point::from(key.public().0);
        let limiter = limiter.map(|limit| Arc::new(RateLimiter::new(&public, limit)));
        let peer = Point::from(PrivateKey::new([1; 32]).public().0);
        let tunn = Tunn::new(StaticSecret::from(*key.expose()), peer, Some([77; 32]), None, 500, limiter);
        Self { tunn, out: Vec::new(), got: Vec::new(), errors: 0 }
    }

    fn take(&mut self, call: impl FnOnce(&mut Tunn, &mut [u8]) -> Option<Vec<u8>>) -> bool {
        let mut room = vec![0; 2048];
        match call(&mut self.tunn, &mut room) {
            Some(message) => {
                self.out.push(message);
                true
            }
            None => false,
        }
    }

    fn send(&mut self, packet: &[u8]) {
        self.take(|tunn, room| match tunn.encapsulate(packet, room) {
            TunnResult::WriteToNetwork(message) => Some(message.to_vec()),
            _ => None,
        });
    }

    fn initiate(&mut self) {
        self.take(|tunn, room| match tunn.format_handshake_initiation(room, true) {
            TunnResult::WriteToNetwork(message) => Some(message.to_vec()),
            _ => None,
        });
    }

    fn receive(&mut self, datagram: &[u8]) {
        let mut room = vec![0; 2048];
        let source = std::net::IpAddr::from([192, 0, 2, 1]);
        match self.tunn.decapsulate(Some(source), datagram, &mut room) {
            TunnResult::WriteToTunnelV4(packet, _) => self.got.push(packet.to_vec()),
            TunnResult::WriteToNetwork(message) => {
                self.out.push(message.to_vec());
                while self.take(|tunn, room| match tunn.decapsulate(None, &[], room) {
                    TunnResult::WriteToNetwork(message) => Some(message.to_vec()),
                    _ => None,
                }) {}
            }
            TunnResult::Err(_) => self.errors += 1,
            _ => {}
        }
    }
}

/// How many of a thousand datagrams are lost, doubled, overtaken.
#[derive(Clone, Copy)]
struct Network {
    loss: u64,
    doubling: u64,
    overtaking: u64,
}

/// Takes what arrives now from the datagrams on their way.
fn arrivals(way: &mut Vec<Vec<u8>>, network: Network, random: &mut Random) -> Vec<Vec<u8>> {
    let mut chance = |share: u64| random.bits() % 1000 < share;
    let mut arrived = Vec::new();
    let mut held = Vec::new();
    for datagram in way.drain(..) {
        if chance(network.loss) {
            continue;
        }
        if chance(network.overtaking) {
            held.push(datagram);
            continue;
        }
        if chance(network.doubling) {
            held.push(datagram.clone());
        }
        arrived.push(datagram);
    }
    way.extend(held);
    arrived
}

fn once(got: &[Vec<u8>], sent: u32, what: &str) -> usize {
    let unlike: BTreeSet<_> = got.iter().collect();
    assert_eq!(unlike.len(), got.len(), "{what}: doubled");
    for received in got {
        let number = u32::from_be_bytes(*received[20..].first_chunk().unwrap());
        assert!(number < sent && *received == packet(number), "{what}: changed");
    }
    got.len()
}

fn run(seed: u8, network: Network, tunn_begins: bool) -> (usize, usize, u32) {
    let now = Instant::now();
    let mut random = Random::new(&Seed::new([seed; 32]));
    let mut ours = End::new(Role::Plain, 1, 2, None, now);
    let mut other = Other::new(None);
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let mut sent = 0;
    for round in 0..600 {
        ours.send(&packet(sent), now);
        other.send(&packet(sent));
        sent += 1;
        // Never both within the same flight: crossing handshakes are more than `Tunn` can bear.
        if round % 40 == 20 {
            if tunn_begins {
                other.initiate();
            } else {
                ours.initiate(now);
            }
        }
        up.append(&mut ours.out);
        down.append(&mut other.out);
        for datagram in arrivals(&mut up, network, &mut random) {
            other.receive(&datagram);
        }
        for datagram in arrivals(&mut down, network, &mut random) {
            ours.receive(&datagram, now);
        }
    }
    let lossless = Network { loss: 0, doubling: 0, overtaking: 0 };
    for _ in 0..4 {
        up.append(&mut ours.out);
        down.append(&mut other.out);
        arrivals(&mut up, lossless, &mut random).iter().for_each(|datagram| other.receive(datagram));
        arrivals(&mut down, lossless, &mut random).iter().for_each(|datagram| ours.receive(datagram, now));
    }
    let what = format!("seed {seed}, Tunn begins: {tunn_begins}");
    (once(&ours.got, sent, &what), once(&other.got, sent, &what), sent)
}

#[test]
fn a_clean_network_delivers_everything_across_fifteen_renewals() {
    let clean = Network { loss: 0, doubling: 0, overtaking: 0 };
    for tunn_begins in [true, false] {
        let (ours, other, sent) = run(1, clean, tunn_begins);
        // Both want to begin with the first packet: `Tunn` then needs a round or two to agree with itself.
        assert!(ours as u32 >= sent - 1 && other as u32 >= sent - 1, "{ours} and {other} of {sent}");
    }
}

#[test]
fn a_bad_network_doubles_nothing_changes_nothing_and_both_ends_still_talk() {
    for seed in 0..12 {
        let network = Network { loss: 20 * u64::from(seed % 4), doubling: 60, overtaking: 200 };
        for tunn_begins in [true, false] {
            let (ours, other, sent) = run(seed, network, tunn_begins);
            let least = sent as usize / 4;
            assert!(ours > least && other > least, "seed {seed}, {tunn_begins}: {ours} and {other} of {sent}");
        }
    }
}

#[test]
fn boringtun_under_load_is_shown_its_cookie() {
    let now = Instant::now();
    let mut ours = End::new(Role::Device, 1, 2, None, now);
    let mut other = Other::new(Some(0));
    ours.initiate(now);
    other.receive(&ours.out.remove(0));
    let reply = other.out.remove(0);
    assert_eq!((reply[0], reply.len()), (3, 64));
    ours.receive(&reply, now);
    ours.receive(&reply, now);
    assert_eq!((ours.refused, ours.out.len()), (1, 0), "no answer to a cookie, and a second one is refused");
    let later = now + RETRY_MIN;
    ours.tick(later);
    other.receive(&ours.out.remove(0));
    let response = other.out.remove(0);
    assert_eq!(response[0], 2, "mac2 was right");
    ours.receive(&response, later);
    assert!(ours.session.sealing(later).is_some());
}

#[test]
fn a_cookie_serves_for_two_minutes_and_from_one_address() {
    let now = Instant::now();
    let mut ours = End::new(Role::Device, 1, 2, None, now);
    let mut random = Random::new(&Seed::new([5; 32]));
    let mut checker = Checker::new(&PrivateKey::new([2; 32]).public().0, &mut random, now);
    let mut reply = [0; 64];
    let (here, there) = (([192, 0, 2, 1], 1).into(), ([192, 0, 2, 1], 2).into());
    ours.initiate(now);
    let message = ours.out.remove(0);
    assert_eq!(checker.admit(&message, here, true, &mut random, &mut reply, now), Admission::Cookie);
    ours.receive(&reply, now);
    for (wait, source, admission) in
        [(1, here, Admission::Admitted), (2, there, Admission::Cookie), (110, here, Admission::Admitted)]
    {
        let now = now + seconds(wait);
        ours.initiate(now);
        let message = ours.out.remove(0);
        assert_eq!(checker.admit(&message, source, true, &mut random, &mut reply, now), admission, "{wait}");
    }
    let old = now + seconds(120);
    ours.initiate(old);
    let message = ours.out.remove(0);
    assert_eq!(message[132..], [0; 16], "our cookie is too old to be shown");
    assert_eq!(checker.admit(&message, here, true, &mut random, &mut reply, old), Admission::Cookie);
}
