use super::*;
use crate::soak::{
    books::Books,
    report::{Asked, SCHEMA, Swaps},
    series::{Held, PROCESSES},
};
use crate::world::{
    Transport,
    host::{
        ledger::Ledger,
        udp::{Seen, Sent},
    },
    scene::Glance,
};

/// Samples of so many minutes; `held` tells memory and handles at a second.
fn samples(minutes: u32, held: impl Fn(f64) -> (f64, u64)) -> Vec<Sample> {
    let second = |n: u32| {
        let at = f64::from(n + 1);
        let (resident, handles) = held(at);
        let held = Held { resident: resident as u64, handles, cpu_ms: 10 };
        Sample { at, seconds: 1.0, packets: 100, processes: [held; PROCESSES], ..Sample::default() }
    };
    (0..minutes * 60).map(second).collect()
}

fn report(traffic: Books, samples: &[Sample]) -> Report {
    Report {
        schema: SCHEMA,
        version: String::new(),
        system: String::new(),
        options: Asked {
            userspace: true,
            adapter: None,
            transport: Transport::Wireguard,
            duration_s: 1.0,
            swap_every_s: None,
            rate: 1,
            tcp_rate: 1,
            faults: Vec::new(),
        },
        began: String::new(),
        seconds: samples.last().map_or(0.0, |sample| sample.at),
        end: End::Duration,
        verdict: Verdict::default(),
        traffic,
        swaps: Swaps::default(),
        gaps_us: gaps(samples),
        processes: vec![process("gateway", 0, samples)],
        faults: Vec::new(),
        samples: Vec::new(),
    }
}

/// The books after `arrivals` of 200 packets from the device, and all of 200 to it.
fn books(arrivals: impl IntoIterator<Item = u64>) -> Books {
    let seen = |arrivals: &mut dyn Iterator<Item = u64>| {
        let mut ledger = Ledger::default();
        arrivals.for_each(|sequence| ledger.arrived(sequence));
        let missing = ledger.settle(192);
        Seen { tally: ledger.tally(0), missing, ..Seen::default() }
    };
    let sent = Sent { sent: 200, ..Sent::default() };
    let mut books = Books::default();
    let (up, down) = (seen(&mut arrivals.into_iter()), seen(&mut (0..200)));
    books.enter(&Glance { up: (sent, up), down: (sent, down), ..Glance::default() });
    books.tcp_bytes = 1;
    books
}

fn steady() -> Vec<Sample> {
    samples(20, |_| (50e6, 30))
}

/// One planted fault, and the sentence that it makes.
fn assert_fails(arrivals: impl IntoIterator<Item = u64>, sentence: &str) {
    let verdict = verdict(&report(books(arrivals), &steady()));
    assert_eq!(verdict.failures, [sentence]);
    assert!(!verdict.passed && verdict.line.starts_with(&format!("soak FAILED: {sentence}; ")), "{}", verdict.line);
}

#[test]
fn what_arrives_whole_and_in_order_passes() {
    let verdict = verdict(&report(books(0..200), &steady()));
    assert!(verdict.passed && verdict.failures.is_empty() && verdict.unjudged.is_empty(), "{verdict:?}");
    assert!(verdict.line.starts_with("soak PASSED: wireguard over 0:20:00: 0 swaps, 400 packets"), "{}", verdict.line);
}

#[test]
fn one_lost_packet_fails() {
    assert_fails((0..200).filter(|n| *n != 77), "1 packet lost from the device");
}

#[test]
fn one_duplicated_packet_fails() {
    assert_fails((0..200).chain([199]), "1 packet duplicated from the device");
}

#[test]
fn one_reordered_packet_fails() {
    let late = (0..200).map(|n| match n {
        77 => 78,
        78 => 77,
        n => n,
    });
    assert_fails(late, "1 packet reordered from the device");
}

#[test]
fn what_a_fault_may_lose_passes_and_is_told() {
    let mut allowed = Books::default();
    allowed.allow_from([70, 70]);
    allowed.allow_until([80, 80]);
    let mut ledger = Ledger::default();
    (0..200).filter(|n| !(75..78).contains(n)).for_each(|sequence| ledger.arrived(sequence));
    let seen = Seen { missing: ledger.settle(192), tally: ledger.tally(0), ..Seen::default() };
    let way = (Sent { sent: 200, ..Sent::default() }, seen);
    allowed.enter(&Glance { up: way.clone(), down: way, ..Glance::default() });
    allowed.tcp_bytes = 1;
    let verdict = verdict(&report(allowed, &steady()));
    assert!(verdict.passed, "{verdict:?}");
    assert!(verdict.line.contains("6 lost by faults that may"), "{}", verdict.line);
}

