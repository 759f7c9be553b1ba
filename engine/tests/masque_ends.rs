//! Generations over MASQUE where the wire or one of the ends does what WireGuard does not meet.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod ends;

use ends::world::*;
use std::time::Duration;
use vestibule_engine::core::{DropReason, Event};
use vestibule_engine::generation::HOLD_MOST;

/// A swap whose last packets under the old generation are overtaken; gives what was overtaken.
fn overtaken(ways: [Way; 2]) -> (World, std::collections::VecDeque<(std::net::SocketAddr, usize, Vec<u8>)>) {
    let mut world = World::over(ways[0]);
    world.swap(true);
    world.send_up(up(&[255]));
    world.settle();
    world.at_gateway.clear();
    world.way = ways[1];
    let id = world.order(true);
    world.settle();
    for n in 0..20 {
        world.send_up(up(&[n]));
    }
    let mut late = std::mem::take(&mut world.to_gateway);
    world.device.commit(AT, id, world.now).unwrap();
    world.flush();
    // What leaves at the commit itself begins with the end of the old generation.
    late.push_back(world.to_gateway.pop_front().unwrap());
    for n in 20..40 {
        world.send_up(up(&[n]));
    }
    world.uplink();
    world.flush();
    assert_eq!(world.gateway.active(AT), Some(id), "the gateway has committed");
    (world, late)
}

#[test]
fn new_packets_wait_for_the_last_old_ones() {
    for ways in [[Way::Masque, Way::Masque], [Way::WireGuard, Way::Masque], [Way::Masque, Way::WireGuard]] {
        let (mut world, late) = overtaken(ways);
        assert!(world.at_gateway.is_empty(), "{ways:?}: they wait");
        world.to_gateway = late;
        world.uplink();
        world.flush();
        assert!(world.at_gateway == (0..40).map(|n| up(&[n])).collect::<Vec<_>>(), "{ways:?}");
        assert_eq!(world.gateway.counters().holds_expired.get(), 0);
    }
}

#[test]
fn an_end_that_does_not_come_is_waited_for_only_so_long() {
    for ways in [[Way::Masque, Way::Masque], [Way::WireGuard, Way::Masque], [Way::Masque, Way::WireGuard]] {
        let (mut world, _lost) = overtaken(ways);
        assert!(world.at_gateway.is_empty());
        world.now += HOLD_MOST;
        assert!(world.gateway.poll_deadline().unwrap() <= world.now);
        world.gateway.handle_deadline(world.now);
        world.flush();
        assert_eq!(world.at_gateway, (20..40).map(|n| up(&[n])).collect::<Vec<_>>(), "{ways:?}");
        assert_eq!(world.gateway.counters().holds_expired.get(), 1);
    }
}

#[test]
fn no_more_is_held_than_agreed() {
    let (mut world, _lost) = overtaken([Way::Masque, Way::Masque]);
    let mut sent = 0;
    while world.at_gateway.is_empty() {
        world.send_up(up(&[7; 1200]));
        world.uplink();
        world.flush();
        sent += 1;
        assert!(sent < 4000, "5 MB are held");
    }
    assert_eq!(world.at_gateway.len(), 20 + sent);
    assert_eq!(world.gateway.counters().holds_expired.get(), 1);
}

#[test]
fn old_packets_long_after_their_end_are_refused() {
    let mut world = World::over(Way::Masque);
    world.swap(true);
    world.send_up(up(b"late"));
    let late = std::mem::take(&mut world.to_gateway);
    world.swap(true);
    world.now += HOLD_MOST * 2;
    world.to_gateway = late;
    world.uplink();
    world.flush();
    assert!(world.at_gateway.is_empty());
    assert_eq!(world.gateway.counters().drops(DropReason::PastMarker), 1);
}

