//! Both ends of the engine in one process, joined by a lossless wire that the test can hold up.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod ends;

use ends::world::*;
use std::time::Duration;
use vestibule_engine::core::{CommitError, DropReason, Event};
use vestibule_engine::generation::GenerationId;
use vestibule_engine::wireguard::SessionBackend;

#[test]
fn the_first_generation_comes_up_and_carries_both_ways() {
    for way in [Way::WireGuard, Way::Masque] {
        let mut world = World::over(way);
        let id = world.swap(true);
        assert!(world.device_events.contains(&Event::Acknowledged { peer: AT, generation: id }));
        world.send_up(up(b"query"));
        world.settle();
        world.send_down(down(b"answer"));
        world.settle();
        assert_eq!(world.at_gateway, [up(b"query")]);
        assert_eq!(world.at_device, [down(b"answer")]);
    }
}

#[test]
fn commit_before_the_handshake_is_confirmed_is_refused() {
    for way in [Way::WireGuard, Way::Masque] {
        let mut world = World::over(way);
        let old = world.swap(true);
        let id = world.order(false);
        world.flush();
        assert_eq!(world.device.commit(AT, id, world.now), Err(CommitError::NotReady(id)));
        assert_eq!(world.device.active(AT), Some(old));
        assert_eq!(
            world.device.commit(AT, GenerationId(99), world.now),
            Err(CommitError::NotPreparing(GenerationId(99)))
        );
    }
}

#[test]
fn what_is_in_flight_at_a_commit_arrives_in_order_and_once() {
    for way in [Way::WireGuard, Way::Masque] {
        let mut world = World::over(way);
        world.swap(true);
        world.send_up(up(b"open"));
        world.settle();
        world.at_gateway.clear();
        let id = world.order(false);
        world.settle();
        // In flight under the old keys, both ways.
        for n in 0..50_u8 {
            world.send_up(up(&[n]));
            world.send_down(down(&[n]));
        }
        world.device.commit(AT, id, world.now).unwrap();
        for n in 50..100_u8 {
            world.send_up(up(&[n]));
            world.send_down(down(&[n]));
        }
        world.settle();
        assert_eq!(world.at_gateway, (0..100).map(|n| up(&[n])).collect::<Vec<_>>());
        assert_eq!(world.at_device, (0..100).map(|n| down(&[n])).collect::<Vec<_>>());
        assert_eq!(world.gateway.active(AT), Some(id));
    }
}

#[test]
fn nothing_is_sealed_under_the_old_keys_after_the_commit() {
    let mut world = World::new();
    world.swap(true);
    world.send_up(up(b"a"));
    let old_receiver = world.to_gateway[0].2[4..8].to_vec();
    world.settle();
    let id = world.order(true);
    world.settle();
    world.device.commit(AT, id, world.now).unwrap();
    world.send_up(up(b"b"));
    assert!(world.to_gateway.iter().all(|(_, _, bytes)| bytes[4..8] != old_receiver[..]));
    world.settle();
    world.pass(Duration::from_secs(2));
    assert!(world.device_events.contains(&Event::Retired { peer: AT, generation: GenerationId(1) }));
    assert!(world.gateway_events.contains(&Event::Retired { peer: AT, generation: GenerationId(1) }));
}

#[test]
fn a_denied_flow_is_answered_at_once_and_before_the_syn_leaves() {
    for way in [Way::WireGuard, Way::Masque] {
        let mut world = World::over(way);
        world.swap(true);
        world.settle();
        world.send_up(tcp(DEVICE, INTRANET, (4000, 80), 2, 7, 0, &[]));
        assert!(world.to_gateway.is_empty());
        assert_eq!(world.at_device.len(), 1);
        assert!(is_rst(&world.at_device[0]));
        assert_eq!(world.device.counters().drops(DropReason::Denied), 1);
    }
}