#[test]
fn broken_streams_swaps_without_rules_and_early_ends_fail() {
    let mut broken = report(books(0..200), &steady());
    (broken.traffic.tcp_resets, broken.traffic.tcp_mismatched, broken.traffic.errors) = (1, 5, 2);
    (broken.swaps.done, broken.swaps.audited, broken.swaps.wrong_rules) = (10, 9, 1);
    broken.end = End::Stopped("there is no gateway".to_owned());
    let expected = [
        "it could not go on: there is no gateway",
        "2 errors in place of a packet",
        "5 bytes of TCP missing or changed",
        "1 TCP connection reset",
        "1 swap without the rules of its identity",
        "9 of 10 swaps in the gateway's audit",
    ];
    assert_eq!(verdict(&broken).failures, expected);
    let silent = verdict(&report(Books::default(), &steady()));
    assert_eq!(silent.failures.len(), 3, "nothing that arrives is no success: {silent:?}");
    let mut early = report(books(0..200), &steady());
    early.end = End::Interrupted;
    assert!(verdict(&early).passed && verdict(&early).line.contains("(ended early)"));
}

#[test]
fn memory_that_grows_by_a_percent_an_hour_fails_and_a_warm_up_does_not() {
    let judged = |minutes, held: &dyn Fn(f64) -> f64| {
        let samples = samples(minutes, |at| (held(at), 30));
        verdict(&report(books(0..200), &samples))
    };
    let warm_up = |at: f64| 50e6 * (at / 300.0).min(1.0);
    assert!(judged(60, &warm_up).passed);
    // 0.9 % and 1.1 % of 50 MB per hour, with noise of 100 kB that comes and goes.
    let grows = |percent: f64| move |at: f64| 50e6 * (1.0 + percent / 100.0 * at / 3600.0) + (at % 7.0) * 16e3;
    assert!(judged(60, &grows(0.9)).passed);
    let failures = judged(60, &grows(1.1)).failures;
    assert!(failures[0].starts_with("memory of gateway grows by 1.1 % (53") && failures.len() == 1, "{failures:?}");
    // In twelve minutes the same is below what can be told from noise; ten times as much is not.
    assert!(judged(12, &grows(1.1)).passed);
    assert_eq!(judged(12, &grows(11.0)).failures.len(), 1);
    // Shorter runs say that they do not judge.
    let short = judged(9, &grows(500.0));
    assert!(short.passed && short.unjudged.len() == 1 && short.unjudged[0].contains("540 s"), "{short:?}");
    assert!(judged(60, &|at| 50e6 - at * 1000.0).passed, "shrinking is no growth");
}

#[test]
fn handles_that_grow_fail_in_short_runs_too() {
    let judged = |minutes, held: &dyn Fn(f64) -> u64| {
        let samples = samples(minutes, |at| (50e6, held(at)));
        verdict(&report(books(0..200), &samples)).failures
    };
    assert_eq!(judged(1, &|at| 30 + at as u64), ["handles of gateway grow from 55 to 85"]);
    // One an hour and a half, in a long run: four or more in the end.
    assert_eq!(judged(600, &|at| 30 + (at / 5400.0) as u64).len(), 1);
    assert!(
        judged(60, &|at| 30 + u64::from((at as u64).is_multiple_of(5)) * 9).is_empty(),
        "what comes and goes is no growth"
    );
    assert!(judged(60, &|at| if at < 200.0 { 20 } else { 30 }).is_empty(), "nor is a warm-up");
}

#[test]
fn the_largest_gaps_are_told() {
    let mut samples = steady();
    samples[7].gap_down_us = 250_000;
    let told = gaps(&samples);
    assert_eq!((told.p50, told.largest), (0, 250_000));
}

#[test]
fn memory_is_judged_once_the_devices_log_is_full() {
    let judged = |swap_every: u64| {
        let full_at = (LOG_FULL * swap_every) as f64;
        let mut samples = samples(60, |at| (50e6 + at.min(full_at) * 1000.0, 30));
        samples.iter_mut().filter(|sample| (sample.at as u64).is_multiple_of(swap_every)).for_each(|s| s.swaps = 1);
        let process = process("device", 1, &samples);
        let mut report = report(books(0..200), &samples);
        report.processes = vec![process.clone()];
        (process.resident.fitted_from_s, verdict(&report))
    };
    for (swap_every, from) in [(1, 300.0), (3, 768.0), (10, 2560.0)] {
        let (fitted, verdict) = judged(swap_every);
        assert_eq!(fitted, from, "a swap every {swap_every} s");
        assert!(verdict.passed && verdict.unjudged.is_empty(), "{verdict:?}");
    }
    let (_, never_full) = judged(20);
    assert!(never_full.passed && never_full.unjudged[0].contains("swap 256"), "{never_full:?}");
}
