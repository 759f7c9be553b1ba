//! Paths that lose, reorder, narrow and die.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::tests::{ended, number, packet};
use super::wire::{World, nets};
use super::*;
use std::collections::BTreeSet;
use std::time::Duration;

#[test]
fn loss_and_reordering_cost_the_lost_packets_and_nothing_more() {
    for seed in 0..8 {
        // CUBIC takes random loss for congestion and says so by a full queue; what it takes in, it sends.
        let congestion = if seed % 2 == 0 { Congestion::Off } else { Congestion::Cubic };
        let mut world = World::new(100 + seed, Settings { congestion, ..Settings::default() });
        (world.loss, world.reorder) = (Some(20), true);
        let (near, far) = world.tunnel();
        let mut sent = BTreeSet::new();
        for n in 0..2000 {
            match world.client.endpoint.send(near, &mut packet("10.0.0.1", "203.0.113.1", n, 600), Origin::Local) {
                Ok(()) => sent.insert(n),
                Err(error) => {
                    assert_eq!((error, congestion), (SendError::Full, Congestion::Cubic));
                    false
                }
            };
            if n % 10 == 0 {
                world.run(Duration::from_millis(2));
            }
        }
        world.run(Duration::from_secs(10));
        let got: Vec<u32> = world.gateway.packets.iter().map(|(_, packet)| number(packet)).collect();
        let unlike: BTreeSet<_> = got.iter().copied().collect();
        assert_eq!(unlike.len(), got.len(), "seed {seed}: none twice");
        assert!(unlike.is_subset(&sent));
        assert!(got.len() > sent.len() * 9 / 10, "seed {seed}: {} of {}", got.len(), sent.len());
        assert!(got.len() < sent.len(), "seed {seed}: some were lost");
        // Capsules are never lost.
        world.gateway.endpoint.assign(far, &nets(&["10.0.0.7/32"]), world.now);
        world.until(|w| w.client.find(|e| matches!(e, Event::Assigned(_, c) if c.added == nets(&["10.0.0.7/32"]))));
    }
}

#[test]
fn a_dead_path_ends_connections_and_leaves_nothing() {
    let mut world = World::new(14, Settings::default());
    let (near, far) = world.tunnel();
    world.loss = Some(1);
    world.client.endpoint.send(near, &mut packet("10.0.0.1", "203.0.113.1", 0, 100), Origin::Local).unwrap();
    world.run(Duration::from_secs(120));
    assert_eq!(ended(&world.client, near), Some(Some(TunnelError::Connection)));
    assert_eq!(ended(&world.gateway, far), Some(Some(TunnelError::Connection)));
    assert_eq!((world.client.endpoint.connections(), world.gateway.endpoint.connections()), (0, 0));
    assert_eq!((world.client.endpoint.poll_deadline(), world.gateway.endpoint.poll_deadline()), (None, None));
}

#[test]
fn a_narrow_path_is_found_out_and_told() {
    let mut world = World::new(16, Settings::default());
    world.path_mtu = 1400;
    let (near, _) = world.tunnel();
    world.run(Duration::from_secs(5));
    let mtu = world.client.events.iter().rev().find_map(|event| match event {
        Event::MtuChanged(id, mtu) if *id == near => Some(*mtu),
        _ => None,
    });
    // At most 1400 less 1 + 8 + 4 + 16 of QUIC's, 9 of the frame's bound and 2 of ours; discovery stops 20 bytes below at worst.
    assert!(mtu.is_some_and(|mtu| (1340..=1360).contains(&mtu)), "{mtu:?}");
}

#[test]
fn a_client_that_moves_keeps_its_tunnel() {
    let mut world = World::new(17, Settings::default());
    let (near, far) = world.tunnel();
    world.client.address = "198.51.100.9:40000".parse().unwrap();
    world.client.endpoint.send(near, &mut packet("10.0.0.1", "203.0.113.1", 1, 40), Origin::Local).unwrap();
    assert_eq!(number(&world.until(|w| w.gateway.packets.pop()).1), 1);
    world.run(Duration::from_secs(1));
    world.gateway.endpoint.send(far, &mut packet("203.0.113.1", "10.0.0.1", 2, 40), Origin::Local).unwrap();
    assert_eq!(number(&world.until(|w| w.client.packets.pop()).1), 2);
    assert_eq!(world.gateway.destination, Some(world.client.address));
    assert!(ended(&world.client, near).is_none() && ended(&world.gateway, far).is_none());
}

#[test]
fn a_client_that_tells_of_its_move_is_found_without_sending_anything() {
    let mut world = World::new(19, Settings::default());
    let (near, far) = world.tunnel();
    // Pings of either end would move it, too.
    world.run(Duration::from_millis(100));
    let before = world.now;
    world.client.address = "198.51.100.9:40000".parse().unwrap();
    assert!(world.client.endpoint.local_address_changed(near.connection, world.now));
    world.until(|w| (w.gateway.destination == Some(w.client.address)).then_some(()));
    assert!(world.now - before <= 2 * world.delay, "{:?}", world.now - before);
    world.run(2 * world.delay);
    world.gateway.endpoint.send(far, &mut packet("203.0.113.1", "10.0.0.1", 2, 40), Origin::Local).unwrap();
    assert_eq!(number(&world.until(|w| w.client.packets.pop()).1), 2);
    assert!(ended(&world.client, near).is_none() && ended(&world.gateway, far).is_none());
    let unfinished = world.connect();
    assert!(!world.client.endpoint.local_address_changed(unfinished, world.now), "RFC 9000 section 9: not before");
}

#[test]
fn d15_a_probe_to_all_nodes_is_answered_by_the_other_end_itself() {
    let mut world = World::new(18, Settings::default());
    let (near, far) = world.tunnel();
    let mtu_known = |world: &World| ended(&world.gateway, far).is_none() && ended(&world.client, near).is_none();
    world.gateway.endpoint.probe(far, "fd00::ff".parse().unwrap(), None, 7, world.now);
    world.run(Duration::from_secs(15));
    assert!(mtu_known(&world), "answered: unanswered probes end the tunnel after 11.5 s");
    assert!(world.client.packets.is_empty() && world.gateway.packets.is_empty(), "nobody else sees it");
    assert_eq!(world.client.endpoint.counters(near).unwrap().refused, 0);
}
