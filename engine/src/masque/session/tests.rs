//! Two ends in one process.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::wire::{World, nets, template};
use super::*;
use crate::masque::capsule::{IpAddressRange, Routes};
use crate::masque::ip::{Refusal, Scope};
use crate::masque::request::{Answer, Credentials, Outgoing, ResponseError, Target};
use crate::packet::header::UDP;
use crate::packet::testing::{assert_checksums, ip, sum_v4};
use crate::packet::{Ecn, Headers};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

/// A UDP packet with `number` and `len` bytes of payload in all.
pub(super) fn packet(source: &str, destination: &str, number: u32, len: usize) -> Vec<u8> {
    let mut udp = vec![0; 8 + len.max(4)];
    udp[..6].copy_from_slice(&[0, 9, 0, 9, ((8 + len) >> 8) as u8, (8 + len) as u8]);
    udp[8..12].copy_from_slice(&number.to_be_bytes());
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    ip(address(source), address(destination), UDP, &udp, Some(6))
}

pub(super) fn number(packet: &[u8]) -> u32 {
    let at = Headers::parse(packet).unwrap().transport_offset + 8;
    u32::from_be_bytes(packet[at..at + 4].try_into().unwrap())
}

pub(super) fn ended(node: &wire::Node, id: TunnelId) -> Option<Option<TunnelError>> {
    node.events.iter().find_map(|event| match event {
        Event::Ended(of, error) if *of == id => Some(error.clone()),
        _ => None,
    })
}

#[test]
fn r9_a_tunnel_carries_packets_both_ways_and_ends_with_its_stream() {
    let mut world = World::new(1, Settings::default());
    let (near, far) = world.tunnel();
    for v6 in [false, true] {
        let (client, server) = if v6 { ("fd00::1", "2001:db8::5") } else { ("10.0.0.1", "203.0.113.5") };
        let up = packet(client, server, 1, 800);
        let down = packet(server, client, 2, 800);
        world.client.endpoint.send(near, &mut up.clone(), Origin::Local).unwrap();
        world.gateway.endpoint.send(far, &mut down.clone(), Origin::Local).unwrap();
        world.until(|w| (!w.client.packets.is_empty() && !w.gateway.packets.is_empty()).then_some(()));
        assert_eq!(world.gateway.packets.pop().unwrap(), (far, up.into()));
        assert_eq!(world.client.packets.pop().unwrap(), (near, down.into()));
    }
    world.client.endpoint.close_tunnel(near, world.now);
    assert_eq!(world.until(|w| ended(&w.gateway, far)), None, "in good order");
    assert_eq!(ended(&world.client, near), Some(None));
    let again = world.gateway.endpoint.send(far, &mut packet("203.0.113.5", "10.0.0.1", 3, 8), Origin::Local);
    assert_eq!(again, Err(SendError::NotOpen));
}

#[test]
fn r1_both_ends_know_each_other_by_key() {
    let mut world = World::new(2, Settings::default());
    let connection = world.connect();
    let handle = world.until(|w| match w.gateway.events.first()? {
        Event::Connected(handle) => Some(*handle),
        _ => None,
    });
    let seen = world.gateway.endpoint.peer_certificates(handle).unwrap();
    assert_eq!(seen.first(), world.client_certificate.as_ref());
    assert_eq!(tls::public_key(&world.client.endpoint.peer_certificates(connection).unwrap()[0]), Ok(world.server_key));
}

#[test]
fn r1_a_gateway_with_another_key_is_not_believed() {
    let mut world = World::new(3, Settings::default());
    world.server_key.reverse();
    world.connect();
    let event = world.until(|w| w.client.find(|event| matches!(event, Event::Closed(..))));
    assert!(matches!(event, Event::Closed(_, ConnectionError::Quic(_))));
    world.run(Duration::from_secs(60));
    assert_eq!((world.client.endpoint.connections(), world.gateway.endpoint.connections()), (0, 0));
}

#[test]
fn r4_nothing_is_asked_before_the_settings_and_refusals_are_told() {
    let mut world = World::new(4, Settings::default());
    let connection = world.connect();
    let outgoing = Outgoing::new(&template(), &Target::Any, None, Credentials::None);
    let near = world.client.endpoint.open(connection, outgoing, Scope::all(), world.now).unwrap();
    let far = world.until(|w| match w.gateway.events.last()? {
        Event::Requested(id, incoming) => {
            assert_eq!((incoming.target.clone(), incoming.capsule_protocol), (Target::Any, Some(true)));
            Some(*id)
        }
        _ => None,
    });
    assert!(world.gateway.endpoint.refuse(far, &Answer::refused(403), world.now));
    assert!(!world.gateway.endpoint.accept(far, Scope::all(), world.now), "it was refused");
    let error = world.until(|w| ended(&w.client, near)).unwrap();
    assert_eq!(error, TunnelError::Response(ResponseError::Status { status: 403, reason: None }));
    let sent = world.client.endpoint.send(near, &mut packet("10.0.0.1", "10.0.0.2", 0, 8), Origin::Local);
    assert_eq!(sent, Err(SendError::NotOpen));
}