#[test]
fn a_flow_that_the_new_rules_deny_is_closed_at_both_ends_even_when_idle() {
    for way in [Way::WireGuard, Way::Masque] {
        let mut world = World::over(way);
        let id = world.swap(false);
        world.send_up(tcp(DEVICE, INTRANET, (4000, 80), 2, 100, 0, &[]));
        world.settle();
        world.send_down(tcp(INTRANET, DEVICE, (80, 4000), 0x12, 500, 101, &[]));
        world.settle();
        world.send_up(tcp(DEVICE, INTRANET, (4000, 80), 0x10, 101, 501, b"hello"));
        world.settle();
        world.at_device.clear();
        world.at_gateway.clear();
        world.gateway.publish(AT, id, policy(true), world.now);
        world.pass(Duration::from_millis(500));
        let rst = |packets: &[Vec<u8>]| packets.iter().filter(|packet| is_rst(packet)).count();
        assert!(rst(&world.at_device) > 0, "the device's end is closed");
        assert!(rst(&world.at_gateway) > 0, "the server's end is closed");
        // Acceptable to the server: exactly what it expects next.
        assert!(world.at_gateway.iter().any(|p| p[24..28] == 106_u32.to_be_bytes()));
    }
}

/// Rules that arrive while a SYN is under way: the other end's refusal will be denied, too.
#[test]
fn a_connection_that_new_rules_deny_before_it_is_answered_is_refused_at_once() {
    for way in [Way::WireGuard, Way::Masque] {
        let mut world = World::over(way);
        let id = world.swap(false);
        world.at_device.clear();
        world.gateway.publish(AT, id, policy(true), world.now);
        world.send_up(tcp(DEVICE, INTRANET, (4000, 80), 2, 100, 0, &[]));
        world.device.publish(AT, id, policy(true), world.now);
        world.pass(Duration::from_millis(500));
        assert!(world.at_gateway.is_empty());
        let refusals: Vec<_> = world.at_device.iter().filter(|packet| is_rst(packet)).collect();
        assert!(!refusals.is_empty(), "{way:?}");
        // Acceptable to who has sent a SYN: its number, acknowledged.
        assert!(refusals.iter().all(|packet| packet[28..32] == 101_u32.to_be_bytes()));
    }
}

#[test]
fn an_identity_that_denies_a_flow_closes_it_at_the_swap() {
    for way in [Way::WireGuard, Way::Masque] {
        let mut world = World::over(way);
        world.swap(false);
        world.send_up(udp(DEVICE, INTRANET, (4000, 9), b"before"));
        world.send_up(up(b"before"));
        world.settle();
        world.at_gateway.clear();
        world.swap(true);
        world.send_up(udp(DEVICE, INTRANET, (4000, 9), b"after"));
        world.send_up(up(b"after"));
        world.settle();
        assert_eq!(world.at_gateway, [up(b"after")]);
        assert!(world.at_device.iter().any(|packet| packet[9] == 1), "an ICMP answer came");
    }
}

#[test]
fn a_lost_marker_is_sent_again_and_the_first_data_commits_meanwhile() {
    for way in [Way::WireGuard, Way::Masque] {
        let mut world = World::over(way);
        world.swap(true);
        let id = world.order(true);
        world.settle();
        world.device.commit(AT, id, world.now).unwrap();
        world.flush();
        world.to_gateway.clear();
        assert_ne!(world.gateway.active(AT), Some(id));
        world.send_up(up(b"data"));
        world.settle();
        assert_eq!(world.gateway.active(AT), Some(id));
        assert!(!world.device_events.contains(&Event::Acknowledged { peer: AT, generation: id }));
        world.pass(Duration::from_millis(200));
        assert!(world.device_events.contains(&Event::Acknowledged { peer: AT, generation: id }));
    }
}

#[test]
fn a_preparing_generation_without_an_answer_fails_and_disturbs_nothing() {
    for way in [Way::WireGuard, Way::Masque] {
        let mut world = World::over(way);
        let old = world.swap(true);
        let id = world.order(true);
        world.flush();
        for _ in 0..1600 {
            world.now += Duration::from_millis(10);
            world.device.handle_deadline(world.now);
            world.flush();
            world.to_gateway.clear();
        }
        assert!(world.device_events.contains(&Event::Failed { peer: AT, generation: id }));
        world.send_up(up(b"still"));
        world.settle();
        assert_eq!(world.device.active(AT), Some(old));
        assert_eq!(world.at_gateway, [up(b"still")]);
    }
}

