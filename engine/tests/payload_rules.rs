//! Rules on server names and protocols, decided by the first bytes that pass between two ends.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod ends;

use ends::world::*;
use std::sync::Arc;
use std::time::Duration;
use vestibule_engine::core::DropReason;
use vestibule_engine::generation::GenerationId;
use vestibule_engine::policy::{Action, Clause, Detected, Payload, PayloadTest, Policy, Rule};

/// Blocks what `test` tells, and allows the rest.
fn blocks(test: Payload, negated: bool) -> Arc<Policy> {
    let any = vec![Clause { payload: vec![PayloadTest { negated, test }], ..Clause::default() }];
    Arc::new(Policy::compile(vec![Rule { id: 1, action: Action::Block, any }], Action::Allow))
}

fn blocks_domain(domain: &str) -> Arc<Policy> {
    blocks(Payload::SniDomain(vec![domain.to_owned()]), false)
}

fn client_hello(name: &str) -> Vec<u8> {
    let name = name.as_bytes();
    let len = name.len() as u16;
    let entry = [&[0][..], &len.to_be_bytes(), name].concat();
    let list = [&(len + 3).to_be_bytes()[..], &entry].concat();
    let extensions = [&[0, 0][..], &(len + 5).to_be_bytes(), &list].concat();
    let body =
        [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0], &(extensions.len() as u16).to_be_bytes(), &extensions]
            .concat();
    let message = [&[1][..], &(body.len() as u32).to_be_bytes()[1..], &body].concat();
    [&[22, 3, 1][..], &(message.len() as u16).to_be_bytes(), &message].concat()
}

/// Opens a connection from the device: the next numbers are 101 and 501.
fn connect(world: &mut World, port: u16) {
    world.send_up(tcp(DEVICE, INTRANET, (port, 443), SYN, 100, 0, &[]));
    world.settle();
    world.send_down(tcp(INTRANET, DEVICE, (443, port), SYN_ACK, 500, 101, &[]));
    world.settle();
    world.send_up(tcp(DEVICE, INTRANET, (port, 443), ACK, 101, 501, &[]));
    world.settle();
    world.at_device.clear();
    world.at_gateway.clear();
}

/// A tunnel whose gateway, alone, goes by `policy`: the device's copy only answers earlier.
fn under(policy: &Arc<Policy>) -> (World, GenerationId) {
    let mut world = World::new();
    let id = world.swap(false);
    world.gateway.publish(AT, id, Arc::clone(policy), world.now);
    world.settle();
    (world, id)
}

fn resets(packets: &[Vec<u8>]) -> Vec<u32> {
    let numbers = packets.iter().filter(|packet| is_rst(packet));
    numbers.map(|packet| u32::from_be_bytes(packet[24..28].try_into().unwrap())).collect()
}

#[test]
fn a_refused_server_name_closes_the_flow_before_the_server_has_read_it() {
    let (mut world, _) = under(&blocks_domain("example.com"));
    connect(&mut world, 4000);
    let hello = client_hello("www.example.com");
    let (first, second) = hello.split_at(60);
    world.send_up(tcp(DEVICE, INTRANET, (4000, 443), ACK, 101, 501, first));
    world.settle();
    assert_eq!(world.at_gateway.len(), 1, "nothing is held back before the name is known");
    world.at_gateway.clear();
    world.send_up(tcp(DEVICE, INTRANET, (4000, 443), ACK, 161, 501, second));
    world.settle();
    assert!(world.at_gateway.iter().all(|packet| is_rst(packet)), "the name went no further");
    assert!(resets(&world.at_gateway).contains(&161), "exactly what the server expects next");
    assert!(resets(&world.at_device).contains(&501), "exactly what the client expects next");
    assert_eq!(world.gateway.counters().drops(DropReason::Denied), 1);
    assert_eq!(world.gateway.counters().flows_closed.get(), 1);
}

#[test]
fn another_server_name_and_another_protocol_pass() {
    let (mut world, _) = under(&blocks_domain("example.com"));
    for (port, payload) in [(4000, client_hello("example.org")), (4001, b"GET / HTTP/1.1\r\n".to_vec())] {
        connect(&mut world, port);
        world.send_up(tcp(DEVICE, INTRANET, (port, 443), ACK, 101, 501, &payload));
        world.settle();
        assert_eq!(world.at_gateway.len(), 1);
        assert!(world.at_device.is_empty());
    }
}

#[test]
fn parts_out_of_order_are_put_together() {
    let (mut world, _) = under(&blocks_domain("example.com"));
    connect(&mut world, 4000);
    let hello = client_hello("www.example.com");
    world.send_up(tcp(DEVICE, INTRANET, (4000, 443), ACK, 141, 501, &hello[40..]));
    world.settle();
    assert_eq!(world.at_gateway.len(), 1, "behind a gap it is of no use to the server");
    world.at_gateway.clear();
    world.send_up(tcp(DEVICE, INTRANET, (4000, 443), ACK, 101, 501, &hello[..40]));
    world.settle();
    assert!(world.at_gateway.iter().all(|packet| is_rst(packet)));
    assert!(!resets(&world.at_device).is_empty());
}