#[test]
fn r5_a_path_that_is_not_ours_is_answered_404() {
    let mut world = World::new(5, Settings::default());
    let connection = world.connect();
    let elsewhere = crate::masque::request::UriTemplate::parse("https://gateway.example/other").unwrap();
    let outgoing = Outgoing::new(&elsewhere, &Target::Any, None, Credentials::None);
    let near = world.client.endpoint.open(connection, outgoing, Scope::all(), world.now).unwrap();
    let error = world.until(|w| ended(&w.client, near)).unwrap();
    assert_eq!(error, TunnelError::Response(ResponseError::Status { status: 404, reason: None }));
}

#[test]
fn c15_addresses_and_routes_change_while_packets_flow() {
    let mut world = World::new(6, Settings::default());
    let (near, far) = world.tunnel();
    let now = world.now;
    world.gateway.endpoint.assign(far, &nets(&["10.0.0.9/32"]), now);
    let only = Routes::new(vec![IpAddressRange::from_prefix(nets(&["203.0.113.0/24"])[0], 0)]).unwrap();
    world.gateway.endpoint.advertise(far, only.clone(), now);
    world.until(|w| w.client.find(|event| matches!(event, Event::RoutesAdvertised(_, routes) if *routes == only)));
    let Some(Event::Assigned(_, changes)) =
        world.client.events.iter().rfind(|e| matches!(e, Event::Assigned(..))).cloned()
    else {
        panic!("not assigned")
    };
    assert_eq!((changes.added, changes.removed), (nets(&["10.0.0.9/32"]), nets(&["10.0.0.1/32", "fd00::1/128"])));
    let mut send = |source, to| world.client.endpoint.send(near, &mut packet(source, to, 1, 8), Origin::Local);
    assert_eq!(send("10.0.0.1", "203.0.113.1"), Err(SendError::Refused(Refusal::Source)));
    assert_eq!(send("10.0.0.9", "198.51.100.1"), Err(SendError::Refused(Refusal::NoRoute)));
    assert_eq!(send("10.0.0.9", "203.0.113.1"), Ok(()));
}

#[test]
fn c11_a_refused_address_is_told() {
    let mut world = World::new(7, Settings::default());
    let (near, far) = world.tunnel();
    world.client.events.clear();
    world.client.endpoint.request_addresses(near, &nets(&["10.7.7.7/32"]), world.now);
    let requests = world.until(|w| match w.gateway.events.last()? {
        Event::AddressesRequested(_, requests) => {
            (requests[0].prefix == nets(&["10.7.7.7/32"])[0]).then(|| requests.clone())
        }
        _ => None,
    });
    world.gateway.endpoint.answer_addresses(far, &requests, |_| None, world.now);
    let changes = world.until(|w| match w.client.events.last()? {
        Event::Assigned(_, changes) => Some(changes.clone()),
        _ => None,
    });
    assert_eq!((changes.refused, changes.removed.len()), (vec![requests[0].request_id.get()], 0));
}

#[test]
fn d9_too_big_is_told_with_what_fits_and_never_sent_in_a_capsule() {
    let mut world = World::new(8, Settings::default());
    let (near, _) = world.tunnel();
    let Some(Event::MtuChanged(_, mtu)) =
        world.client.events.iter().rfind(|e| matches!(e, Event::MtuChanged(..))).cloned()
    else {
        panic!("no MTU")
    };
    let of = |len: usize| packet("10.0.0.1", "203.0.113.1", 7, len - 28);
    let error = world.client.endpoint.send(near, &mut of(usize::from(mtu) + 1), Origin::Local);
    assert_eq!(error, Err(SendError::Refused(Refusal::TooBig { mtu })));
    assert_eq!(world.client.endpoint.send(near, &mut of(usize::from(mtu)), Origin::Local), Ok(()));
    world.until(|w| w.gateway.packets.pop());
    assert_eq!(world.client.endpoint.counters(near).unwrap().sent, 1);
}

#[test]
fn d10_forwarded_packets_lose_a_hop_when_they_enter_and_none_when_they_leave() {
    let mut world = World::new(9, Settings::default());
    let (near, far) = world.tunnel();
    for (origin, ttl) in [(Origin::Local, 64), (Origin::Forwarded, 63)] {
        let mut down = packet("203.0.113.5", "10.0.0.1", 1, 40);
        world.gateway.endpoint.send(far, &mut down, origin).unwrap();
        let (_, got) = world.until(|w| w.client.packets.pop());
        assert_eq!(Headers::parse(&got).unwrap().ttl, ttl);
        assert_checksums(&got);
    }
    let mut last = packet("10.0.0.1", "203.0.113.5", 1, 40);
    last[8] = 1;
    sum_v4(&mut last);
    let error = world.client.endpoint.send(near, &mut last, Origin::Forwarded);
    assert_eq!(error, Err(SendError::Refused(Refusal::HopLimit)));
}

