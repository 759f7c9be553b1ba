//! More clients than there is room for.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::tests::ended;
use super::wire::{World, identity};
use super::*;
use std::sync::Arc;

#[test]
fn half_open_connections_are_few_and_a_real_client_gets_in() {
    let mut world = World::new(61, Settings::default());
    // Clients that never hear the answer, for theirs are lost on the way back.
    let tls = tls::client(tls::Trust::Keys(vec![world.server_key.clone()]), Some(identity("x"))).unwrap();
    let tls = Arc::new(tls);
    for _ in 0..400 {
        let (gateway, now) = (world.gateway.address, world.now);
        let handle = world.client.endpoint.connect(gateway, "gateway.example", Arc::clone(&tls), now).unwrap();
        let mut buffer = Vec::new();
        while let Some(sent) = world.client.endpoint.poll_transmit(&mut buffer, now) {
            for datagram in buffer.chunks(sent.segment) {
                let source = std::net::SocketAddr::from(([198, 51, 100, 1], 1000 + handle.0 as u16));
                let bytes = bytes::BytesMut::from(datagram);
                world.gateway.endpoint.handle_datagram(source, None, crate::packet::Ecn::NotEct, bytes, now);
            }
            buffer.clear();
        }
        world.client.endpoint.close(handle, now);
    }
    world.gateway.endpoint.settle(world.now);
    assert_eq!(world.gateway.endpoint.connections(), 256, "the rest were asked to prove their address");
    let mut buffer = Vec::new();
    while world.gateway.endpoint.poll_transmit(&mut buffer, world.now).is_some() {
        buffer.clear();
    }
    world.client.events.clear();
    let (near, _) = world.tunnel();
    assert!(ended(&world.client, near).is_none());
}
