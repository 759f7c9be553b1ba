//! Peers that break the rules: what they get, and that others do not notice.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::connection::Connection;
use super::streams::quic_id;
use super::tests::{ended, packet};
use super::wire::{World, nets, template};
use super::*;
use crate::masque::capsule::CapsuleError;
use crate::masque::ip::{BelowIpv6Minimum, Scope};
use crate::masque::request::{Answer, Credentials, Outgoing, Target, UriTemplate};
use bytes::Bytes;
use h3wire::StreamId as H3Stream;
use quinn_proto::{ConnectionHandle, Dir};
use std::sync::Arc;
use std::time::Duration;

const MESSAGE_ERROR: u64 = 0x10e;
const SETTINGS_ERROR: u64 = 0x109;
const DATAGRAM_ERROR: u64 = 0x33;

impl World {
    fn raw(&mut self, connection: ConnectionHandle) -> &mut Connection {
        &mut self.client.endpoint.connections.get_mut(&connection).unwrap().0
    }

    /// Has the client send `bytes` inside a DATA frame, whatever they are.
    fn inject(&mut self, tunnel: TunnelId, bytes: &[u8], end: bool) {
        let connection = self.raw(tunnel.connection);
        let mut frame = vec![0];
        crate::masque::varint::encode(bytes.len() as u64, &mut frame);
        frame.extend_from_slice(bytes);
        let mut stream = connection.quic.send_stream(quic_id(H3Stream(tunnel.stream)));
        assert_eq!(stream.write(&frame).unwrap(), frame.len());
        if end {
            stream.finish().unwrap();
        }
        self.nudge(tunnel.connection);
    }

    /// Has the client send a QUIC datagram, whatever it is.
    fn inject_datagram(&mut self, connection: ConnectionHandle, bytes: &[u8]) {
        self.raw(connection).quic.datagrams().send(Bytes::copy_from_slice(bytes), false).unwrap();
        self.nudge(connection);
    }

    /// Has the client's connection polled.
    fn nudge(&mut self, connection: ConnectionHandle) {
        let nowhere = TunnelId { connection, stream: u64::MAX };
        self.client.endpoint.close_tunnel(nowhere, self.now);
    }

    fn closed(&mut self) -> ConnectionError {
        self.until(|w| {
            w.gateway.events.iter().find_map(|event| match event {
                Event::Closed(_, error) => Some(error.clone()),
                _ => None,
            })
        })
    }
}

/// The streams of the corpus that end in an error, and the error's text.
fn malformed() -> impl Iterator<Item = (Vec<u8>, &'static str)> {
    let lines = include_str!("../capsule/corpus.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let mut columns = line.split('|').skip(1).map(str::trim);
        let (bytes, expected) = (columns.next()?, columns.next()?);
        let (_, error) = expected.split_once("error: ")?;
        let digits: Vec<u8> = bytes.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        Some((digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect(), error))
    })
}

#[test]
fn c4_malformed_capsules_abort_their_stream_alone() {
    let mut world = World::new(50, Settings::default());
    let connection = world.connect();
    let (good_near, good_far) = world.tunnel_on(connection);
    let mut seen = 0;
    for (bytes, text) in malformed() {
        let (near, far) = world.tunnel_on(connection);
        world.inject(near, &bytes, true);
        let Some(TunnelError::Capsules(error)) = world.until(|w| ended(&w.gateway, far)) else { panic!("no error") };
        assert!(error.to_string().starts_with(text), "got `{error}`, expected `{text}`");
        let told = world.until(|w| ended(&w.client, near));
        assert_eq!(told, Some(TunnelError::Reset { code: MESSAGE_ERROR }), "{text}");
        seen += 1;
    }
    assert!(seen > 20);
    let up = packet("10.0.0.1", "203.0.113.1", 5, 100);
    world.client.endpoint.send(good_near, &mut up.clone(), Origin::Local).unwrap();
    assert_eq!(world.until(|w| w.gateway.packets.pop()), (good_far, up.into()));
}

#[test]
fn c9_a_flood_of_requests_is_cut_off() {
    let mut world = World::new(51, Settings::default());
    let (near, far) = world.tunnel();
    for _ in 0..20 {
        world.client.endpoint.request_addresses(near, &vec![nets(&["::/128"])[0]; 250], world.now);
        world.run(Duration::from_millis(50));
    }
    let error = ended(&world.gateway, far).unwrap().unwrap();
    assert!(matches!(error, TunnelError::Capsules(CapsuleError::TooMany { .. })), "{error:?}");
}

