//! Rules D10, D13 to D16 and U10: what travels, and what a sender is told when it does not.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::masque::capsule::{IpAddressRange, Routes};
use crate::packet::header::{ICMP, ICMPV6, TCP, Transport, UDP};
use crate::packet::testing::{assert_checksums, icmp, ip, udp, with_extension_v6};
use crate::packet::{Headers, Malformed};
use ipnet::IpNet;
use std::net::IpAddr;

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn routes(texts: &[&str], protocol: u8) -> Routes {
    Routes::normalised(nets(texts).into_iter().map(|net| IpAddressRange::from_prefix(net, protocol)))
}

/// Host 1 of each version is the client, the network behind the gateway is host 2's and 203.0.113.0/24.
fn link(scope: Scope) -> Link {
    Link {
        client: End { assigned: Some(nets(&["10.0.0.1/32", "fd00::1/128"])), routes: None },
        gateway: End { assigned: None, routes: Some(routes(&["10.0.0.2/32", "203.0.113.0/24", "fd00::2/128"], 0)) },
        scope,
        talk: None,
    }
}

fn packet(source: &str, destination: &str, protocol: u8) -> Vec<u8> {
    let mut transport = [0; 20];
    transport[5] = 20; // UDP's length
    transport[12] = 5 << 4; // TCP's data offset
    ip(addr(source), addr(destination), protocol, &transport, None)
}

fn check(link: &Link, from: Role, packet: &[u8]) -> Result<(), Refusal> {
    link.check(from, packet, &Headers::parse(packet).map_err(Refusal::Malformed)?)
}

/// Type, code and the 32 bits after the checksum of the answer to `packet`, which must be well-formed and for its sender.
fn told(refusal: Refusal, packet: &[u8], answerer: Option<IpAddr>) -> (u8, u8, u32) {
    let headers = Headers::parse(packet).unwrap();
    let mut out = [0; 1280];
    let len = refusal.answer(packet, &headers, answerer, &mut out).unwrap();
    assert_checksums(&out[..len]);
    let answer = Headers::parse(&out[..len]).unwrap();
    assert_eq!(answer.destination, headers.source);
    assert_eq!(answer.source, answerer.unwrap_or(headers.destination));
    let quote = Headers::parse_quote(&out[..len], &answer).unwrap();
    assert_eq!((quote.source, quote.destination), (headers.source, headers.destination));
    let icmp = &out[answer.transport_offset..];
    (icmp[0], icmp[1], u32::from_be_bytes([icmp[4], icmp[5], icmp[6], icmp[7]]))
}

#[test]
fn d14_sources_that_were_not_assigned_are_refused() {
    let link = link(Scope::all());
    for (good, bad, far) in [("10.0.0.1", "10.0.0.3", "203.0.113.7"), ("fd00::1", "fd00::3", "fd00::2")] {
        assert_eq!(check(&link, Role::Client, &packet(good, far, UDP)), Ok(()));
        assert_eq!(check(&link, Role::Client, &packet(bad, far, UDP)), Err(Refusal::Source));
        assert_eq!(check(&link, Role::Gateway, &packet(far, good, UDP)), Ok(()));
    }
    assert_eq!(check(&link, Role::Gateway, &packet("198.51.100.1", "10.0.0.1", UDP)), Err(Refusal::Source));
    // An empty list takes every address away; an unknown one leaves the judgement to others.
    let mut none = link.clone();
    none.client.assigned = Some(Vec::new());
    assert_eq!(check(&none, Role::Client, &packet("10.0.0.1", "10.0.0.2", UDP)), Err(Refusal::Source));
    none.client.assigned = None;
    assert_eq!(check(&none, Role::Client, &packet("10.0.0.3", "10.0.0.2", UDP)), Ok(()));
}

