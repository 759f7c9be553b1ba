//! Flows that a rule sends to another host: the device talks to the old address, the host answers as the new one.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod ends;

use ends::world::*;
use std::sync::Arc;
use std::time::Duration;
use vestibule_engine::packet::checksum::{checksum, transport_verifies};
use vestibule_engine::packet::{Frame, Frames, Gso, Headers, Offload};
use vestibule_engine::policy::{Action, AddressSet, Clause, Policy, Rule};

/// Where the rule sends what is meant for [`INTRANET`].
const ELSEWHERE: [u8; 4] = [10, 20, 0, 99];

/// Sends what goes to the intranet to `address`.
fn sends(address: [u8; 4], port: Option<u16>) -> Arc<Policy> {
    let destinations = Some(Arc::new(AddressSet::new(["10.20.0.80/32".parse().unwrap()])));
    let any = vec![Clause { destinations, ..Clause::default() }];
    let action = Action::Override { address: address.into(), port };
    Arc::new(Policy::compile(vec![Rule { id: 1, action, any }], Action::Allow))
}

fn summed(mut packet: Vec<u8>) -> Vec<u8> {
    packet[10..12].fill(0);
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let headers = Headers::parse(&packet).unwrap();
    let field = if headers.protocol == 6 { 36 } else { 26 };
    packet[field..field + 2].fill(0);
    let len = headers.transport_len() as u16;
    let pseudo = vestibule_engine::packet::checksum::pseudo_header;
    let sum = pseudo(headers.source, headers.destination, headers.protocol, len).with(&packet[20..]).finish();
    packet[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn verifies(packet: &[u8]) -> bool {
    let headers = Headers::parse(packet).unwrap();
    checksum(&packet[..20]) == 0 && transport_verifies(&headers, &packet[20..])
}

fn under(policy: &Arc<Policy>) -> World {
    let mut world = World::new();
    let id = world.swap(false);
    world.device.publish(AT, id, Arc::clone(policy), world.now);
    world.gateway.publish(AT, id, Arc::clone(policy), world.now);
    world.settle();
    world
}

fn up_to(world: &mut World, ports: (u16, u16), flags: u8, seq: u32, ack: u32, payload: &[u8]) {
    world.send_up(summed(tcp(DEVICE, INTRANET, ports, flags, seq, ack, payload)));
    world.settle();
}

/// Opens a connection to the intranet, which the other host answers. The next numbers are 101 and 501.
fn connect(world: &mut World, host: [u8; 4], ports: (u16, u16, u16)) {
    let (from, to, at_host) = ports;
    up_to(world, (from, to), SYN, 100, 0, &[]);
    assert_eq!(world.at_gateway, [summed(tcp(DEVICE, host, (from, at_host), SYN, 100, 0, &[]))]);
    world.send_down(summed(tcp(host, DEVICE, (at_host, from), SYN_ACK, 500, 101, &[])));
    world.settle();
    assert_eq!(world.at_device, [summed(tcp(INTRANET, DEVICE, (to, from), SYN_ACK, 500, 101, &[]))]);
    world.at_gateway.clear();
    world.at_device.clear();
}

#[test]
fn a_connection_goes_to_the_new_host_and_is_answered_by_the_old_address() {
    let mut world = under(&sends(ELSEWHERE, Some(8443)));
    connect(&mut world, ELSEWHERE, (4000, 443, 8443));
    up_to(&mut world, (4000, 443), ACK, 101, 501, b"request");
    world.send_down(summed(tcp(ELSEWHERE, DEVICE, (8443, 4000), ACK, 501, 108, b"answer")));
    world.settle();
    assert_eq!(world.at_gateway, [summed(tcp(DEVICE, ELSEWHERE, (4000, 8443), ACK, 101, 501, b"request"))]);
    assert_eq!(world.at_device, [summed(tcp(INTRANET, DEVICE, (443, 4000), ACK, 501, 108, b"answer"))]);
    assert!(verifies(&world.at_gateway[0]) && verifies(&world.at_device[0]));
}

#[test]
fn datagrams_keep_their_port_where_the_rule_names_none() {
    let mut world = under(&sends(ELSEWHERE, None));
    world.send_up(summed(udp(DEVICE, INTRANET, (4000, 53), b"query")));
    world.settle();
    world.send_down(summed(udp(ELSEWHERE, DEVICE, (53, 4000), b"answer")));
    world.settle();
    assert_eq!(world.at_gateway, [summed(udp(DEVICE, ELSEWHERE, (4000, 53), b"query"))]);
    assert_eq!(world.at_device, [summed(udp(INTRANET, DEVICE, (53, 4000), b"answer"))]);
}

/// One frame as Linux lends it.
struct Super(Option<Vec<u8>>, Vec<u8>);

impl Frames for Super {
    fn next_frame(&mut self) -> Option<Frame<'_>> {
        self.1 = self.0.take()?;
        let offload = Offload { gso: Some(Gso::Tcp { size: 1000 }), checksum: Some((20, 16)) };
        Some(Frame { bytes: &mut self.1, offload })
    }
}

#[test]
fn a_super_packet_with_a_partial_checksum_comes_out_right() {
    let mut world = under(&sends(ELSEWHERE, Some(8443)));
    connect(&mut world, ELSEWHERE, (4000, 443, 8443));
    let payload: Vec<u8> = (0..4500_u32).map(|at| (at / 7) as u8).collect();
    let mut packet = summed(tcp(ELSEWHERE, DEVICE, (8443, 4000), ACK, 501, 101, &payload));
    let headers = Headers::parse(&packet).unwrap();
    let len = headers.transport_len() as u16;
    let pseudo = vestibule_engine::packet::checksum::pseudo_header;
    let partial = pseudo(headers.source, headers.destination, 6, len).fold();
    packet[36..38].copy_from_slice(&partial.to_be_bytes());
    // The device merges the segments again: let each come alone.
    world.gateway.handle_frames(&mut Super(Some(packet), Vec::new()), world.now);
    world.flush();
    let all = std::mem::take(&mut world.to_device);
    let mut received = Vec::new();
    for (source, stride, bytes) in all {
        for segment in bytes.chunks(stride) {
            world.to_device.push_back((source, segment.len(), segment.to_vec()));
            world.downlink();
            world.flush();
            for packet in world.at_device.drain(..) {
                assert!(verifies(&packet), "segment at {}", received.len());
                assert_eq!((&packet[12..16], &packet[20..22]), (&INTRANET[..], &443_u16.to_be_bytes()[..]));
                received.extend_from_slice(&packet[40..]);
            }
        }
    }
    assert_eq!(received, payload);
}

#[test]
fn a_redirected_connection_outlives_identities_that_agree_and_is_closed_by_one_that_does_not() {
    let policy = sends(ELSEWHERE, Some(8443));
    let mut world = under(&policy);
    connect(&mut world, ELSEWHERE, (4000, 443, 8443));
    let swap = |world: &mut World, policy: &Arc<Policy>| {
        let next = world.order(false);
        world.device.publish(AT, next, Arc::clone(policy), world.now);
        world.gateway.publish(AT, next, Arc::clone(policy), world.now);
        world.settle();
        // In flight under the old keys when the new ones take over.
        world.send_up(summed(tcp(DEVICE, INTRANET, (4000, 443), ACK, 101, 501, b"a")));
        let early = std::mem::take(&mut world.to_gateway);
        world.device.commit(AT, next, world.now).unwrap();
        world.settle();
        world.to_gateway = early;
        world.settle();
    };
    swap(&mut world, &policy);
    assert_eq!(world.at_gateway, [summed(tcp(DEVICE, ELSEWHERE, (4000, 8443), ACK, 101, 501, b"a"))]);
    world.pass(Duration::from_millis(500));
    world.at_gateway.clear();
    up_to(&mut world, (4000, 443), ACK, 102, 501, b"b");
    assert_eq!(world.at_gateway, [summed(tcp(DEVICE, ELSEWHERE, (4000, 8443), ACK, 102, 501, b"b"))]);
    world.send_down(summed(tcp(ELSEWHERE, DEVICE, (8443, 4000), ACK, 501, 103, b"c")));
    world.settle();
    assert_eq!(world.at_device, [summed(tcp(INTRANET, DEVICE, (443, 4000), ACK, 501, 103, b"c"))]);

    // A connection cannot move: each end hears so from the address that it knows.
    world.at_gateway.clear();
    world.at_device.clear();
    swap(&mut world, &sends(DIRECTORY, Some(8443)));
    world.pass(Duration::from_millis(500));
    let reset = |packets: &[Vec<u8>], from: [u8; 4], to: [u8; 4]| {
        packets.iter().any(|packet| is_rst(packet) && packet[12..16] == from && packet[16..20] == to)
    };
    assert!(reset(&world.at_device, INTRANET, DEVICE), "the device's end is closed");
    assert!(reset(&world.at_gateway, DEVICE, ELSEWHERE), "the host's end is closed");
    world.at_gateway.clear();
    up_to(&mut world, (4001, 443), SYN, 100, 0, &[]);
    assert_eq!(world.at_gateway, [summed(tcp(DEVICE, DIRECTORY, (4001, 8443), SYN, 100, 0, &[]))]);
}

#[test]
fn datagrams_follow_new_rules_at_once() {
    let mut world = under(&sends(ELSEWHERE, None));
    world.send_up(summed(udp(DEVICE, INTRANET, (4000, 53), b"1")));
    world.settle();
    let id = world.gateway.active(AT).unwrap();
    world.gateway.publish(AT, id, sends(DIRECTORY, Some(5353)), world.now);
    world.send_up(summed(udp(DEVICE, INTRANET, (4000, 53), b"2")));
    world.settle();
    world.send_down(summed(udp(DIRECTORY, DEVICE, (5353, 4000), b"3")));
    world.settle();
    assert_eq!(world.at_gateway[1], summed(udp(DEVICE, DIRECTORY, (4000, 5353), b"2")));
    assert_eq!(world.at_device, [summed(udp(INTRANET, DEVICE, (53, 4000), b"3"))]);
}

#[test]
fn the_same_connection_by_the_direct_way_is_refused_as_long_as_the_other_lives() {
    let mut world = under(&sends(ELSEWHERE, None));
    connect(&mut world, ELSEWHERE, (4000, 443, 443));
    world.send_up(summed(tcp(DEVICE, ELSEWHERE, (4000, 443), SYN, 900, 0, &[])));
    world.settle();
    assert!(world.at_gateway.is_empty());
    assert!(world.at_device.iter().all(|packet| is_rst(packet)));
    // Another port is another connection.
    world.send_up(summed(tcp(DEVICE, ELSEWHERE, (4001, 443), SYN, 900, 0, &[])));
    world.settle();
    assert_eq!(world.at_gateway.len(), 1);
}

#[test]
fn what_cannot_be_sent_elsewhere_is_refused() {
    let action = Action::Override { address: "fd00::1".parse().unwrap(), port: None };
    let rules = vec![Rule { id: 1, action, any: vec![Clause::default()] }];
    let mut world = under(&Arc::new(Policy::compile(rules, Action::Allow)));
    up_to(&mut world, (4000, 443), SYN, 100, 0, &[]);
    assert!(world.at_gateway.is_empty());
    assert!(is_rst(&world.at_device[0]));
}
