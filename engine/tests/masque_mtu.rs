//! Packets that are longer than what the path of a tunnel over HTTP/3 carries.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod ends;

use ends::world::*;
use std::time::Duration;
use vestibule_engine::core::{DropReason, Engine, Event};
use vestibule_engine::packet::{Frame, Frames, Gso, Offload};

/// What QUIC, HTTP datagrams and contexts take of a UDP payload.
const OVERHEAD: usize = 40;
/// The adapter's, as the product has it.
const ADAPTER: usize = 1420;

/// One super-packet.
struct Super(Option<Vec<u8>>, Vec<u8>, Gso);

impl Frames for Super {
    fn next_frame(&mut self) -> Option<Frame<'_>> {
        self.1 = self.0.take()?;
        Some(Frame { bytes: &mut self.1, offload: Offload { gso: Some(self.2), checksum: None } })
    }
}

fn over(path_mtu: usize) -> World {
    let mut world = World::over(Way::Masque);
    world.path_mtu = path_mtu;
    for engine in [&mut world.device, &mut world.gateway] {
        engine.set_mtu(ADAPTER as u32);
    }
    world
}

/// A generation, ready as soon as it may be, and committed.
fn connected(world: &mut World) {
    let id = world.order(false);
    world.pass(Duration::from_secs(3));
    world.device.commit(AT, id, world.now).unwrap();
    world.settle();
    assert_eq!(world.gateway.active(AT), Some(id));
    world.at_device.clear();
}

/// A packet up of `len` bytes.
fn long(len: usize) -> Vec<u8> {
    up(&vec![7; len - 28])
}

/// The MTU that an ICMP error tells of.
fn told(answer: &[u8]) -> usize {
    assert_eq!((answer[9], &answer[20..22]), (1, &[3, 4][..]), "fragmentation needed");
    usize::from(u16::from_be_bytes([answer[26], answer[27]]))
}

fn too_big(engine: &Engine) -> u64 {
    engine.counters().drops(DropReason::TooBig)
}

/// The longest packet that fits, as the device says.
fn width(world: &mut World) -> usize {
    world.at_device.clear();
    world.send_up(whole(long(ADAPTER)));
    told(&world.at_device.pop().unwrap())
}

#[test]
fn d9_a_narrow_path_is_told_by_its_real_value_both_ways() {
    let mut world = over(1372);
    connected(&mut world);
    world.send_up(whole(long(ADAPTER)));
    world.settle();
    let mtu = told(&world.at_device.pop().unwrap());
    assert!((1332 - 33..=1332).contains(&mtu), "{mtu}");
    assert!(world.at_gateway.is_empty());
    world.send_up(whole(long(mtu)));
    world.settle();
    assert_eq!(world.at_gateway.pop().unwrap(), whole(long(mtu)));

    world.send_down(whole(down(&[7; ADAPTER - 28])));
    world.settle();
    let mtu = told(&world.at_gateway.pop().unwrap());
    assert!((1332 - 33..=1332).contains(&mtu), "{mtu}");
    assert_eq!((too_big(&world.device), too_big(&world.gateway)), (1, 1));
}

#[test]
fn what_may_be_fragmented_is() {
    let mut world = over(1372);
    connected(&mut world);
    world.send_up(long(ADAPTER));
    world.settle();
    let [first, second] = &world.at_gateway[..] else { panic!("{} packets", world.at_gateway.len()) };
    assert_eq!([&first[20..], &second[20..]].concat(), long(ADAPTER)[20..]);
    assert!(first.len() <= 1372 - OVERHEAD && first[6] & 0x20 != 0 && second[6] & 0x20 == 0);
    assert!(world.at_device.is_empty(), "nobody is told");
    assert_eq!((too_big(&world.device), world.device.counters().fragmented.get()), (0, 1));
}