#[test]
fn c15_either_end_may_assign_and_advertise() {
    // Site to site: the client routes for a network of its own and gave the gateway an address.
    let mut link = link(Scope::all());
    link.client.routes = Some(routes(&["192.168.0.0/16"], 0));
    link.gateway.assigned = Some(nets(&["10.0.0.254/32"]));
    for (source, destination) in [("192.168.1.1", "203.0.113.1"), ("10.0.0.1", "10.0.0.254")] {
        assert_eq!(check(&link, Role::Client, &packet(source, destination, TCP)), Ok(()));
        assert_eq!(check(&link, Role::Gateway, &packet(destination, source, TCP)), Ok(()));
    }
    assert_eq!(check(&link, Role::Gateway, &packet("203.0.113.1", "192.169.0.1", TCP)), Err(Refusal::NoRoute));
}

#[test]
fn d13_bad_source_is_told() {
    let v6 = packet("fd00::3", "fd00::2", UDP);
    assert_eq!(told(Refusal::Source, &v6, None), (1, 5, 0));
    let v4 = packet("10.0.0.3", "10.0.0.2", UDP);
    assert_eq!(told(Refusal::Source, &v4, Some(addr("10.0.0.254"))), (3, 13, 0));
}

#[test]
fn d13_no_route_is_told() {
    let link = link(Scope::all());
    let (v4, v6) = (packet("10.0.0.1", "198.51.100.1", UDP), packet("fd00::1", "2001:db8::1", UDP));
    assert_eq!(check(&link, Role::Client, &v4), Err(Refusal::NoRoute));
    assert_eq!(check(&link, Role::Client, &v6), Err(Refusal::NoRoute));
    assert_eq!(told(Refusal::NoRoute, &v4, None), (3, 0, 0));
    assert_eq!(told(Refusal::NoRoute, &v6, None), (1, 0, 0));
}

#[test]
fn d13_what_the_scope_forbids_is_told() {
    let link = link(Scope::new(Some(nets(&["203.0.113.0/25", "fd00::2/128"])), Some(TCP)).unwrap());
    assert_eq!(check(&link, Role::Client, &packet("10.0.0.1", "203.0.113.1", TCP)), Ok(()));
    let (v4, v6) = (packet("10.0.0.1", "203.0.113.1", UDP), packet("fd00::1", "fd00::2", UDP));
    for packet in [&v4, &v6, &packet("10.0.0.1", "203.0.113.200", TCP)] {
        assert_eq!(check(&link, Role::Client, packet), Err(Refusal::Scope));
    }
    assert_eq!(check(&link, Role::Gateway, &packet("203.0.113.200", "10.0.0.1", TCP)), Err(Refusal::Scope));
    assert_eq!(told(Refusal::Scope, &v4, None), (3, 13, 0));
    assert_eq!(told(Refusal::Scope, &v6, None), (1, 1, 0));
}

#[test]
fn d9_packet_too_big_names_the_real_size() {
    let (v4, v6) = (udp(false, (1, 2), &[0; 1400]), udp(true, (1, 2), &[0; 1400]));
    assert_eq!(told(Refusal::TooBig { mtu: 1312 }, &v4, None), (3, 4, 1312));
    assert_eq!(told(Refusal::TooBig { mtu: 1312 }, &v6, None), (2, 0, 1312));
}

#[test]
fn d10_an_exceeded_hop_limit_is_told() {
    assert_eq!(told(Refusal::HopLimit, &udp(false, (1, 2), b"x"), None), (11, 0, 0));
    assert_eq!(told(Refusal::HopLimit, &udp(true, (1, 2), b"x"), None), (3, 0, 0));
}

#[test]
fn d13_errors_are_never_answered() {
    let quoted = [&[0; 4], &udp(true, (1, 2), b"x")[..]].concat();
    let error = icmp(true, 1, 0, &quoted);
    let headers = Headers::parse(&error).unwrap();
    assert_eq!(Refusal::Source.answer(&error, &headers, None, &mut [0; 1280]), None);
    for silent in [Refusal::LinkLocal, Refusal::Quote, Refusal::Malformed(Malformed::Empty)] {
        let packet = udp(true, (1, 2), b"x");
        let headers = Headers::parse(&packet).unwrap();
        assert_eq!(silent.answer(&packet, &headers, None, &mut [0; 1280]), None);
    }
}