#[test]
fn a_flood_of_capsules_is_cut_off_and_other_tunnels_go_on() {
    let mut world = World::new(64, Settings::default());
    let connection = world.connect();
    let (good_near, good_far) = world.tunnel_on(connection);
    let (near, far) = world.tunnel_on(connection);
    // Empty ADDRESS_ASSIGNs, two bytes each: the cheapest there are.
    world.inject(near, &[1, 0].repeat(5000), false);
    assert_eq!(world.until(|w| ended(&w.gateway, far)), Some(TunnelError::Flood));
    let handled = world.gateway.events.iter().filter(|event| matches!(event, Event::Assigned(..))).count();
    assert!(handled <= 1024, "{handled}");
    let up = packet("10.0.0.1", "203.0.113.1", 5, 100);
    world.client.endpoint.send(good_near, &mut up.clone(), Origin::Local).unwrap();
    assert_eq!(world.until(|w| w.gateway.packets.pop()), (good_far, up.into()));
}

#[test]
fn a_peer_that_never_reads_is_given_up() {
    let mut world = World::new(52, Settings::default());
    let (_, far) = world.tunnel();
    let many = vec![nets(&["fd00::1/128"])[0]; 200];
    for _ in 0..600 {
        world.gateway.endpoint.assign(far, &many, world.now);
    }
    world.run(Duration::from_secs(1));
    let error = ended(&world.gateway, far).unwrap().unwrap();
    assert!(matches!(error, TunnelError::Stalled { waiting } if waiting < 2 << 20), "{error:?}");
}

#[test]
fn d2_datagrams_promised_and_not_provided_close_the_connection() {
    let mut world = World::new(53, Settings::default());
    let mut transport = quinn_proto::TransportConfig::default();
    transport.datagram_receive_buffer_size(None);
    world.client.endpoint.transports[0] = Arc::new(transport);
    world.connect();
    assert!(matches!(world.closed(), ConnectionError::Http3 { code: SETTINGS_ERROR, .. }));
}

#[test]
fn d2_a_setting_other_than_0_or_1_closes_the_connection() {
    for setting in [0x33, 0x08] {
        let mut world = World::new(54, Settings::default());
        let connection = world.connect();
        world.raw(connection).uni_wanted.clear();
        world.until(|w| w.client.find(|event| matches!(event, Event::Connected(_))));
        let quic = &mut world.raw(connection).quic;
        let control = quic.streams().open(Dir::Uni).unwrap();
        quic.send_stream(control).write(&[0x00, 0x04, 2, setting, 2]).unwrap();
        world.nudge(connection);
        assert!(matches!(world.closed(), ConnectionError::Http3 { code: SETTINGS_ERROR, .. }), "{setting}");
    }
}

#[test]
fn d3_a_bad_quarter_stream_id_closes_the_connection() {
    for bad in [&[][..], &[0x40], &[0xd0, 0, 0, 0, 0, 0, 0, 0]] {
        let mut world = World::new(55, Settings::default());
        let (near, _) = world.tunnel();
        world.inject_datagram(near.connection, bad);
        assert!(matches!(world.closed(), ConnectionError::Http3 { code: DATAGRAM_ERROR, .. }), "{bad:?}");
    }
}

#[test]
fn d4_d7_datagrams_of_unknown_streams_and_contexts_are_dropped() {
    let mut world = World::new(56, Settings::default());
    let (near, far) = world.tunnel();
    for odd in [&[9, 0, 0x45][..], &[0, 2, 0x45], &[0, 0x40], &[0], &[0, 0], &[0, 0, 0x45, 0]] {
        world.inject_datagram(near.connection, odd);
    }
    world.run(Duration::from_secs(1));
    let counters = world.gateway.endpoint.counters(far).unwrap();
    assert_eq!((counters.unknown_context, counters.truncated, counters.refused, counters.received), (1, 2, 2, 0));
    assert!(world.gateway.packets.is_empty() && ended(&world.gateway, far).is_none());
}

#[test]
fn d6_a_datagram_for_a_request_without_a_tunnel_aborts_it() {
    let mut world = World::new(57, Settings::default());
    let connection = world.connect();
    let outgoing = Outgoing::new(&template(), &Target::Any, None, Credentials::None);
    let near = world.client.endpoint.open(connection, outgoing, Scope::all(), world.now).unwrap();
    let far = world.until(|w| match w.gateway.events.last()? {
        Event::Requested(id, _) => Some(*id),
        _ => None,
    });
    // The client's datagram is under way while the gateway refuses.
    world.inject_datagram(connection, &[0, 0, 0x45]);
    world.settle();
    world.gateway.endpoint.refuse(far, &Answer::refused(403), world.now);
    let handle = far.connection;
    world.until(|w| {
        let (gateway, _) = w.gateway.endpoint.connections.get_mut(&handle)?;
        // Its state is gone once both sides of the stream are.
        (gateway.quic.streams().remote_open_streams(Dir::Bi) == 0).then_some(())
    });
    assert!(world.until(|w| ended(&w.client, near)).is_some());
    assert!(world.gateway.packets.is_empty());
}