#[test]
fn a_super_packet_is_cut_as_the_path_wants_it() {
    let mut world = over(1372);
    connected(&mut world);
    let payload: Vec<u8> = (0..9000_u32).map(|n| n as u8).collect();
    let flow = |flags, seq, payload: &[u8]| whole(tcp(DEVICE, DIRECTORY, (5000, 445), flags, seq, 1, payload));
    world.send_up(flow(SYN, 99, &[]));
    world.settle();
    world.at_gateway.clear();
    let before = world.device.counters().sealed.get();
    let frame = flow(ACK, 100, &payload);
    let mut frames = Super(Some(frame), Vec::new(), Gso::Tcp { size: ADAPTER as u16 - 40 });
    world.device.handle_frames(&mut frames, world.now);
    world.settle();
    // The other end has put it together again.
    assert_eq!(world.at_gateway.iter().flat_map(|packet| &packet[40..]).copied().collect::<Vec<_>>(), payload);
    let sealed = world.device.counters().sealed.get() - before;
    assert_eq!(sealed as usize, payload.len().div_ceil(width(&mut world) - 40));
    assert_eq!((too_big(&world.device), world.at_device.len()), (1, 0), "but for the question");
}

/// The device commits as soon as it may: the gateway must not find its own way narrow then.
#[test]
fn a_generation_is_ready_when_both_ends_know_that_it_is_wide() {
    for ways in [[Way::Masque, Way::Masque], [Way::WireGuard, Way::Masque]] {
        let mut world = over(1472);
        world.way = ways[0];
        world.swap(false);
        world.way = ways[1];
        let id = world.order(false);
        let is_ready = |event: &Event| matches!(event, Event::Ready { generation, .. } if *generation == id);
        for _ in 0..200 {
            world.flush();
            if world.device_events.iter().any(is_ready) {
                break;
            }
            world.uplink();
            world.flush();
            world.downlink();
        }
        assert!(world.device_events.iter().any(is_ready), "{ways:?}");
        world.device.commit(AT, id, world.now).unwrap();
        world.flush();
        world.uplink();
        world.flush();
        assert_eq!(world.gateway.active(AT), Some(id));
        world.at_device.clear();
        let packet = whole(down(&[7; ADAPTER - 28]));
        world.send_down(packet.clone());
        world.send_up(whole(long(ADAPTER)));
        world.settle();
        assert_eq!(
            (&world.at_device, world.at_gateway.last()),
            (&vec![packet], Some(&whole(long(ADAPTER)))),
            "{ways:?}"
        );
    }
}

#[test]
fn a_path_that_becomes_narrow_is_told_of_and_one_that_widens_is_used() {
    let mut world = over(1472);
    connected(&mut world);
    world.path_mtu = 1372;
    for _ in 0..500 {
        world.send_up(whole(long(ADAPTER)));
        world.send_up(whole(long(100)));
        world.pass(Duration::from_millis(10));
    }
    let mtu = told(world.at_device.last().unwrap());
    assert!((1332 - 33..=1332).contains(&mtu), "{mtu}");
    assert!(too_big(&world.device) > 300, "for most of the time it was known");
    world.path_mtu = 1472;
    world.at_gateway.clear();
    for _ in 0..650 {
        world.send_up(whole(long(ADAPTER)));
        world.pass(Duration::from_millis(100));
    }
    assert_eq!(world.at_gateway.last(), Some(&whole(long(ADAPTER))));
}

#[test]
fn a_tunnel_returns_to_http3_when_it_is_wide_there() {
    let mut world = over(1472);
    world.way = Way::Either;
    world.udp_blocked = true;
    let id = world.order(false);
    world.pass(Duration::from_millis(300));
    world.device.commit(AT, id, world.now).unwrap();
    world.pass(Duration::from_secs(20));
    world.udp_blocked = false;
    world.device_events.clear();
    let mut sent = 0;
    let returned =
        |event: &Event| matches!(event, Event::Carried { http: vestibule_engine::generation::Http::Three, .. });
    while !world.device_events.iter().any(returned) {
        world.send_up(whole(long(ADAPTER)));
        world.send_down(whole(down(&[7; ADAPTER - 28])));
        world.pass(Duration::from_millis(50));
        sent += 1;
        assert!(sent < 20 * 130, "HTTP/3 is tried again within two minutes");
    }
    world.send_up(whole(long(ADAPTER)));
    world.send_down(whole(down(&[7; ADAPTER - 28])));
    world.pass(Duration::from_secs(1));
    assert_eq!((world.at_gateway.len(), world.at_device.len()), (sent + 1, sent + 1));
    assert_eq!((too_big(&world.device), too_big(&world.gateway)), (0, 0));
}
