//! `vestibule wireguard` against other implementations and itself, in both roles: IPv4 and IPv6 inside and outside, MTU
//! 1280 to 9000, preshared keys, fragments inside and outside, and a cable that loses, repeats and delays. Every byte is
//! checked, and the kernels at both ends must have found no wrong checksum.
//!
//! Across rekeys: `interop_plain_peer.rs`.

#![cfg(target_os = "linux")]

use std::time::Duration;
use vestibule_tests::load::{Datagrams, Shape, Transfer};
use vestibule_tests::peers::Implementation;
use vestibule_tests::relay::Trouble;
use vestibule_tests::tunnel::{Plan, Tunnel};

const MEGABYTE: u64 = 1 << 20;
/// One datagram at a time, slowly enough for any implementation in any build.
const GENTLE: Shape = Shape { len: 1000, train: 1, pause: Duration::from_millis(1) };

#[test]
fn wireguard_go_in_both_roles() {
    in_both_roles(Implementation::WireguardGo, "wireguard_go_in_both_roles");
}

#[test]
fn boringtun_cli_in_both_roles() {
    in_both_roles(Implementation::BoringtunCli, "boringtun_cli_in_both_roles");
}

#[test]
fn gotatun_in_both_roles() {
    in_both_roles(Implementation::Gotatun, "gotatun_in_both_roles");
}

#[test]
fn vestibule_with_itself() {
    in_both_roles(Implementation::Vestibule, "vestibule_with_itself");
}

fn in_both_roles(other: Implementation, test: &str) {
    if !vestibule_tests::required(test) || !other.is_there() {
        return;
    }
    let ours = Implementation::Vestibule;
    for (number, (left, right)) in [(ours, other), (other, ours)].into_iter().enumerate() {
        let plan = Plan::new(left, right);
        let name = |what: &str| format!("{test}-{number}-{what}");
        carries_everything(&name("usual"), Plan { preshared: true, ..plan });
        carries_everything(&name("least"), Plan { mtu: 1280, outer_v6: true, ..plan });
        // boringtun-cli 0.7.1 and gotatun 0.10.2 have no room for so large packets.
        if matches!(other, Implementation::Vestibule | Implementation::WireguardGo) {
            carries_everything(&name("jumbo"), Plan { mtu: 9000, wire_mtu: 9200, preshared: true, ..plan });
        }
        for outer_v6 in [false, true] {
            let fragmented = Plan { mtu: 1480, outer_v6, ..plan };
            fragments_outside(&name(if outer_v6 { "fragments6" } else { "fragments4" }), fragmented);
        }
        bad_cable(&name("cable"), Plan { relay: true, ..plan });
        if other == ours {
            let fragmented = Plan { mtu: 9000, ..plan };
            carries_everything(&name("fragments"), fragmented);
            carries_everything(&name("fragments6"), Plan { outer_v6: true, ..fragmented });
            break;
        }
    }
}

/// Full-sized packets do not fit the cable. Single ones: wireguard-go drops its own batches there (`sendmmsg: message too
/// long`).
fn fragments_outside(name: &str, plan: Plan) {
    let tunnel = Tunnel::start(name, plan);
    tunnel.ping(0, false, 56, 2);
    for (from, v6) in [(0, false), (1, false), (0, true), (1, true)] {
        tunnel.ping(from, v6, plan.mtu as usize - if v6 { 48 } else { 28 }, 3);
    }
    let made = |counters: &vestibule_tests::kernel::Counters| {
        counters.get(if plan.outer_v6 { "Ip6FragCreates" } else { "IpFragCreates" })
    };
    let [left, right] = tunnel.counters().map(|counters| made(&counters));
    assert!(left > 0 && right > 0, "{name}: nothing was fragmented outside: {left}, {right}");
}

/// Pings of all sizes, TCP in both directions at once and UDP, in both families.
fn carries_everything(name: &str, plan: Plan) {
    let tunnel = Tunnel::start(name, plan);
    // The first packet makes the left end initiate.
    tunnel.ping(0, false, 56, 2);
    for v6 in [false, true] {
        for from in [0, 1] {
            // Larger ones are fragmented inside.
            for len in [0, 1200, 4000, 20_000] {
                tunnel.ping(from, v6, len, 1);
            }
        }
    }
    let [left, right] = &tunnel.ends;
    for v6 in [false, true] {
        let there = Transfer::start(left, right, tunnel.inner(1, v6, 7000), 8 * MEGABYTE);
        let back = Transfer::start(right, left, tunnel.inner(0, v6, 7000), 8 * MEGABYTE);
        there.finish(&format!("{name}: TCP to the right, IPv6 {v6}"));
        back.finish(&format!("{name}: TCP to the left, IPv6 {v6}"));
    }
    // The kernel hands trains of datagrams over whole where the interface can cut them.
    let train = Shape { len: 700, train: 16, pause: Duration::from_millis(20) };
    let flows = [(false, GENTLE, 7001), (true, train, 7002), (false, train, 7003)].map(|(v6, shape, port)| {
        let to_right = Datagrams::start(left, right, tunnel.inner(1, v6, port), shape, Duration::from_millis(500));
        let to_left = Datagrams::start(right, left, tunnel.inner(0, v6, port), shape, Duration::from_millis(500));
        [to_right, to_left]
    });
    for arrived in flows.into_iter().flatten().map(|flow| flow.finish(name)) {
        assert_eq!((arrived.wrong, arrived.duplicates), (0, 0), "{name}: {arrived:?}");
        // Other implementations may lose some to a full socket on a busy machine.
        assert!(arrived.received * 10 >= arrived.sent * 9, "{name}: {arrived:?}");
    }
    for (counters, end) in tunnel.counters().iter().zip(["left", "right"]) {
        counters.assert_checksums(&format!("{name}, {end}"));
    }
}

/// Loss, repetition and delay: TCP stays right, and UDP is delivered once.
fn bad_cable(name: &str, plan: Plan) {
    let tunnel = Tunnel::start(name, plan);
    tunnel.ping(0, false, 56, 2);
    let Some(relay) = &tunnel.relay else { return };
    relay.trouble(Trouble { lose: 10, repeat: 20, delay: 50, mark: 0 });
    let [left, right] = &tunnel.ends;
    let transfers = [false, true].map(|v6| {
        let there = Transfer::start(left, right, tunnel.inner(1, v6, 7000), 2 * MEGABYTE);
        let back = Transfer::start(right, left, tunnel.inner(0, v6, 7000), 2 * MEGABYTE);
        [(there, "to the right"), (back, "to the left")]
    });
    let length = Duration::from_secs(2);
    let there = Datagrams::start(left, right, tunnel.inner(1, false, 7001), GENTLE, length);
    let back = Datagrams::start(right, left, tunnel.inner(0, true, 7001), GENTLE, length);
    for (transfer, way) in transfers.into_iter().flatten() {
        transfer.finish(&format!("{name}: TCP {way} over a bad cable"));
    }
    for arrived in [there.finish(name), back.finish(name)] {
        assert_eq!((arrived.wrong, arrived.duplicates), (0, 0), "{name}: {arrived:?}");
        assert!(arrived.received * 10 >= arrived.sent * 8 && arrived.reordered > 0, "{name}: {arrived:?}");
    }
    let seen = relay.seen();
    assert!(seen.lost > 0 && seen.repeated > 0 && seen.delayed > 0, "{name}: the cable was too good: {seen:?}");
    for (counters, end) in tunnel.counters().iter().zip(["left", "right"]) {
        counters.assert_checksums(&format!("{name}, {end}"));
    }
}