#[test]
fn d8_packets_in_capsules_are_taken_too() {
    let mut world = World::new(58, Settings::default());
    let (near, far) = world.tunnel();
    let up = packet("10.0.0.1", "203.0.113.1", 9, 3000);
    let prefix = crate::masque::datagram::Prefix::capsule(up.len());
    world.inject(near, &[prefix.bytes(), &up].concat(), false);
    assert_eq!(world.until(|w| w.gateway.packets.pop()), (far, up.into()));
}

#[test]
fn d12_a_tunnel_too_narrow_for_ipv6_is_aborted() {
    // 1200-byte datagrams leave 1160 bytes: enough for IPv4 alone.
    let narrow = Settings { initial_mtu: 1200, min_mtu: 1200, max_mtu: 1200, ..Settings::default() };
    let mut world = World::new(59, narrow);
    let connection = world.connect();
    let outgoing = Outgoing::new(&template(), &Target::Any, None, Credentials::None);
    let near = world.client.endpoint.open(connection, outgoing, Scope::all(), world.now).unwrap();
    let far = world.until(|w| match w.gateway.events.last()? {
        Event::Requested(id, _) => Some(*id),
        _ => None,
    });
    world.gateway.endpoint.accept(far, Scope::all(), world.now);
    world.gateway.endpoint.assign(far, &nets(&["10.0.0.1/32"]), world.now);
    world.until(|w| w.client.find(|event| matches!(event, Event::Assigned(..))));
    world.run(Duration::from_secs(1));
    assert!(ended(&world.client, near).is_none());
    world.gateway.endpoint.assign(far, &nets(&["10.0.0.1/32", "fd00::1/128"]), world.now);
    let error = world.until(|w| ended(&w.gateway, far)).unwrap();
    assert!(matches!(error, TunnelError::Narrow(BelowIpv6Minimum { got: 1100..1280 })), "{error:?}");
}

#[test]
fn u7_invalid_variables_reset_the_stream() {
    let mut world = World::new(60, Settings::default());
    let connection = world.connect();
    let bad = UriTemplate::parse("https://gateway.example/.well-known/masque/ip/10.0.0.1%2F8/*/").unwrap();
    let outgoing = Outgoing::new(&bad, &Target::Any, None, Credentials::None);
    let near = world.client.endpoint.open(connection, outgoing, Scope::all(), world.now).unwrap();
    assert_eq!(world.until(|w| ended(&w.client, near)), Some(TunnelError::Reset { code: MESSAGE_ERROR }));
}

#[test]
fn r11_packets_before_the_answer_are_neither_sent_nor_taken() {
    let mut world = World::new(62, Settings::default());
    let connection = world.connect();
    let outgoing = Outgoing::new(&template(), &Target::Any, None, Credentials::None);
    let near = world.client.endpoint.open(connection, outgoing, Scope::all(), world.now).unwrap();
    let far = world.until(|w| match w.gateway.events.last()? {
        Event::Requested(id, _) => Some(*id),
        _ => None,
    });
    let early = packet("10.0.0.1", "203.0.113.1", 1, 40);
    let sent = world.client.endpoint.send(near, &mut early.clone(), Origin::Local);
    assert_eq!(sent, Err(SendError::NotOpen));
    world.inject_datagram(connection, &[&[0, 0], &early[..]].concat());
    world.run(Duration::from_secs(1));
    assert!(world.gateway.packets.is_empty());
    assert!(world.gateway.endpoint.accept(far, Scope::all(), world.now), "the request is still there");
}

#[test]
fn r12_an_abandoned_request_is_cancelled() {
    const REQUEST_CANCELLED: u64 = 0x10c;
    let mut world = World::new(63, Settings::default());
    let connection = world.connect();
    let outgoing = Outgoing::new(&template(), &Target::Any, None, Credentials::None);
    let near = world.client.endpoint.open(connection, outgoing, Scope::all(), world.now).unwrap();
    let far = world.until(|w| match w.gateway.events.last()? {
        Event::Requested(id, _) => Some(*id),
        _ => None,
    });
    world.client.endpoint.close_tunnel(near, world.now);
    assert_eq!(world.until(|w| ended(&w.gateway, far)), Some(TunnelError::Reset { code: REQUEST_CANCELLED }));
    assert!(!world.gateway.endpoint.accept(far, Scope::all(), world.now));
}
