//! Two ends in one process, as they are meant to be.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::wire::*;
use super::*;
use std::net::Ipv4Addr;
use tokio::net::TcpListener;
use vestibule_engine::masque::request::{Answer, Credentials, Outgoing, ResponseError, Target, UriTemplate};
use vestibule_engine::masque::session::tls;
use vestibule_engine::masque::stream::{News, Origin, SendError};

fn world() -> World {
    World::new(ServerSettings::default())
}

#[test]
fn r9_a_tunnel_over_http2_carries_packets_both_ways_and_ends_with_its_stream() {
    let mut world = world();
    let (near, far) = world.tunnel();
    for n in 0..3_u8 {
        let (up, down) = (packet(CLIENT, FAR, &[n; 900]), packet(FAR, CLIENT, &[n; 1200]));
        world.ends[near].send(up.clone());
        world.ends[far].send(down.clone());
        world.until(|w| (!w.ends[near].packets.is_empty() && !w.ends[far].packets.is_empty()).then_some(()));
        assert_eq!(world.ends[far].packets.pop().unwrap(), up);
        assert_eq!(world.ends[near].packets.pop().unwrap(), down);
    }
    world.ends[near].line.close();
    assert!(matches!(world.ended(far), LineEnd::Ended));
    let again = world.ends[far].line.stream().send(&mut packet(FAR, CLIENT, b"late"), Origin::Local);
    assert_eq!(again, Err(SendError::NotOpen));
    world.until(|w| (w.server.counters().open == 0).then_some(()));
}

#[test]
fn r9_a_gateway_may_end_a_tunnel_over_http2() {
    let mut world = world();
    let (near, far) = world.tunnel();
    world.ends[far].send(packet(FAR, CLIENT, b"last"));
    world.ends[far].line.close();
    assert!(matches!(world.ended(near), LineEnd::Ended));
    assert_eq!(world.ends[near].packets.len(), 1, "what was sent before came before");
    world.until(|w| (w.server.counters().open == 0).then_some(()));
}

#[test]
fn r1_both_ends_of_an_http2_tunnel_know_each_other_by_key() {
    let mut world = world();
    let own = identity("device");
    let certificate = own.chain[0].clone();
    let mut seen = None;
    let result = world.ask(&outgoing(), Some(own), |request| {
        seen = Some(request.certificates.to_vec());
        request.refuse(&Answer::refused(403));
    });
    assert!(matches!(result, Err(CarrierError::Response(_))));
    assert_eq!(seen, Some(vec![certificate]));
    world.server_key.reverse();
    let result = world.ask(&outgoing(), None, |_| panic!("a gateway that is not believed is asked for nothing"));
    assert!(matches!(result, Err(CarrierError::Tls(_))), "{result:?}");
    world.until(|w| (w.server.counters().tls_failed == 1).then_some(()));
}

#[test]
fn r1_a_server_of_another_protocol_is_no_gateway() {
    let world = world();
    let own = identity("gateway.example");
    let trust = tls::Trust::Keys(vec![tls::public_key(&own.chain[0]).unwrap()]);
    let mut config = tls::server(own).unwrap();
    config.alpn_protocols = Vec::new();
    let (near, far) = tokio::io::duplex(64 << 10);
    let client = std::sync::Arc::new(tls::client(trust, None).unwrap());
    let result = world.runtime.block_on(async {
        let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
        let accepting = tokio::spawn(async move { acceptor.accept(far).await.map(drop) });
        let address = world.inbox.address();
        let result = connect(near, client, server_name(), &outgoing(), world.settings, address, 0).await;
        // How the other end takes it does not matter.
        let _ = accepting.await.unwrap();
        result
    });
    assert!(matches!(result, Err(CarrierError::Alpn)), "{result:?}");
}

