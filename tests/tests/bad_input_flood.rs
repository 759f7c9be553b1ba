//! A flood at the gateway's tunnel port while a flow runs: the flow keeps at least half of its throughput, memory stays
//! bounded, every unwanted datagram is counted under its reason, and the tunnel's endpoint does not move.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;
use vestibule_control::daemon::ipc::State;
use vestibule_tests::flood::{Flood, Numbers, capture, initiations, rubbish};
use vestibule_tests::flow::Flow;
use vestibule_tests::house::{GATEWAY, House, INNER};
use vestibule_tests::netns::Namespace;
use vestibule_tests::process::run;

const LIMIT: Duration = Duration::from_secs(20);
/// Datagrams a second, all kinds together.
const RATE: u64 = 100_000;
/// The flow: 5 MB/s, 40 Mb/s. A flow as fast as it can would compete for the processor with the sender of the flood,
/// which no gateway can help.
const FLOW: u64 = 5_000_000;
/// How long each of the alternating measurements takes.
const PART: Duration = Duration::from_millis(1_500);
const MEMORY: u64 = 64 << 20;

/// A third host, on a cable of its own to the gateway's.
fn stranger(house: &House) -> Namespace {
    let stranger = Namespace::new();
    let ends = ["link", "add", "wire1", "netns", house.inside.name(), "type", "veth"];
    run(Command::new("ip").args(ends).args(["peer", "name", "wire0", "netns", stranger.name()]));
    house.inside.run("ip", &["address", "add", "198.51.100.1/24", "dev", "wire1"]);
    house.inside.run("ip", &["link", "set", "wire1", "up"]);
    stranger.run("ip", &["address", "add", "198.51.100.2/24", "dev", "wire0"]);
    stranger.run("ip", &["link", "set", "wire0", "up"]);
    stranger.run("ip", &["route", "add", "192.0.2.0/24", "via", "198.51.100.1"]);
    stranger
}

/// Resident memory in bytes.
fn memory(pid: u64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn drops(house: &House) -> Value {
    house.admin.get("vestibule/status")["counters"]["drops"].clone()
}

/// Alternates rest and flood three times: throughput at rest, under the flood, and datagrams sent.
fn alternate(flow: &Flow, mut flood: impl FnMut() -> Flood) -> (f64, f64, u64) {
    let (mut rest, mut flooded, mut sent) = (0.0, 0.0, 0);
    for _ in 0..3 {
        rest += flow.measure(PART) / 3.0;
        let flood = flood();
        sleep(Duration::from_millis(200));
        flooded += flow.measure(PART) / 3.0;
        sent += flood.sent();
    }
    (rest, flooded, sent)
}

#[test]
fn a_flood_leaves_a_flow_half_of_its_throughput_and_memory_bounded() {
    if !vestibule_tests::required("a_flood_leaves_a_flow_half_of_its_throughput_and_memory_bounded") {
        return;
    }
    let house = House::new("flood");
    let stranger = stranger(&house);
    let token = house.admin.token("Devices", "1h");
    let mut device = house.device(&token);
    let before = device.until_connected(LIMIT);
    let flow = Flow::start(&house.outside, &house.inside, SocketAddr::new(INNER.parse().unwrap(), 7_000), FLOW);
    sleep(Duration::from_millis(500));

    let real = capture(&house.inside, &house.room.0, 51_820, 200);
    let mut numbers = Numbers(7);
    let rubbish = Arc::new(rubbish(&real, &mut numbers));
    let key: [u8; 32] = STANDARD.decode(house.gateway.fact("tunnel_public_key")).unwrap().try_into().unwrap();
    let handshakes = Arc::new(initiations(&key, 5_000, &mut numbers));
    let target: SocketAddr = format!("{GATEWAY}:51820").parse().unwrap();
    let pid = house.gateway.facts["pid"].as_u64().unwrap();
    let (counted, resident) = (drops(&house), memory(pid));

    // What it is, its datagrams, and how many a second.
    let kinds = [("garbage, pieces and copies", &rubbish, RATE), ("handshakes from nowhere", &handshakes, 10_000)];
    for (what, datagrams, rate) in kinds {
        let mut best: f64 = 0.0;
        // A machine that is busy with other things may spoil a measurement, but not three.
        for _ in 0..3 {
            let (rest, flooded, sent) = alternate(&flow, || Flood::start(&stranger, target, datagrams, rate, 2));
            let seconds = 3.0 * (PART.as_secs_f64() + 0.2);
            println!(
                "{what}: {:.1} Mb/s at rest, {:.1} Mb/s under {:.0} datagrams/s; memory {:+} KiB",
                rest * 8e-6,
                flooded * 8e-6,
                sent as f64 / seconds,
                memory(pid).wrapping_sub(resident) as i64 / 1024
            );
            assert!(sent > 10_000, "{what}: only {sent} datagrams were sent: this shows nothing");
            assert!(rest > 0.0, "the flow does not run");
            best = best.max(flooded / rest);
            if best >= 0.5 {
                break;
            }
        }
        assert!(best >= 0.5, "{what}: the flow kept {:.0} % of its throughput", best * 100.0);
        let grown = memory(pid).saturating_sub(resident);
        assert!(grown < MEMORY, "{what}: resident memory grew by {grown} bytes");
    }

    let now = drops(&house);
    let rise = |name: &str| now[name].as_u64().unwrap() - counted[name].as_u64().unwrap();
    let names = now.as_object().unwrap().keys().map(String::as_str);
    let risen: Vec<_> = names.map(|name| (name, rise(name))).filter(|(_, rise)| *rise > 0).collect();
    println!("drops by reason: {risen:?}");
    for reason in ["not_wireguard", "unknown_index", "refused", "replayed", "handshake_refused"] {
        assert!(rise(reason) > 0, "no drop is counted as `{reason}`: {risen:?}");
    }
    let status = device.status().unwrap();
    assert_eq!((status.state, status.generation), (State::Connected, before.generation), "the tunnel is the same one");
    assert!(house.carries(), "nothing is carried after the flood");
    let told = house.gateway.said();
    assert!(told.len() < 1 << 20, "the gateway's log grew to {} bytes", told.len());
}
