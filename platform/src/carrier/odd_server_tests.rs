//! What a client makes of servers that are no gateway, or no longer.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::wire::*;
use super::*;
use bytes::Bytes;
use http::Response;
use rustls::ServerConfig;
use std::sync::Arc;
use std::time::Duration;
use vestibule_engine::masque::request::ResponseError;
use vestibule_engine::masque::session::tls;

/// What `connect` makes of a server of `h2`'s that answers as `answer` says.
fn against(extended: bool, answer: Response<()>) -> Result<Outbox, CarrierError> {
    let world = World::new(ServerSettings::default());
    let own = identity("gateway.example");
    let trust = tls::Trust::Keys(vec![tls::public_key(&own.chain[0]).unwrap()]);
    let mut config: ServerConfig = tls::server(own).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (near, far) = tokio::io::duplex(64 << 10);
    world.runtime.block_on(async {
        tokio::spawn(async move {
            let io = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(far).await.unwrap();
            let mut builder = h2::server::Builder::new();
            if extended {
                builder.enable_connect_protocol();
            }
            let mut connection = builder.handshake::<_, Bytes>(io).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                assert!(extended, "R4: asked without leave");
                assert_eq!(request.headers()["capsule-protocol"], "?1", "R7");
                assert_eq!((request.method().as_str(), request.uri().host()), ("CONNECT", Some("gateway.example")));
                respond.send_response(answer.clone(), false).unwrap();
            }
        });
        let client = Arc::new(tls::client(trust, None).unwrap());
        connect(near, client, server_name(), &outgoing(), world.settings, world.inbox.address(), 0).await
    })
}

#[test]
fn r4_nothing_is_asked_of_an_http2_server_without_extended_connect() {
    let result = against(false, Response::new(()));
    assert!(matches!(result, Err(CarrierError::NoExtendedConnect)), "{result:?}");
}

#[test]
fn r2_r6_r8_http2_answers_that_open_no_tunnel() {
    assert!(against(true, Response::new(())).is_ok());
    for refused in [204, 205, 206, 302, 407, 500] {
        let answer = Response::builder().status(refused).body(()).unwrap();
        let Err(CarrierError::Response(ResponseError::Status { status, .. })) = against(true, answer) else {
            panic!("{refused} opened a tunnel")
        };
        assert_eq!(status, refused);
    }
    let answer = Response::builder().header("content-type", "text/plain").body(()).unwrap();
    let result = against(true, answer);
    assert!(matches!(result, Err(CarrierError::Response(ResponseError::Forbidden { field: "content-type" }))));
}

#[test]
fn a_gateway_that_falls_silent_is_noticed() {
    let settings =
        Settings { keep_alive: Duration::from_millis(20), idle_timeout: Duration::from_secs(3), ..Settings::default() };
    let mut world = World::new(ServerSettings { settings, ..ServerSettings::default() });
    let (near, mut outside) = tokio::io::duplex(256 << 10);
    let mut inside = world.wire();
    let (cut, is_cut) = tokio::sync::oneshot::channel::<()>();
    world.runtime.spawn(async move {
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut outside, &mut inside) => {}
            _ = is_cut => {}
        }
        // Dead, and neither end is told.
        std::future::pending::<()>().await
    });
    let (near, far) = world.tunnel_over(near);
    cut.send(()).unwrap();
    for end in [near, far] {
        let end = world.ended(end);
        assert!(matches!(end, LineEnd::Lost(CarrierError::Silent(_))), "{end:?}");
    }
}
