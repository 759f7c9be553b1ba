//! What the path between two of ours may and may not do to packets: no reordering within a flow under load, congestion
//! marks carried from outside to inside (RFC 6040).

#![cfg(target_os = "linux")]

use std::time::Duration;
use vestibule_tests::load::{Datagrams, Shape, Transfer};
use vestibule_tests::netns::Namespace;
use vestibule_tests::peers::Implementation;
use vestibule_tests::relay::Trouble;
use vestibule_tests::tunnel::{Plan, Tunnel};

const OURS: Plan = Plan {
    left: Implementation::Vestibule,
    right: Implementation::Vestibule,
    outer_v6: false,
    mtu: 1420,
    wire_mtu: 1500,
    preshared: false,
    relay: false,
};

/// Eight flows at once as fast as they go, by counting: numbered UDP datagrams come in order and once, and no kernel has
/// met a TCP segment out of order that was not preceded by a loss.
#[test]
fn no_flow_is_reordered_under_load() {
    if !vestibule_tests::required("no_flow_is_reordered_under_load") {
        return;
    }
    for outer_v6 in [false, true] {
        let name = format!("order-{outer_v6}");
        let tunnel = Tunnel::start(&name, Plan { outer_v6, ..OURS });
        tunnel.ping(0, false, 56, 2);
        let [left, right] = &tunnel.ends;
        let streams = [(false, 7000), (true, 7001)].map(|(v6, port)| {
            let there = Transfer::start(left, right, tunnel.inner(1, v6, port), 64 << 20);
            (there, Transfer::start(right, left, tunnel.inner(0, v6, port), 64 << 20))
        });
        let shape = |train| Shape { len: 1200, train, pause: Duration::from_micros(500) };
        let datagrams =
            [(false, 1, 7002), (true, 1, 7003), (false, 20, 7004), (true, 20, 7005)].map(|(v6, train, port)| {
                Datagrams::start(left, right, tunnel.inner(1, v6, port), shape(train), Duration::from_secs(2))
            });
        for arrived in datagrams.map(|flow| flow.finish(&name)) {
            println!("{name}: {arrived:?}");
            assert_eq!((arrived.reordered, arrived.duplicates, arrived.wrong), (0, 0, 0), "{name}: {arrived:?}");
            assert!(arrived.received > 0, "{name}: {arrived:?}");
        }
        for (there, back) in streams {
            there.finish(&format!("{name}: TCP to the right"));
            back.finish(&format!("{name}: TCP to the left"));
        }
        for (counters, end) in tunnel.counters().iter().zip(["left", "right"]) {
            for reordered in ["TcpExtTCPSACKReorder", "TcpExtTCPRenoReorder", "TcpExtTCPTSReorder"] {
                assert_eq!(counters.get(reordered), 0, "{name}, {end}: {reordered}");
            }
            counters.assert_checksums(&format!("{name}, {end}"));
        }
    }
}

/// A router outside marks; the receiver inside sees it, tells its sender, and the sender's kernel counts it.
#[test]
fn marks_made_outside_arrive_inside() {
    if !vestibule_tests::required("marks_made_outside_arrive_inside") {
        return;
    }
    for outer_v6 in [false, true] {
        let name = format!("ecn-{outer_v6}");
        let tunnel = Tunnel::start(&name, Plan { outer_v6, relay: true, ..OURS });
        let Some(relay) = &tunnel.relay else { return };
        for end in &tunnel.ends {
            end.run("sysctl", &["-q", "net.ipv4.tcp_ecn=1"]);
        }
        tunnel.ping(0, false, 56, 2);
        assert_eq!(relay.seen().by_ecn[1..], [0; 3], "{name}: handshakes and echoes are Not-ECT");
        let [left, right] = &tunnel.ends;
        let carry = |v6, port| {
            let transfer = Transfer::start(left, right, tunnel.inner(1, v6, port), 8 << 20);
            transfer.finish(&format!("{name}: ECN-capable TCP, IPv6 {v6}"));
        };
        carry(false, 7000);
        carry(true, 7001);
        let unmarked = relay.seen();
        assert!(unmarked.by_ecn[2] > 1000, "{name}: ECT(0) inside is ECT(0) outside: {unmarked:?}");
        assert_eq!((unmarked.by_ecn[1], unmarked.by_ecn[3]), (0, 0), "{name}: {unmarked:?}");
        assert_eq!(delivered_ce(left), 0, "{name}: nothing was marked yet");

        relay.trouble(Trouble { mark: 20, ..Trouble::default() });
        let mut told = 0;
        for (v6, port) in [(false, 7002), (true, 7003)] {
            let marked = relay.seen().marked;
            carry(v6, port);
            let now = delivered_ce(left);
            println!(
                "{name}, IPv6 {v6}: {} marked outside, {} segments told of inside",
                relay.seen().marked - marked,
                now - told
            );
            assert!(relay.seen().marked > marked, "{name}: the relay marked nothing");
            assert!(now > told, "{name}: no mark was heard of inside, IPv6 {v6}");
            told = now;
        }
        for (counters, end) in tunnel.counters().iter().zip(["left", "right"]) {
            counters.assert_checksums(&format!("{name}, {end}"));
        }
    }
}

/// Segments of ours that the other kernel said had been marked on their way.
fn delivered_ce(namespace: &Namespace) -> u64 {
    vestibule_tests::kernel::Counters::of(namespace).get("TcpExtTCPDeliveredCE")
}