#[test]
fn d11_initials_are_padded_and_1280_bytes_are_proved_by_echo() {
    let mut world = World::new(10, Settings { max_mtu: 1350, ..Settings::default() });
    let (near, far) = world.tunnel();
    assert!(world.client.longest >= 1332 && world.client.longest <= 1350, "{}", world.client.longest);
    let own = "fd00::1".parse().unwrap();
    world.gateway.endpoint.probe(far, "fd00::ff".parse().unwrap(), Some(own), 5, world.now);
    // A peer of flesh and blood answers: its system does so for its own address.
    let (_, request) = world.until(|w| w.client.packets.pop());
    let headers = Headers::parse(&request).unwrap();
    let mut reply = [0; 1280];
    let len = crate::masque::ip::answer_echo(&request, &headers, own, &mut reply).unwrap();
    world.client.endpoint.send(near, &mut reply[..len], Origin::Local).unwrap();
    world.run(Duration::from_secs(15));
    assert!(ended(&world.gateway, far).is_none() && world.gateway.packets.is_empty(), "taken by the probe");

    // Nobody answers for this one: the tunnel ends.
    world.gateway.endpoint.probe(far, "fd00::ff".parse().unwrap(), Some("fd00::1".parse().unwrap()), 6, world.now);
    world.run(Duration::from_secs(15));
    assert_eq!(ended(&world.gateway, far), Some(Some(TunnelError::Probe)));
    assert!(matches!(ended(&world.client, near), Some(Some(TunnelError::Reset { .. }))));
}

#[test]
fn d13_d14_the_gateway_tells_a_client_whose_packets_it_refuses() {
    let mut world = World::new(11, Settings::default());
    let (near, far) = world.tunnel();
    // The client has not heard yet that the address is gone.
    world.gateway.endpoint.assign(far, &nets(&["10.0.0.8/32"]), world.now);
    let bad = packet("10.0.0.1", "203.0.113.1", 1, 40);
    world.client.endpoint.send(near, &mut bad.clone(), Origin::Local).unwrap();
    world.run(Duration::from_secs(1));
    assert!(world.gateway.packets.is_empty());
    assert_eq!(world.gateway.endpoint.counters(far).unwrap().refused, 1);
}

#[test]
fn d18_without_congestion_control_packets_are_not_ect() {
    for (congestion, marked) in [(Congestion::Off, false), (Congestion::Breaker, false), (Congestion::Cubic, true)] {
        let mut world = World::new(12, Settings { congestion, ..Settings::default() });
        let (near, _) = world.tunnel();
        for n in 0..200 {
            world.client.endpoint.send(near, &mut packet("10.0.0.1", "203.0.113.1", n, 1200), Origin::Local).unwrap();
            if n % 20 == 19 {
                // Under control, no more may wait than a round trip takes.
                world.run(Duration::from_millis(200));
            }
        }
        assert_eq!(world.gateway.packets.len(), 200, "{congestion:?}");
        assert_eq!(world.client.marks.iter().any(|mark| *mark != Ecn::NotEct), marked);
    }
}

#[test]
fn d21_a_full_queue_is_told_and_nothing_else_is_lost() {
    let mut world = World::new(13, Settings { send_queue: 20_000, ..Settings::default() });
    let (near, _) = world.tunnel();
    let mut sent = BTreeSet::new();
    let error = loop {
        let n = sent.len() as u32;
        match world.client.endpoint.send(near, &mut packet("10.0.0.1", "203.0.113.1", n, 1000), Origin::Local) {
            Ok(()) => sent.insert(n),
            Err(error) => break error,
        };
    };
    assert_eq!(error, SendError::Full);
    assert!(world.client.endpoint.has_waiting(near.connection));
    world.run(Duration::from_secs(2));
    assert!(!world.client.endpoint.has_waiting(near.connection));
    assert_eq!(world.gateway.packets.iter().map(|(_, packet)| number(packet)).collect::<BTreeSet<_>>(), sent);
    assert_eq!(world.client.endpoint.counters(near).unwrap().full, 1);
}

#[test]
fn several_tunnels_share_a_connection() {
    let mut world = World::new(15, Settings::default());
    let connection = world.connect();
    let tunnels: Vec<_> = (0..5).map(|_| world.tunnel_on(connection)).collect();
    assert_eq!(tunnels.iter().map(|(near, _)| near.stream).collect::<Vec<_>>(), [0, 4, 8, 12, 16]);
    for (n, (near, far)) in tunnels.iter().enumerate() {
        let up = packet("10.0.0.1", "203.0.113.1", n as u32, 50);
        world.client.endpoint.send(*near, &mut up.clone(), Origin::Local).unwrap();
        let got = world.until(|w| w.gateway.packets.pop());
        assert_eq!(got, (*far, up.into()));
    }
}
