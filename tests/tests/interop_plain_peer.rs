//! The gateway's WireGuard end (a plain peer by configuration) and `vestibule wireguard` against other implementations,
//! in both roles, across a re-handshake (WireGuard's initiator starts one with the first packet after 120 s).
//!
//! Real processes, real TUN devices, real time: the two tests take 150 s, at the same time, and so all of it stands in
//! them.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use vestibule_tests::gateway::Gateway;
use vestibule_tests::netns::Namespace;
use vestibule_tests::peers::{Implementation, Keys, Peer, Remote};
use vestibule_tests::steady::{Pings, Stream};
use vestibule_tests::tunnel::{Plan, Tunnel};
use vestibule_tests::wire::Watcher;

/// 120 s to the re-handshake, and 30 s after it, in which boringtun's issue #495 would show.
const LENGTH: Duration = Duration::from_secs(150);

const GATEWAY: &str = "192.0.2.1";
const PEER: &str = "192.0.2.2";
/// The last corner of the gateway's own pool, so that its route covers it.
const PEER_INNER: &str = "100.111.255.2";

/// Who starts handshakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Initiator {
    Gateway,
    Peer,
}

#[test]
fn wireguard_go_in_both_roles_across_a_rekey() {
    in_both_roles(&[Implementation::WireguardGo], "wireguard_go_in_both_roles_across_a_rekey");
}

#[test]
fn boringtun_cli_and_gotatun_in_both_roles_across_a_rekey() {
    let both = [Implementation::BoringtunCli, Implementation::Gotatun];
    in_both_roles(&both, "boringtun_cli_and_gotatun_in_both_roles_across_a_rekey");
}

fn in_both_roles(implementations: &[Implementation], test: &str) {
    if !vestibule_tests::required(test) {
        return;
    }
    let mut running = Vec::new();
    for &other in implementations.iter().filter(|implementation| implementation.is_there()) {
        let ours = Implementation::Vestibule;
        for (left, right) in [(ours, other), (other, ours)] {
            running.push((format!("{left:?} to {right:?}"), thread::spawn(move || verb_across_a_rekey(left, right))));
        }
        // The gateway has the same engine: Gotatun meets it above, and a small machine is busy enough.
        for role in [Initiator::Gateway, Initiator::Peer].into_iter().filter(|_| other != Implementation::Gotatun) {
            let run = thread::spawn(move || across_a_rekey(other, role));
            running.push((format!("gateway and {other:?}, initiator {role:?}"), run));
        }
    }
    for (what, run) in running {
        assert!(run.join().is_ok(), "{what}: see above");
    }
}

/// `vestibule wireguard` at one end.
fn verb_across_a_rekey(left: Implementation, right: Implementation) {
    let name = format!("rekey-{left:?}-{right:?}");
    let tunnel = Tunnel::start(&name, Plan { preshared: true, ..Plan::new(left, right) });
    let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(&name).join("wire.log");
    let wire = Watcher::start(&tunnel.ends[0], log);
    tunnel.ping(0, false, 56, 2);
    let addresses = [tunnel.inner(0, true, 7000), tunnel.inner(1, true, 7000)];
    let said = || format!("left: {}\nright: {}", tunnel.peers[0].said(), tunnel.peers[1].said());
    lasts(&name, [&tunnel.ends[0], &tunnel.ends[1]], addresses, said);
    renewed_by("192.0.2.1", &wire);
    for (counters, end) in tunnel.counters().iter().zip(["left", "right"]) {
        counters.assert_checksums(&format!("{name}, {end}"));
    }
}

fn across_a_rekey(implementation: Implementation, initiator: Initiator) {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{implementation:?}-{initiator:?}"));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).expect("a directory for logs");

    let (inside, outside) = (Namespace::new(), Namespace::new());
    inside.join(&format!("{GATEWAY}/24"), &outside, &format!("{PEER}/24"));
    let wire = Watcher::start(&inside, directory.join("wire.log"));

    let keys = Keys::generate();
    let mut plain = format!("{},{PEER_INNER}/32", keys.public);
    if initiator == Initiator::Gateway {
        plain.push_str(&format!(",{PEER}:51820"));
    }
    let gateway = Gateway::start(&inside, &directory, GATEWAY, &["--plain-peer", &plain]);
    let inner = gateway.fact("address").split('/').next().unwrap_or_default().to_owned();
    let remote = Remote {
        public_key: gateway.fact("tunnel_public_key"),
        endpoint: (initiator == Initiator::Peer).then_some("192.0.2.1:51820"),
        allowed: &format!("{inner}/32"),
    };
    let peer = Peer::start(implementation, &outside, &directory, &keys, 51820, &format!("{PEER_INNER}/32"), &remote);

    let to_gateway = SocketAddr::new(inner.parse().expect("an inner address"), 7000);
    let to_peer: SocketAddr = (PEER_INNER.to_owned() + ":7000").parse().expect("an address");
    // The first packet comes from the side that is to initiate, and waits for the handshake.
    let first = match initiator {
        Initiator::Gateway => Pings::start(&inside, to_peer.ip(), Duration::from_secs(1)),
        Initiator::Peer => Pings::start(&outside, to_gateway.ip(), Duration::from_secs(1)),
    }
    .finish();
    assert!(
        (first.missing.len() as u64) < first.sent,
        "no answer at all\ngateway: {}\npeer: {}",
        gateway.said(),
        peer.said()
    );

    let what = format!("{implementation:?}, initiator {initiator:?}");
    lasts(&what, [&inside, &outside], [to_gateway, to_peer], || gateway.status(&inside));
    renewed_by(if initiator == Initiator::Gateway { GATEWAY } else { PEER }, &wire);
}

/// Echoes and streams both ways for [`LENGTH`] between two ends with these inner addresses.
fn lasts(what: &str, ends: [&Namespace; 2], addresses: [SocketAddr; 2], said: impl Fn() -> String) {
    let ways = [(0, 1), (1, 0)];
    let pings = ways.map(|(from, to)| Pings::start(ends[from], addresses[to].ip(), LENGTH));
    let streams = ways.map(|(from, to)| Stream::start(ends[from], ends[to], addresses[to], LENGTH));
    for (stream, way) in streams.into_iter().zip(ways) {
        let (connecting, accepting) = stream.finish();
        assert_eq!((connecting.sent, accepting.sent), (accepting.received, connecting.received), "{what}: TCP {way:?}");
        assert!(connecting.sent > 0 && accepting.sent > 0, "{what}: TCP {way:?} carried nothing");
    }
    for (pings, way) in pings.into_iter().zip(ways) {
        let echoes = pings.finish();
        println!("{what}: echoes {way:?}: {echoes:?}");
        // A peer on a busy machine may lose a packet to a full socket buffer. A re-handshake may not be heard as a
        // silence, however short: five requests are one second.
        let few = echoes.missing.len() as u64 <= echoes.sent / 100 && echoes.longest_silence() < 5;
        assert!(few && echoes.duplicates == 0, "{what}: echoes {way:?}: {echoes:?}\n{}", said());
    }
}

/// The keys were renewed, by `expected` alone.
fn renewed_by(expected: &str, wire: &Watcher) {
    let initiations = wire.initiations();
    assert!(initiations.iter().all(|(_, source)| source == expected), "only {expected} initiates: {initiations:?}");
    let (first, last) = (initiations.first().map_or(0.0, |i| i.0), initiations.last().map_or(0.0, |i| i.0));
    assert!((110.0..LENGTH.as_secs_f64()).contains(&(last - first)), "no re-handshake was seen: {initiations:?}");
}