#[test]
fn a_server_that_speaks_first_is_recognised_by_its_greeting() {
    let (mut world, _) = under(&blocks(Payload::Detected(vec![Detected::Ssh]), false));
    connect(&mut world, 4000);
    world.send_down(tcp(INTRANET, DEVICE, (443, 4000), ACK, 501, 101, b"SSH-2.0-OpenSSH_9.2p1\r\n"));
    world.settle();
    assert!(world.at_device.iter().all(|packet| is_rst(packet)));
    assert!(resets(&world.at_device).contains(&501));
    assert!(resets(&world.at_gateway).contains(&101));
}

#[test]
fn only_what_was_recognised_passes_where_the_rest_is_refused() {
    let (mut world, _) = under(&blocks(Payload::Detected(vec![Detected::Tls]), true));
    for (port, payload, passes) in [(4000, client_hello("a.example"), true), (4001, b"\x13BitTorrent".to_vec(), false)]
    {
        connect(&mut world, port);
        world.send_up(tcp(DEVICE, INTRANET, (port, 443), ACK, 101, 501, &payload));
        world.settle();
        assert_eq!(resets(&world.at_gateway).is_empty(), passes);
    }
}

#[test]
fn a_datagram_decides_at_once() {
    let (mut world, _) = under(&blocks(Payload::Detected(vec![Detected::Ntp]), false));
    let mut request = [0; 48];
    request[0] = 0x23;
    world.send_up(udp(DEVICE, INTRANET, (4000, 9123), &request));
    world.send_up(udp(DEVICE, INTRANET, (4001, 9123), b"something else"));
    world.settle();
    assert_eq!(world.at_gateway.len(), 1);
    assert!(world.at_device.iter().any(|packet| packet[9] == 1), "an ICMP answer came");
}

#[test]
fn what_was_read_from_a_flow_outlives_rules_and_identities() {
    let (mut world, id) = under(&blocks_domain("nowhere.example"));
    for (port, name) in [(4000, "www.example.com"), (4001, "www.example.org")] {
        connect(&mut world, port);
        world.send_up(tcp(DEVICE, INTRANET, (port, 443), ACK, 101, 501, &client_hello(name)));
        world.settle();
        assert_eq!(world.at_gateway.len(), 1);
    }
    // New rules: the idle flow of one name is closed by what its ClientHello said.
    world.at_gateway.clear();
    world.gateway.publish(AT, id, blocks_domain("example.com"), world.now);
    world.pass(Duration::from_millis(500));
    assert!(!resets(&world.at_device).is_empty() && !resets(&world.at_gateway).is_empty());
    assert_eq!(world.gateway.counters().flows_closed.get(), 1);
    // Another identity: the same for the other.
    let next = world.order(false);
    world.gateway.publish(AT, next, blocks_domain("example.org"), world.now);
    world.settle();
    world.device.commit(AT, next, world.now).unwrap();
    world.pass(Duration::from_millis(500));
    assert_eq!(world.gateway.counters().flows_closed.get(), 2);
}

#[test]
fn first_bytes_in_flight_at_a_swap_count_whichever_identity_carries_them() {
    let (mut world, _) = under(&blocks_domain("nowhere.example"));
    connect(&mut world, 4000);
    let hello = client_hello("www.example.com");
    let next = world.order(false);
    world.gateway.publish(AT, next, blocks_domain("example.com"), world.now);
    world.settle();
    // Sealed under the old identity, judged there, arriving after the commit.
    world.send_up(tcp(DEVICE, INTRANET, (4000, 443), ACK, 101, 501, &hello[..50]));
    let early = std::mem::take(&mut world.to_gateway);
    world.device.commit(AT, next, world.now).unwrap();
    world.settle();
    world.to_gateway = early;
    world.settle();
    assert_eq!(world.at_gateway.len(), 1);
    world.send_up(tcp(DEVICE, INTRANET, (4000, 443), ACK, 151, 501, &hello[50..]));
    world.settle();
    assert!(!resets(&world.at_device).is_empty(), "the new identity's rule knows the whole name");
}

#[test]
fn a_flow_that_began_unasked_has_told_nothing() {
    let mut world = World::new();
    let id = world.swap(false);
    connect(&mut world, 4000);
    world.send_up(tcp(DEVICE, INTRANET, (4000, 443), ACK, 101, 501, &client_hello("www.example.com")));
    world.settle();
    world.gateway.publish(AT, id, blocks_domain("example.com"), world.now);
    world.pass(Duration::from_millis(500));
    world.send_up(tcp(DEVICE, INTRANET, (4000, 443), ACK, 300, 501, b"more"));
    world.settle();
    assert_eq!(world.gateway.counters().flows_closed.get(), 0);
    assert_eq!(world.at_gateway.len(), 2);
}
