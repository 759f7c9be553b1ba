//! Networks that let datagrams through to some of the gateway's ports, and not to the usual one.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod ends;

use ends::world::*;
use std::time::Duration;
use vestibule_engine::core::Event;

const PORTS: [u16; 3] = [500, 1701, 4500];

/// A device whose first tunnel finds a way within `time`.
fn connects(way: Way, port: u16, time: Duration) -> World {
    let mut world = World::over(way);
    (world.port, world.further) = (port, PORTS.to_vec());
    let id = world.order(false);
    world.settle();
    world.pass(time);
    let ready = |event: &Event| matches!(event, Event::Ready { generation, .. } if *generation == id);
    assert!(world.device_events.iter().any(ready), "{way:?} at {port}: {:?}", world.device_events);
    world.device.commit(AT, id, world.now).unwrap();
    world.settle();
    carries(&mut world);
    world
}

fn carries(world: &mut World) {
    world.send_up(up(b"query"));
    world.settle();
    world.send_down(down(b"answer"));
    world.settle();
    assert_eq!((world.at_gateway.pop(), world.at_device.pop()), (Some(up(b"query")), Some(down(b"answer"))));
}

#[test]
fn each_of_the_ports_is_found_over_http3() {
    for (port, seconds) in [(address(1).port(), 1), (500, 3), (1701, 5), (4500, 7)] {
        connects(Way::Masque, port, Duration::from_secs(seconds));
    }
}

#[test]
fn each_of_the_ports_is_found_over_wireguard() {
    for port in [address(1).port(), 500, 1701, 4500] {
        connects(Way::WireGuard, port, Duration::from_secs(8));
    }
}

/// The usual port has every second turn, and gets its tunnel as soon as the gateway is there.
#[test]
fn a_gateway_that_was_away_is_found_at_its_usual_port_at_once() {
    let mut world = World::over(Way::Masque);
    (world.port, world.further) = (address(1).port(), PORTS.to_vec());
    world.udp_blocked = true;
    world.order(false);
    world.settle();
    world.pass(Duration::from_millis(3300));
    world.udp_blocked = false;
    world.pass(Duration::from_secs(2));
    assert!(world.device_events.iter().any(|event| matches!(event, Event::Ready { .. })), "{:?}", world.device_events);
}

#[test]
fn without_further_ports_there_is_one() {
    for way in [Way::Masque, Way::WireGuard] {
        let mut world = World::over(way);
        world.port = 4500;
        world.order(false);
        world.settle();
        world.pass(Duration::from_secs(10));
        assert!(!world.device_events.iter().any(|event| matches!(event, Event::Ready { .. })), "{way:?}");
    }
}