#[test]
fn d15_link_local_packets_stay_on_the_link() {
    let link = Link::default();
    for (source, destination) in [
        ("fe80::1", "fd00::2"),
        ("fd00::1", "fe80::2"),
        ("fd00::1", "ff02::1"),
        ("fd00::1", "ff01::1"),
        ("169.254.0.1", "10.0.0.2"),
        ("10.0.0.1", "224.0.0.251"),
    ] {
        assert_eq!(check(&link, Role::Client, &packet(source, destination, UDP)), Err(Refusal::LinkLocal));
    }
    assert!(!is_link_local(addr("ff05::1")) && !is_link_local(addr("224.0.1.1")));
}

#[test]
fn d16_an_icmp_error_must_quote_a_packet_of_this_tunnel() {
    let link = link(Scope::new(Some(nets(&["203.0.113.0/24", "fd00::2/128"])), Some(UDP)).unwrap());
    let error = |from: &str, to: &str, quoted: &[u8]| {
        let v4 = addr(from).is_ipv4();
        let body = [&[if v4 { 3 } else { 1 }, 1, 0, 0, 0, 0, 0, 0], quoted].concat();
        ip(addr(from), addr(to), if v4 { ICMP } else { ICMPV6 }, &body, Some(2))
    };
    // A router that is in no route and no target, about the client's own packet.
    let own = packet("10.0.0.1", "203.0.113.5", UDP);
    assert_eq!(check(&link, Role::Gateway, &error("198.51.100.9", "10.0.0.1", &own)), Ok(()));
    let own = packet("fd00::1", "fd00::2", UDP);
    assert_eq!(check(&link, Role::Gateway, &error("2001:db8::9", "fd00::1", &own)), Ok(()));
    for (quoted, why) in [
        (packet("10.0.0.3", "203.0.113.5", UDP), "somebody else's packet"),
        (packet("10.0.0.1", "198.51.100.5", UDP), "outside the target"),
        (packet("10.0.0.1", "203.0.113.5", TCP), "outside the protocol"),
        (vec![0x45; 12], "nothing that can be read"),
    ] {
        let judged = check(&link, Role::Gateway, &error("198.51.100.9", "10.0.0.1", &quoted));
        assert_eq!(judged, Err(Refusal::Quote), "{why}");
    }
    // The client's own errors come from its own address and are about what it was sent.
    let got = packet("203.0.113.5", "10.0.0.1", UDP);
    assert_eq!(check(&link, Role::Client, &error("10.0.0.1", "203.0.113.5", &got)), Ok(()));
    assert_eq!(check(&link, Role::Client, &error("10.0.0.3", "203.0.113.5", &got)), Err(Refusal::Source));
    let foreign = packet("198.51.100.5", "10.0.0.1", UDP);
    assert_eq!(check(&link, Role::Client, &error("10.0.0.1", "203.0.113.5", &foreign)), Err(Refusal::Quote));
}

#[test]
fn u10_the_protocol_is_the_one_behind_extension_headers() {
    let link = link(Scope::new(None, Some(UDP)).unwrap());
    let mut inside = udp(true, (1, 2), b"x");
    for (kind, header) in [(60, [0, 0, 1, 4, 0, 0, 0, 0]), (43, [0; 8]), (44, [0, 0, 0, 0, 0, 0, 0, 9])] {
        inside = with_extension_v6(&inside, kind, &header);
        assert_eq!(check(&link, Role::Client, &inside), Ok(()));
    }
    let gre = with_extension_v6(&packet("fd00::1", "fd00::2", 47), 60, &[0, 0, 1, 4, 0, 0, 0, 0]);
    let headers = Headers::parse(&gre).unwrap();
    assert_eq!((headers.protocol, headers.transport), (47, Transport::Opaque));
    assert_eq!(check(&link, Role::Client, &gre), Err(Refusal::Scope));
}