#[test]
fn r5_r6_http2_refusals_are_told_with_their_status() {
    let mut world = world();
    let result = world.ask(&outgoing(), None, |request| request.refuse(&Answer::refused(403)));
    let status = |result: Result<Outbox, CarrierError>| match result {
        Err(CarrierError::Response(ResponseError::Status { status, .. })) => status,
        other => panic!("{other:?}"),
    };
    assert_eq!(status(result), 403);
    let elsewhere = UriTemplate::parse("https://gateway.example/other").unwrap();
    let elsewhere = Outgoing::new(&elsewhere, &Target::Any, None, Credentials::None);
    assert_eq!(status(world.ask(&elsewhere, None, |_| panic!("not our path"))), 404);
    assert_eq!(status(world.ask(&outgoing(), None, drop)), 503, "a request that is dropped is answered");
    assert_eq!(world.server.counters().rejected, 1);
}

#[test]
fn r10_credentials_come_through_http2() {
    let mut world = world();
    let bearer = Credentials::Bearer("a-token".to_owned().into());
    let basic = Credentials::Basic { user: "anna".into(), password: "of course".to_owned().into() };
    for credentials in [bearer, basic] {
        let expected = credentials.authorization();
        let outgoing = Outgoing::new(&template(), &Target::Any, None, credentials);
        let result = world.ask(&outgoing, None, |request| {
            assert_eq!(request.incoming.credentials.authorization(), expected);
            assert_eq!(request.incoming.capsule_protocol, Some(true));
            request.refuse(&Answer::refused(401));
        });
        assert!(matches!(result, Err(CarrierError::Response(ResponseError::Status { status: 401, .. }))));
    }
}

#[test]
fn c15_addresses_change_over_http2_while_packets_flow() {
    let mut world = world();
    let (near, far) = world.tunnel();
    world.ends[far].line.stream().assign(&nets(&["10.0.0.9/32"])).unwrap();
    world.ends[far].line.flush();
    world.until(|w| (w.ends[near].news.len() >= 3).then_some(()));
    let Some(News::Assigned(changes)) = world.ends[near].news.pop() else { panic!("not assigned") };
    assert_eq!((changes.added, changes.removed), (nets(&["10.0.0.9/32"]), nets(&["10.0.0.1/32"])));
    world.ends[near].send(packet([10, 0, 0, 9], FAR, b"new"));
    world.until(|w| w.ends[far].packets.pop());
}

#[test]
fn several_tunnels_end_and_new_ones_begin() {
    let mut world = world();
    let tunnels: Vec<_> = (0..5).map(|_| world.tunnel()).collect();
    assert_eq!((world.server.counters().open, world.server.counters().half_open), (5, 0));
    for (n, (near, far)) in tunnels.iter().enumerate() {
        world.ends[*near].send(packet(CLIENT, FAR, &[n as u8]));
        let got = world.until(|w| w.ends[*far].packets.pop());
        assert_eq!(got.last(), Some(&(n as u8)));
    }
}

#[test]
fn a_megabyte_each_way_over_loopback_arrives_in_order() {
    const PACKETS: u32 = 800;
    let mut world = world();
    let listener = world.runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let io = world.runtime.block_on(async {
        let (near, far) = tokio::join!(dial(address, None, &world.settings), listener.accept());
        let (far, remote) = far.unwrap();
        prepare(&far);
        world.server.take(far, remote);
        near.unwrap()
    });
    let (near, far) = world.tunnel_over(io);
    let (mut sent, mut got) = ([0_u32; 2], [0_u32; 2]);
    while got != [PACKETS; 2] {
        for (index, number) in [near, far].into_iter().enumerate() {
            let (from, to) = if index == 0 { (CLIENT, FAR) } else { (FAR, CLIENT) };
            let end = &mut world.ends[number];
            while sent[index] < PACKETS {
                let mut packet = packet(from, to, &[&sent[index].to_be_bytes()[..], &[7; 1380]].concat());
                match end.line.stream().send(&mut packet, Origin::Local) {
                    Ok(()) => sent[index] += 1,
                    Err(error) => {
                        assert_eq!(error, SendError::Full);
                        break;
                    }
                }
            }
            end.line.flush();
        }
        world.until(|w| w.ends.iter().any(|end| !end.packets.is_empty()).then_some(()));
        for (index, number) in [far, near].into_iter().enumerate() {
            for packet in world.ends[number].packets.drain(..) {
                assert_eq!(packet[20..24], got[index].to_be_bytes());
                got[index] += 1;
            }
        }
    }
}