#[test]
fn what_is_too_long_is_answered_with_what_fits() {
    let mut world = World::over(Way::Masque);
    world.swap(false);
    world.settle();
    world.send_up(whole(up(&[0; 1450])));
    assert_eq!(world.device.counters().drops(DropReason::TooBig), 1);
    let [answer] = &world.at_device[..] else { panic!("one answer, not {}", world.at_device.len()) };
    assert_eq!((answer[9], &answer[20..22]), (1, &[3, 4][..]), "fragmentation needed");
    let mtu = u16::from_be_bytes([answer[26], answer[27]]);
    assert!((1280..1478).contains(&mtu), "{mtu}");
    world.send_up(up(&vec![0; usize::from(mtu) - 28]));
    world.settle();
    assert_eq!(world.at_gateway.last().unwrap().len(), usize::from(mtu));
}

#[test]
fn a_connection_that_was_lost_is_made_anew_under_the_same_generation() {
    let mut world = World::over(Way::Masque);
    let id = world.swap(true);
    // The connection is given up 30 s after the first packet that finds no answer, a keepalive after 10 s.
    for _ in 0..4500 {
        world.now += Duration::from_millis(10);
        world.device.handle_deadline(world.now);
        world.gateway.handle_deadline(world.now);
        world.flush();
        world.to_gateway.clear();
        world.to_device.clear();
    }
    world.send_up(up(b"down"));
    assert_eq!(world.device.counters().drops(DropReason::NoSession), 1);
    world.pass(Duration::from_secs(6));
    world.send_up(up(b"query"));
    world.settle();
    world.send_down(down(b"answer"));
    world.settle();
    assert_eq!((&world.at_gateway, &world.at_device), (&vec![up(b"query")], &vec![down(b"answer")]));
    assert_eq!((world.device.active(AT), world.gateway.active(AT)), (Some(id), Some(id)));
}

#[test]
fn a_key_that_nobody_awaits_gets_no_tunnel() {
    let mut world = World::over(Way::Masque);
    let old = world.swap(true);
    let id = world.order(true);
    world.gateway.abort(AT, id);
    world.settle();
    world.pass(Duration::from_secs(16));
    assert!(world.device_events.contains(&Event::Failed { peer: AT, generation: id }));
    world.send_up(up(b"still"));
    world.settle();
    assert_eq!((world.device.active(AT), world.at_gateway.last()), (Some(old), Some(&up(b"still"))));
}

#[test]
fn a_gateway_is_told_of_a_change_of_network_before_there_is_anything_to_send() {
    for way in [Way::WireGuard, Way::Masque] {
        let mut world = World::over(way);
        world.swap(true);
        world.send_up(up(&[0]));
        world.settle();
        for address_now in [3, 4, 2] {
            world.device_at = address(address_now);
            world.send_down(down(&[address_now]));
            world.settle();
            assert!(world.at_device.is_empty(), "{way:?}: it went where the device was");
            world.device.network_changed(world.now);
            world.settle();
            world.send_down(down(&[100 + address_now]));
            world.settle();
            // QUIC does not send a lost datagram again, and WireGuard has never done so.
            assert_eq!(std::mem::take(&mut world.at_device), [down(&[100 + address_now])], "{way:?}");
        }
        assert_eq!(world.device.counters().handshakes.get(), 1, "{way:?}: nothing was begun anew");
        // What is about to become the tunnel moves, too, and one that had been heard of by nobody is begun anew.
        let id = world.order(true);
        world.to_gateway.clear();
        world.flush();
        world.to_gateway.clear();
        world.device_at = address(5);
        world.device.network_changed(world.now);
        if way == Way::WireGuard {
            world.pass(Duration::from_secs(6));
        }
        world.settle();
        world.device.commit(AT, id, world.now).unwrap();
        world.settle();
        assert_eq!(world.gateway.active(AT), Some(id), "{way:?}");
        world.send_down(down(&[200]));
        world.settle();
        assert_eq!(std::mem::take(&mut world.at_device), [down(&[200])], "{way:?}");
    }
}
