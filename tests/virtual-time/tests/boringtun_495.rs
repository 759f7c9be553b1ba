//! boringtun issue #495 (a session goes deaf one way, 15-30 s after a handshake) under virtual time, across at least
//! three rekeys, in both roles: the library alone, and the engine on it. Findings: `docs/decisions/boringtun-495.md`.
//!
//! `cargo test --test boringtun_495 -- --nocapture` prints the table.

use boringtun::x25519::{PublicKey, StaticSecret};
use std::time::Duration;
use vestibule_engine::{
    core::{Engine, EngineConfig, PeerId, PeerKind},
    generation::{GenerationConfig, GenerationId, PrivateKey},
    policy::{Action, Policy},
};
use vestibule_virtual_time::{
    Clock, Random,
    deaf::{Fate, Pattern, Record, Run, address},
    node::Node,
    tunn::{Driver, EngineEnd, Tunnel, pair},
};

const TEN_MINUTES: Duration = Duration::from_secs(600);
/// Longer than a round trip and a resend of the engine's own; far shorter than what the issue reports.
const NOTICEABLE: Duration = Duration::from_secs(1);

fn secs(at: Duration) -> u64 {
    at.as_secs()
}

const PATTERNS: &[(&str, &Pattern<'static>)] = &[
    ("both ways", &|_, _| true),
    ("0 to 1 only", &|_, end| end == 0),
    ("1 to 0 only, after a hello", &|at, end| end == 1 && secs(at) > 0 || end == 0 && secs(at) == 0),
    ("a minute on, a minute off, both", &|at, _| secs(at) / 60 % 2 == 0),
    ("0 to 1 for 20 s of each 150 s", &|at, end| end == 0 && secs(at) % 150 < 20),
    ("one packet each way every 10 s", &|at, _| at.as_millis() % 10_000 == 0),
    ("hello, idle for 200 s, then both", &|at, end| secs(at) >= 200 || end == 0 && secs(at) == 0),
];

fn through(_: Duration, _: usize, _: &[u8]) -> usize {
    1
}

fn doubled_responses(_: Duration, _: usize, datagram: &[u8]) -> usize {
    if datagram.first() == Some(&2) { 2 } else { 1 }
}

/// Every second handshake response is lost.
fn half_the_responses() -> impl FnMut(Duration, usize, &[u8]) -> usize {
    let mut seen = 0;
    move |_, _, datagram| {
        let response = datagram.first() == Some(&2);
        seen += usize::from(response);
        usize::from(!response || seen % 2 == 0)
    }
}

/// Handshake responses are lost from the 100th second on, for `span`.
fn no_response_for(span: u64) -> impl FnMut(Duration, usize, &[u8]) -> usize {
    move |at, _, datagram| usize::from(datagram.first() != Some(&2) || !(100..100 + span).contains(&secs(at)))
}

fn plain(seed: u64, keepalives: [Option<u16>; 2], poll: u64, pattern: &Pattern<'_>, fate: &mut Fate<'_>) -> Record {
    let mut clock = Clock::start();
    let [mut a, mut b] = pair(&mut Random::new(seed), keepalives);
    let run = Run { ends: [&mut a, &mut b], span: TEN_MINUTES, poll: Duration::from_millis(poll), pattern, fate };
    run.record(&mut clock)
}

/// An engine with one peer at the other end of the run.
fn engine(kind: PeerKind, place: usize, ours: [u8; 32], theirs: [u8; 32], clock: &Clock) -> EngineEnd {
    let config = EngineConfig { private_key: PrivateKey::new(ours), seed: [1, 2], max_flows: 64 };
    let mut engine = Engine::new(config, clock.now());
    let peer = ([192, 0, 2, 7], 7).into();
    engine.set_peer(PeerId(1), kind, vec![ipnet::IpNet::new(address(1 - place).into(), 32).unwrap()]);
    let generation = GenerationConfig {
        id: GenerationId(1),
        swap_seq: 1,
        identity: "one".into(),
        private_key: PrivateKey::new(ours),
        peer_public_key: PrivateKey::new(theirs).public(),
        preshared_key: None,
        endpoint: (kind != PeerKind::Device).then_some(peer),
        persistent_keepalive: None,
        policy: Policy::compile(Vec::new(), Action::Allow).into(),
        last_handshake: [0; 12],
        index: 77,
    };
    engine.prepare(PeerId(1), generation, clock.now()).unwrap();
    EngineEnd { node: Node::new(engine, ([192, 0, 2, 8], 8).into()), peer, commits: kind == PeerKind::Gateway }
}

/// An engine with the library as its `Plain` peer; the engine is end 0 or 1.
fn interop(seed: u64, engine_first: bool, pattern: &Pattern<'_>, fate: &mut Fate<'_>) -> Record {
    let mut clock = Clock::start();
    let mut random = Random::new(seed);
    let (ours, theirs) = (random.key(), random.key());
    let mut engine = engine(PeerKind::Plain, usize::from(!engine_first), ours, theirs, &clock);
    let ours = PublicKey::from(&StaticSecret::from(ours));
    let mut library = Driver::new(&StaticSecret::from(theirs), &ours, None, 99);
    let ends: [&mut dyn Tunnel; 2] =
        if engine_first { [&mut engine, &mut library] } else { [&mut library, &mut engine] };
    let record = Run { ends, span: TEN_MINUTES, poll: Duration::from_millis(250), pattern, fate }.record(&mut clock);
    assert_eq!(engine.node.complaints, Vec::<String>::new());
    record
}

/// Two engines: end 0 is the device, end 1 the gateway.
fn engines(seed: u64, pattern: &Pattern<'_>, fate: &mut Fate<'_>) -> Record {
    let mut clock = Clock::start();
    let mut random = Random::new(seed);
    let keys = [random.key(), random.key()];
    let mut device = engine(PeerKind::Gateway, 0, keys[0], keys[1], &clock);
    let mut gateway = engine(PeerKind::Device, 1, keys[1], keys[0], &clock);
    let poll = Duration::from_millis(10);
    // The first second is the hand-over of the first generation: nobody sends yet.
    let pattern = &|at: Duration, end| at >= Duration::from_secs(1) && pattern(at - Duration::from_secs(1), end);
    let run = Run { ends: [&mut device, &mut gateway], span: TEN_MINUTES, poll, pattern, fate };
    let record = run.record(&mut clock);
    assert_eq!([device.node.complaints, gateway.node.complaints], [Vec::<String>::new(), Vec::new()]);
    assert_eq!(record.initiations[1], 0, "a gateway never initiates");
    record
}

/// Nothing passes from 5 s on, for `span`.
fn hole(span: u64) -> impl FnMut(Duration, usize, &[u8]) -> usize {
    move |at, _, _| usize::from(!(5..5 + span).contains(&secs(at)))
}

fn report(what: &str, pattern: &str, record: &Record) {
    println!(
        "{what:<34} {pattern:<34} init {:?} resp {:?} sent {:?} lost [{}, {}] longest [{:.1}, {:.1}] s, {} gaps {:?} {:?}",
        record.initiations,
        record.responses,
        record.sent,
        record.lost(0),
        record.lost(1),
        record.longest(0).as_secs_f64(),
        record.longest(1).as_secs_f64(),
        record.deaf.len(),
        record.deaf.iter().take(4).map(|d| (d.sender, d.from.as_millis(), d.until.as_millis())).collect::<Vec<_>>(),
        record.errors,
    );
}

#[test]
fn explore() {
    for (name, pattern) in PATTERNS {
        report("device/gateway, clean", name, &engines(5, pattern, &mut through));
        report("device/gateway, responses doubled", name, &engines(5, pattern, &mut doubled_responses));
        report("device/gateway, half the responses", name, &engines(5, pattern, &mut half_the_responses()));
        report("device/gateway, no response 60 s", name, &engines(5, pattern, &mut no_response_for(60)));
        report("device/gateway, no response 85 s", name, &engines(5, pattern, &mut no_response_for(85)));
        report("device/gateway, hole 20 s", name, &engines(5, pattern, &mut hole(20)));
        report("library, hole 20 s", name, &plain(5, [None, None], 250, pattern, &mut hole(20)));
        report("library, clean", name, &plain(1, [None, None], 250, pattern, &mut through));
        report("library, poll 1 s", name, &plain(1, [None, None], 1000, pattern, &mut through));
        report("library, keepalive 25", name, &plain(1, [Some(25), None], 250, pattern, &mut through));
        report("library, responses doubled", name, &plain(2, [None, None], 250, pattern, &mut doubled_responses));
        report("library, half the responses", name, &plain(3, [None, None], 250, pattern, &mut half_the_responses()));
        report("library, no response 60 s", name, &plain(4, [None, None], 250, pattern, &mut no_response_for(60)));
        report("library, no response 85 s", name, &plain(4, [None, None], 250, pattern, &mut no_response_for(85)));
        for first in [true, false] {
            let who = if first { "engine/library" } else { "library/engine" };
            report(&format!("{who}, clean"), name, &interop(5, first, pattern, &mut through));
            report(&format!("{who}, responses doubled"), name, &interop(5, first, pattern, &mut doubled_responses));
            report(&format!("{who}, half the responses"), name, &interop(5, first, pattern, &mut half_the_responses()));
            report(&format!("{who}, no response 60 s"), name, &interop(5, first, pattern, &mut no_response_for(60)));
            report(&format!("{who}, no response 85 s"), name, &interop(5, first, pattern, &mut no_response_for(85)));
        }
    }
    let _ = NOTICEABLE;
}