#[test]
fn a_foreign_source_address_is_dropped() {
    for way in [Way::WireGuard, Way::Masque] {
        let mut world = World::over(way);
        world.swap(true);
        world.send_up(udp([100, 96, 0, 3], DIRECTORY, (1, 53), b"spoofed"));
        world.settle();
        assert!(world.at_gateway.is_empty());
        // MASQUE's client knows what it was assigned.
        let dropped = [&world.device, &world.gateway].map(|end| end.counters().drops(DropReason::SourceNotAllowed));
        assert_eq!(dropped, if way == Way::Masque { [1, 0] } else { [0, 1] });
    }
}

#[test]
fn a_revoked_generation_is_deaf_and_mute_at_once() {
    for way in [Way::WireGuard, Way::Masque] {
        let mut world = World::over(way);
        let id = world.swap(true);
        world.send_up(up(b"a"));
        world.gateway.retire(AT, id, world.now);
        world.settle();
        assert!(world.at_gateway.is_empty());
        world.send_down(down(b"b"));
        assert!(world.to_device.is_empty());
    }
}

#[test]
fn garbage_is_a_typed_drop() {
    let mut world = World::new();
    world.swap(true);
    world.send_up(up(b"once"));
    let replay = world.to_gateway.clone();
    world.settle();
    world.to_gateway = replay;
    world.uplink();
    for bytes in [vec![0; 1], vec![4; 31], vec![0xff; 200], {
        let mut b = vec![0; 60];
        b[0] = 4;
        b
    }] {
        let stride = bytes.len();
        world.to_gateway.push_back((address(7), stride, bytes));
    }
    world.uplink();
    world.flush();
    let counters = world.gateway.counters();
    assert_eq!(world.at_gateway.len(), 1);
    assert_eq!(counters.drops(DropReason::Replayed), 1);
    assert_eq!(counters.drops(DropReason::NotWireGuard), 3);
    assert_eq!(counters.drops(DropReason::UnknownIndex), 1);
}

#[test]
fn a_hundred_swaps_under_traffic_lose_nothing_whoever_keeps_the_sessions() {
    use SessionBackend::{Boringtun, Native};
    swaps_under_traffic([Native, Native], 100);
    for backends in [[Native, Boringtun], [Boringtun, Native], [Boringtun, Boringtun]] {
        swaps_under_traffic(backends, 20);
    }
}

#[test]
fn swaps_of_identity_and_of_transport_lose_nothing() {
    use Way::{Masque, WireGuard};
    for ways in [vec![Masque], vec![WireGuard, Masque], vec![Masque, Masque, WireGuard, WireGuard]] {
        let world = swaps_of(World::over(ways[0]), &ways, 40);
        for engine in [&world.device, &world.gateway] {
            assert_eq!(engine.counters().holds_expired.get(), 0, "the old end always came");
        }
    }
}

fn swaps_under_traffic(backends: [SessionBackend; 2], rounds: u32) {
    swaps_of(World::with(backends), &[Way::WireGuard], rounds);
}

fn swaps_of(mut world: World, ways: &[Way], rounds: u32) -> World {
    world.swap(true);
    world.send_up(up(b"open"));
    world.settle();
    world.at_gateway.clear();
    let mut sent = 0_u32;
    for round in 0..rounds {
        world.way = ways[round as usize % ways.len()];
        let id = world.order(round % 2 == 0);
        for step in 0..10 {
            world.send_up(up(&sent.to_be_bytes()));
            world.send_down(down(&sent.to_be_bytes()));
            sent += 1;
            if step % 3 == 0 {
                world.uplink();
            }
            world.flush();
            if step % 4 == 0 {
                world.downlink();
            }
            world.flush();
        }
        world.settle();
        world.device.commit(AT, id, world.now).unwrap();
        world.send_up(up(&sent.to_be_bytes()));
        world.send_down(down(&sent.to_be_bytes()));
        sent += 1;
        world.settle();
        world.pass(Duration::from_millis(110));
    }
    let want_up: Vec<_> = (0..sent).map(|n| up(&n.to_be_bytes())).collect();
    let want_down: Vec<_> = (0..sent).map(|n| down(&n.to_be_bytes())).collect();
    assert_eq!(world.at_gateway.len(), want_up.len());
    assert!(world.at_gateway == want_up && world.at_device == want_down);
    world
}
