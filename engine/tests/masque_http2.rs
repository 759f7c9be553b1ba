//! Generations over HTTP/2: as the choice, as the way out when UDP is blocked, and back.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod ends;

use ends::world::*;
use std::time::Duration;
use vestibule_engine::core::Event;
use vestibule_engine::generation::Http;

fn carried(world: &mut World) -> Vec<Http> {
    let events = std::mem::take(&mut world.device_events);
    let carried = events.into_iter().filter_map(|event| match event {
        Event::Carried { http, .. } => Some(http),
        _ => None,
    });
    carried.collect()
}

/// One packet each way arrives.
fn carries(world: &mut World) {
    world.at_device.clear();
    world.at_gateway.clear();
    world.send_up(up(b"query"));
    world.settle();
    world.send_down(down(b"answer"));
    world.settle();
    assert_eq!((&world.at_gateway, &world.at_device), (&vec![up(b"query")], &vec![down(b"answer")]));
    world.at_device.clear();
    world.at_gateway.clear();
}

#[test]
fn swaps_between_all_transports_lose_and_reorder_nothing() {
    let mut world = World::over(Way::WireGuard);
    world.swap(true);
    // The rules let the device begin.
    carries(&mut world);
    let (mut sent, ways) = (0_u16, [Way::Masque, Way::Http2, Way::WireGuard, Way::Http2, Way::Http2, Way::Masque]);
    for way in ways.iter().cycle().take(60) {
        world.way = *way;
        let id = world.order(true);
        world.settle();
        let mut packets = |world: &mut World| {
            for _ in 0..10 {
                world.send_up(up(&sent.to_be_bytes()));
                world.send_down(down(&sent.to_be_bytes()));
                sent += 1;
            }
        };
        packets(&mut world);
        world.device.commit(AT, id, world.now).unwrap();
        packets(&mut world);
        world.settle();
        packets(&mut world);
        world.settle();
        assert_eq!((world.device.active(AT), world.gateway.active(AT)), (Some(id), Some(id)), "{way:?}");
        world.pass(Duration::from_millis(400));
    }
    world.pass(Duration::from_secs(2));
    let all = |packet: fn(&[u8]) -> Vec<u8>| (0..sent).map(|n| packet(&n.to_be_bytes())).collect::<Vec<_>>();
    assert!(world.at_gateway == all(up), "{} of {sent}", world.at_gateway.len());
    assert!(world.at_device == all(down), "{} of {sent}", world.at_device.len());
    assert_eq!(world.gateway.counters().holds_expired.get() + world.device.counters().holds_expired.get(), 0);
}

#[test]
fn without_udp_a_device_comes_in_over_http2_after_a_head_start() {
    let mut world = World::over(Way::Either);
    world.udp_blocked = true;
    let id = world.order(true);
    world.settle();
    assert_eq!(world.streams.dialled, 0, "HTTP/3 has a head start");
    world.pass(Duration::from_millis(300));
    world.device.commit(AT, id, world.now).unwrap();
    world.settle();
    carries(&mut world);
    assert_eq!(carried(&mut world), [Http::Two]);
}

#[test]
fn with_udp_nobody_connects_over_tcp() {
    let mut world = World::over(Way::Either);
    world.swap(true);
    world.pass(Duration::from_secs(5));
    carries(&mut world);
    assert_eq!((world.streams.dialled, carried(&mut world)), (0, vec![Http::Three]));
}

#[test]
fn udp_blocked_in_mid_session_costs_less_than_three_seconds() {
    let mut world = World::over(Way::Either);
    world.swap(true);
    carries(&mut world);
    world.udp_blocked = true;
    let blocked = world.now;
    // A packet every 50 ms, as of an application that does not give up.
    while world.at_gateway.is_empty() {
        world.send_up(up(b"anyone?"));
        world.pass(Duration::from_millis(50));
        assert!(world.now - blocked < Duration::from_secs(3), "nothing for {:?}", world.now - blocked);
    }
    carries(&mut world);
    assert_eq!(carried(&mut world), [Http::Three, Http::Two]);
    let seen = world.gateway.peer_statistics(AT).unwrap().endpoint;
    assert_eq!(seen, Some(ends::streams::FROM.into()), "the gateway tells where the device is now");
}

#[test]
fn a_gateway_that_only_sends_follows_the_device_to_http2() {
    let mut world = World::over(Way::Either);
    world.swap(true);
    carries(&mut world);
    world.udp_blocked = true;
    // The device has nothing to say but what QUIC does by itself, a keepalive every 10 s.
    world.send_up(up(b"last"));
    world.pass(Duration::from_secs(3));
    world.at_device.clear();
    world.send_down(down(b"news"));
    world.settle();
    assert_eq!(world.at_device, [down(b"news")]);
}

#[test]
fn when_udp_works_again_the_tunnel_returns_to_it_and_loses_nothing() {
    let mut world = World::over(Way::Either);
    world.udp_blocked = true;
    let id = world.order(true);
    world.pass(Duration::from_millis(300));
    world.device.commit(AT, id, world.now).unwrap();
    world.pass(Duration::from_secs(40));
    assert_eq!(carried(&mut world), [Http::Two]);
    carries(&mut world);
    world.udp_blocked = false;
    let mut sent = 0_u32;
    while carried(&mut world).is_empty() {
        world.send_up(up(&sent.to_be_bytes()));
        world.send_down(down(&sent.to_be_bytes()));
        world.pass(Duration::from_millis(50));
        sent += 1;
        assert!(sent < 20 * 130, "HTTP/3 is tried again within two minutes");
    }
    world.pass(Duration::from_secs(2));
    assert_eq!((world.at_gateway.len(), world.at_device.len()), (sent as usize, sent as usize));
    carries(&mut world);
}

#[test]
fn a_stream_that_breaks_is_made_anew() {
    let mut world = World::over(Way::Http2);
    world.swap(true);
    carries(&mut world);
    let World { streams, device, gateway, now, .. } = &mut world;
    streams.cut(device, gateway, *now);
    world.pass(Duration::from_secs(1));
    carries(&mut world);
    assert_eq!(world.streams.dialled, 2);
}

#[test]
fn while_nobody_answers_attempts_become_rarer() {
    let mut world = World::over(Way::Http2);
    world.swap(true);
    world.streams.refused = true;
    let World { streams, device, gateway, now, .. } = &mut world;
    streams.cut(device, gateway, *now);
    world.pass(Duration::from_secs(60));
    assert!((10..20).contains(&world.streams.dialled), "{}", world.streams.dialled);
    world.streams.refused = false;
    world.pass(Duration::from_secs(5));
    carries(&mut world);
}
