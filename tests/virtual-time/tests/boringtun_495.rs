//! boringtun issue #495 (a session goes deaf one way, 15-30 s after a handshake) under virtual time, across at least
//! three rekeys, in both roles: the library alone, and the engine on it. Findings: `docs/decisions/boringtun-495.md`.
//!
//! `cargo test --test boringtun_495 -- --nocapture` prints the table.

use boringtun::x25519::{PublicKey, StaticSecret};
use std::time::{Duration, UNIX_EPOCH};
use vestibule_engine::{
    core::{Engine, EngineConfig, PeerId, PeerKind},
    generation::{GenerationConfig, GenerationId, PrivateKey},
    policy::{Action, Policy},
    random::Seed,
    wireguard::SessionBackend::{self, Boringtun, Native},
};
use vestibule_virtual_time::{
    Clock, Random,
    deaf::{Deaf, Fate, Pattern, Record, Run, address},
    node::Node,
    tunn::{Driver, EngineEnd, Tunnel, pair},
};

const TEN_MINUTES: Duration = Duration::from_secs(600);

fn secs(at: Duration) -> u64 {
    at.as_secs()
}

const PATTERNS: &[(&str, &Pattern<'static>)] = &[
    ("both ways", &|_, _| true),
    ("0 to 1 only", &|_, end| end == 0),
    ("1 to 0 only, after a hello", &|at, end| end == 1 && secs(at) > 0 || end == 0 && secs(at) == 0),
    ("a minute on, a minute off, both", &|at, _| (secs(at) / 60).is_multiple_of(2)),
    ("0 to 1 for 20 s of each 150 s", &|at, end| end == 0 && secs(at) % 150 < 20),
    ("one packet each way every 10 s", &|at, _| at.as_millis().is_multiple_of(10_000)),
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
fn engine(
    kind: PeerKind,
    backend: SessionBackend,
    place: usize,
    [ours, theirs]: [[u8; 32]; 2],
    clock: &Clock,
) -> EngineEnd {
    let config = EngineConfig { backend, ..EngineConfig::new(PrivateKey::new(ours), Seed::new(ours), UNIX_EPOCH) };
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
fn interop(
    seed: u64,
    backend: SessionBackend,
    engine_first: bool,
    pattern: &Pattern<'_>,
    fate: &mut Fate<'_>,
) -> Record {
    let mut clock = Clock::start();
    let mut random = Random::new(seed);
    let (ours, theirs) = (random.key(), random.key());
    let mut engine = engine(PeerKind::Plain, backend, usize::from(!engine_first), [ours, theirs], &clock);
    let ours = PublicKey::from(&StaticSecret::from(ours));
    let mut library = Driver::new(&StaticSecret::from(theirs), &ours, None, 99);
    let ends: [&mut dyn Tunnel; 2] =
        if engine_first { [&mut engine, &mut library] } else { [&mut library, &mut engine] };
    let record = Run { ends, span: TEN_MINUTES, poll: Duration::from_millis(250), pattern, fate }.record(&mut clock);
    assert_eq!(engine.node.complaints, Vec::<String>::new());
    record
}

/// Two engines: end 0 is the device, end 1 the gateway.
fn engines(backends: [SessionBackend; 2], pattern: &Pattern<'_>, fate: &mut Fate<'_>) -> Record {
    let mut clock = Clock::start();
    let mut random = Random::new(5);
    let keys = [random.key(), random.key()];
    let mut device = engine(PeerKind::Gateway, backends[0], 0, keys, &clock);
    let mut gateway = engine(PeerKind::Device, backends[1], 1, [keys[1], keys[0]], &clock);
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
        "{what:<36} {pattern:<34} init {:?} sent {:?} lost [{}, {}] longest [{:.1}, {:.1}] s {:?} {:?}",
        record.initiations,
        record.sent,
        record.lost(0),
        record.lost(1),
        record.longest(0).as_secs_f64(),
        record.longest(1).as_secs_f64(),
        record.deaf.iter().take(3).map(|d| (d.sender, d.from.as_millis(), d.until.as_millis())).collect::<Vec<_>>(),
        record.errors,
    );
}

/// Nothing lost, nothing doubled, and the keys renewed at least three times.
fn never_deaf(what: &str, pattern: &str, record: &Record) {
    report(what, pattern, record);
    assert_eq!((record.lost(0), record.lost(1), record.doubled), (0, 0, 0), "{what}, {pattern}: {:?}", record.deaf);
    assert!(record.initiations.iter().sum::<u64>() >= 4, "{what}, {pattern}: {:?}", record.initiations);
}

/// Deaf only between the two times (plus one sending interval). Later at most what is in flight at a renewal: indices
/// that unsent initiations have used up can make a new session take the place of the one in use a round trip early.
fn deaf_only(what: &str, pattern: &str, record: &Record, from: u64, until: u64) {
    report(what, pattern, record);
    let flight = |deaf: &&Deaf| deaf.lost > 1;
    for deaf in record.deaf.iter().filter(flight) {
        // A gap ends with the next packet that was sent, so only what was lost late tells of a late deafness.
        let last = deaf.from + Duration::from_millis(100) * u32::try_from(deaf.lost).unwrap();
        let within = deaf.from >= Duration::from_secs(from) && last <= Duration::from_millis(until * 1000 + 300);
        assert!(within, "{what}, {pattern}: {deaf:?} is not within {from} s .. {until} s");
    }
}

#[test]
fn the_library_alone_is_never_deaf_on_a_clean_wire() {
    for (name, pattern) in PATTERNS {
        never_deaf("library, clean", name, &plain(1, [None, None], 250, pattern, &mut through));
        never_deaf("library, timers every second", name, &plain(1, [None, None], 1000, pattern, &mut through));
        never_deaf("library, keepalive 25 s", name, &plain(1, [Some(25), None], 250, pattern, &mut through));
    }
}

/// Both ends initiate at once with data waiting: each answer makes the library initiate again, the ring of eight is
/// full within 40 ms, and each end seals under a session that the other has overwritten, for exactly 15 s.
#[test]
fn the_library_alone_is_deaf_for_15_s_after_crossing_handshakes() {
    let record = plain(2, [None, None], 250, &|_, _| true, &mut doubled_responses);
    report("library, responses doubled", "both ways", &record);
    let deaf: Vec<_> = record.deaf.iter().map(|deaf| (deaf.from.as_secs(), deaf.until.as_secs())).collect();
    assert_eq!(deaf, [(0, 15), (0, 15)], "the library has changed: look at docs/decisions/boringtun-495.md again");
    assert!(record.errors.contains_key("NoCurrentSession"));
}

/// The eighth unanswered initiation, 5 s apart, takes the place of the responder's session in use.
#[test]
fn the_library_alone_is_deaf_after_eight_unanswered_initiations() {
    let record = plain(4, [None, None], 250, &|_, end| end == 0, &mut no_response_for(60));
    report("library, no response for 60 s", "0 to 1 only", &record);
    assert!(record.lost(0) > 40 && record.errors.contains_key("WrongIndex"), "the library has changed: {record:?}");
}

#[test]
fn device_and_gateway_are_never_deaf_whatever_happens_to_handshakes() {
    for (backends, who) in [([Native; 2], "native"), ([Boringtun; 2], "boringtun")] {
        for (name, pattern) in PATTERNS {
            let run = |fate: &mut Fate<'_>| engines(backends, pattern, fate);
            never_deaf(&format!("device/gateway, {who}, clean"), name, &run(&mut through));
            never_deaf(&format!("device/gateway, {who}, responses doubled"), name, &run(&mut doubled_responses));
            never_deaf(&format!("device/gateway, {who}, half the responses"), name, &run(&mut half_the_responses()));
            never_deaf(&format!("device/gateway, {who}, no response 60 s"), name, &run(&mut no_response_for(60)));
            // Past the keys' own end (180 s) nobody can hear anything until a response comes through again.
            let late = run(&mut no_response_for(85));
            deaf_only(&format!("device/gateway, {who}, no response 85 s"), name, &late, 176, 192);
            // A hole is deaf while it lasts, and has no echo later.
            deaf_only(&format!("device/gateway, {who}, hole 20 s"), name, &run(&mut hole(20)), 5, 25);
        }
    }
}

#[test]
fn native_and_boringtun_sessions_understand_each_other_in_both_roles() {
    for (backends, who) in [([Native, Boringtun], "native/boringtun"), ([Boringtun, Native], "boringtun/native")] {
        for (name, pattern) in PATTERNS {
            let run = |fate: &mut Fate<'_>| engines(backends, pattern, fate);
            never_deaf(&format!("{who}, clean"), name, &run(&mut through));
            never_deaf(&format!("{who}, responses doubled"), name, &run(&mut doubled_responses));
            never_deaf(&format!("{who}, half the responses"), name, &run(&mut half_the_responses()));
        }
    }
}

#[test]
fn a_plain_peer_is_never_deaf_in_either_role() {
    for (name, pattern) in PATTERNS {
        for (backend, first) in [(Native, true), (Native, false), (Boringtun, true), (Boringtun, false)] {
            let who = format!("{backend:?} plain engine, library, engine first: {first}");
            never_deaf(&format!("{who}, clean"), name, &interop(5, backend, first, pattern, &mut through));
            never_deaf(&format!("{who}, doubled"), name, &interop(5, backend, first, pattern, &mut doubled_responses));
            let half = interop(5, backend, first, pattern, &mut half_the_responses());
            report(&format!("{who}, half the responses"), name, &half);
            assert!(half.longest(0).max(half.longest(1)) <= Duration::from_secs(10), "{who}, {name}: {:?}", half.deaf);
        }
    }
}
