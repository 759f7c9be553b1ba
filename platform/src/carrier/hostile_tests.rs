//! Clients that break the rules of HTTP/2's tunnels, by `h2` itself: what they get, and that others do not notice.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::wire::*;
use super::*;
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use http::{Request as HttpRequest, Response, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use vestibule_engine::masque::stream::{Origin, SendError, TunnelError};

/// A client of ours up to HTTP/2, and whatever the test makes of it from there.
fn raw(world: &World) -> SendRequest<Bytes> {
    let (io, mut tls) = (world.wire(), Arc::unwrap_or_clone(world.client_tls(None)));
    tls.alpn_protocols = vec![b"h2".to_vec()];
    world.runtime.block_on(async {
        let io = tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(server_name(), io).await.unwrap();
        let (requests, mut connection) = h2::client::handshake(io).await.unwrap();
        let mut pings = connection.ping_pong().unwrap();
        tokio::spawn(connection);
        // The server's settings come before its answer.
        pings.ping(h2::Ping::opaque()).await.unwrap();
        assert!(requests.is_extended_connect_protocol_enabled(), "R4: the gateway offers it");
        requests
    })
}

fn extended_connect(path: &str, protocol: &'static str) -> HttpRequest<()> {
    let uri = format!("https://gateway.example{path}");
    let mut request = HttpRequest::builder().method("CONNECT").uri(uri).body(()).unwrap();
    request.extensions_mut().insert(h2::ext::Protocol::from_static(protocol));
    request
}

fn connect_ip() -> HttpRequest<()> {
    extended_connect("/.well-known/masque/ip/*/*/", "connect-ip")
}

impl World {
    /// What a request that is not handed up is answered with.
    fn answer(
        &self,
        client: &mut SendRequest<Bytes>,
        request: HttpRequest<()>,
    ) -> Result<Response<RecvStream>, h2::Error> {
        self.runtime.block_on(async {
            let (response, _send) = client.clone().ready().await?.send_request(request, false)?;
            response.await
        })
    }

    /// A tunnel whose client's side is in the test's hands, and the number of the gateway's end.
    fn raw_tunnel(&mut self, client: &SendRequest<Bytes>) -> (SendStream<Bytes>, RecvStream, usize) {
        let number = self.ends.len();
        let (send, body, outbox) = self.runtime.block_on(async {
            let mut client = client.clone().ready().await.unwrap();
            let (response, send) = client.send_request(connect_ip(), false).unwrap();
            let request = self.requests.recv().await.unwrap();
            let outbox = request.accept(self.inbox.address(), number as u64).unwrap();
            let response = response.await.unwrap();
            assert_eq!(response.headers()["capsule-protocol"], "?1", "R7");
            (send, response.into_body(), outbox)
        });
        self.ends.push(End::gateway(outbox));
        (send, body, number)
    }

    /// What the stream is reset with.
    fn reset_code(&self, mut body: RecvStream) -> Option<Reason> {
        self.runtime.block_on(async {
            loop {
                match body.data().await {
                    Some(Ok(bytes)) => drop(body.flow_control().release_capacity(bytes.len())),
                    Some(Err(error)) => return error.reason(),
                    None => return None,
                }
            }
        })
    }

    fn still_works(&mut self, (near, far): (usize, usize)) {
        self.ends[near].send(packet(CLIENT, FAR, b"still here"));
        self.until(|w| w.ends[far].packets.pop());
    }
}

/// The streams of the corpus that end in an error, and the error's text.
fn malformed() -> impl Iterator<Item = (Vec<u8>, &'static str)> {
    let corpus = include_str!("../../../engine/src/masque/capsule/corpus.txt");
    corpus.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut columns = line.split('|').skip(1).map(str::trim);
        let (bytes, expected) = (columns.next()?, columns.next()?);
        let (_, error) = expected.split_once("error: ")?;
        let digits: Vec<u8> = bytes.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        Some((digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect(), error))
    })
}

#[test]
fn c4_malformed_capsules_reset_their_http2_stream_alone() {
    let mut world = World::new(ServerSettings::default());
    let good = world.tunnel();
    let client = raw(&world);
    let mut seen = 0;
    for (bytes, text) in malformed() {
        let (mut send, body, far) = world.raw_tunnel(&client);
        send.send_data(bytes.into(), true).unwrap();
        let LineEnd::Broken(TunnelError::Capsules(error)) = world.ended(far) else { panic!("{text}: no error") };
        assert!(error.to_string().starts_with(text), "got `{error}`, expected `{text}`");
        assert_eq!(world.reset_code(body), Some(Reason::PROTOCOL_ERROR), "{text}");
        seen += 1;
    }
    assert!(seen > 20);
    world.still_works(good);
}

#[test]
fn c2_capsules_may_span_and_share_data_frames() {
    let mut world = World::new(ServerSettings::default());
    let client = raw(&world);
    let (mut send, _body, far) = world.raw_tunnel(&client);
    world.ends[far].line.stream().assign(&nets(&["10.0.0.1/32"])).unwrap();
    let one = packet(CLIENT, FAR, &[9; 300]);
    let capsule = [vestibule_engine::masque::datagram::Prefix::capsule(one.len()).bytes(), &one].concat();
    let bytes = capsule.repeat(3);
    for piece in [&bytes[..1], &bytes[1..200], &bytes[200..900], &bytes[900..]] {
        send.send_data(Bytes::copy_from_slice(piece), false).unwrap();
    }
    world.until(|w| (w.ends[far].packets.len() == 3).then_some(()));
    assert!(world.ends[far].packets.iter().all(|packet| *packet == one));
}

#[test]
fn r5_r8_u7_http2_requests_that_get_no_tunnel() {
    let world = World::new(ServerSettings::default());
    let mut client = raw(&world);
    let answer = world.answer(&mut client, extended_connect("/.well-known/masque/ip/*/*/", "websocket")).unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_IMPLEMENTED);
    assert!(!answer.headers().contains_key("capsule-protocol"), "R7: only where capsules follow");
    let get = HttpRequest::builder().uri("https://gateway.example/").body(()).unwrap();
    assert_eq!(world.answer(&mut client, get).unwrap().status(), StatusCode::NOT_IMPLEMENTED);
    assert_eq!(
        world.answer(&mut client, extended_connect("/x", "connect-ip")).unwrap().status(),
        StatusCode::NOT_FOUND
    );
    let variables = extended_connect("/.well-known/masque/ip/10.0.0.1%2F8/*/", "connect-ip");
    let mut content = connect_ip();
    content.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    let mut length = connect_ip();
    length.headers_mut().insert("content-length", "5".parse().unwrap());
    for malformed in [variables, content, length] {
        let error = world.answer(&mut client, malformed).unwrap_err();
        assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR));
    }
    assert_eq!(world.server.counters().rejected, 6);
}

#[test]
fn r11_packets_before_the_http2_answer_are_not_forwarded() {
    let mut world = World::new(ServerSettings::default());
    let client = raw(&world);
    let early = packet(CLIENT, FAR, b"early");
    let capsule = [vestibule_engine::masque::datagram::Prefix::capsule(early.len()).bytes(), &early].concat();
    let outbox = world.runtime.block_on(async {
        let mut client = client.clone().ready().await.unwrap();
        let (response, mut send) = client.send_request(connect_ip(), false).unwrap();
        send.send_data(capsule.into(), false).unwrap();
        let outbox = world.requests.recv().await.unwrap().accept(world.inbox.address(), 0).unwrap();
        response.await.unwrap();
        // Kept open.
        std::mem::forget(send);
        outbox
    });
    world.ends.push(End::gateway(outbox));
    world.until(|w| (w.ends[0].line.stream().counters().refused == 1).then_some(()));
    assert!(world.ends[0].packets.is_empty());
}

#[test]
fn r12_resets_of_http2_streams_are_told_as_such() {
    let mut world = World::new(ServerSettings::default());
    let client = raw(&world);
    let (mut send, _body, far) = world.raw_tunnel(&client);
    send.send_reset(Reason::CANCEL);
    let end = world.ended(far);
    assert!(matches!(end, LineEnd::Lost(CarrierError::Reset { code: 8 })), "{end:?}");
    let (_send, body, far) = world.raw_tunnel(&client);
    let end = world.ends.remove(far);
    drop(end);
    assert_eq!(world.reset_code(body), Some(Reason::CANCEL), "an outbox that is dropped cancels");
    let (_send, body, far) = world.raw_tunnel(&client);
    drop(client);
    drop((_send, body));
    let end = world.ended(far);
    assert!(matches!(end, LineEnd::Lost(_)), "{end:?}");
}

#[test]
fn a_flood_of_capsules_over_http2_is_cut_off_and_other_tunnels_go_on() {
    let mut world = World::new(ServerSettings::default());
    let good = world.tunnel();
    let client = raw(&world);
    let (mut send, body, far) = world.raw_tunnel(&client);
    // Empty ADDRESS_ASSIGNs, two bytes each: the cheapest there are.
    send.send_data([1, 0].repeat(5000).into(), false).unwrap();
    let end = world.ended(far);
    assert!(matches!(end, LineEnd::Broken(TunnelError::Flood)), "{end:?}");
    assert!(world.ends[far].news.len() <= 1024);
    assert_eq!(world.reset_code(body), Some(Reason::ENHANCE_YOUR_CALM));
    world.still_works(good);
}

#[test]
fn a_client_that_never_reads_costs_a_bounded_queue_and_packets_are_dropped() {
    let mut world = World::new(ServerSettings::default());
    let good = world.tunnel();
    let client = raw(&world);
    // The stream's window is never opened again: nothing is taken.
    let (_send, _body, far) = world.raw_tunnel(&client);
    world.ends[far].line.stream().assign(&nets(&["10.0.0.1/32"])).unwrap();
    let mut full = 0;
    while full < 5000 {
        let sent = world.ends[far].line.stream().send(&mut packet(FAR, CLIENT, &[1; 1400]), Origin::Local);
        world.ends[far].line.flush();
        full += usize::from(sent == Err(SendError::Full));
    }
    let counters = world.ends[far].line.stream().counters();
    assert_eq!(counters.full, 5000);
    assert!(counters.sent * 1400 < 2 << 20, "{counters:?}");
    world.still_works(good);
}

#[test]
fn a_packet_thread_that_stands_still_holds_a_window_and_its_peer_drops() {
    let settings = Settings { window: 256 << 10, ..Settings::default() };
    let mut world = World::new(ServerSettings { settings, ..ServerSettings::default() });
    let (near, far) = world.tunnel();
    // The gateway's arrivals are left where they are. Filled until nothing more leaves for a while of trying.
    let mut sent_at_last = 0;
    let mut still = 0;
    while still < 50 {
        while world.ends[near].line.stream().send(&mut packet(CLIENT, FAR, &[1; 1400]), Origin::Local).is_ok() {}
        world.ends[near].line.flush();
        let sent = world.ends[near].line.stream().counters().sent;
        still = if sent == sent_at_last { still + 1 } else { 0 };
        sent_at_last = sent;
        std::thread::sleep(Duration::from_millis(2));
    }
    // Window, outbox, queue, what HTTP/2, TLS and the wire between them hold.
    assert!(sent_at_last * 1400 < 3 << 20, "{sent_at_last}");
    world.until(|w| (w.ends[far].line.stream().counters().received > sent_at_last / 2).then_some(()));
    assert!(world.ends[near].line.stream().counters().full > 0);
}

#[test]
fn ten_thousand_connections_that_say_nothing_give_way_to_one_that_does() {
    let mut world = World::new(ServerSettings::default());
    let good = world.tunnel();
    let silent: Vec<_> = (0..10_000)
        .map(|_| {
            let (near, far) = tokio::io::duplex(64);
            let _inside = world.runtime.enter();
            world.server.take(far, NOWHERE);
            near
        })
        .collect();
    world.until(|w| (w.server.counters().open <= 1 + 1024).then_some(()));
    let counters = world.server.counters();
    assert_eq!((counters.connections, counters.gave_way, counters.half_open), (10_001, 10_000 - 1024, 1024));
    let late = world.tunnel();
    world.still_works(late);
    world.still_works(good);
    assert_eq!(world.server.counters().gave_way, 10_000 - 1024 + 1);
    drop(silent);
    world.until(|w| (w.server.counters().open == 2).then_some(()));
}

#[test]
fn half_open_connections_time_out_at_every_stage() {
    let settings = Settings { patience: Duration::from_millis(50), ..Settings::default() };
    let mut world = World::new(ServerSettings { settings, ..ServerSettings::default() });
    let _silent = world.wire();
    world.until(|w| (w.server.counters().tls_failed == 1).then_some(()));
    // TLS and no HTTP/2.
    let (io, mut tls) = (world.wire(), Arc::unwrap_or_clone(world.client_tls(None)));
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
    // On a busy machine TLS itself may be what takes too long.
    let _tls = world.runtime.block_on(connector.connect(server_name(), io));
    world.until(|w| (w.server.counters().tls_failed + w.server.counters().http_failed == 2).then_some(()));
    world.until(|w| (w.server.counters().open == 0).then_some(()));
}

#[test]
fn requests_that_nobody_answers_in_time_are_refused_beyond_a_few() {
    let world = World::new(ServerSettings { requests: 1, ..ServerSettings::default() });
    let mut client = raw(&world);
    let waiting = world.runtime.block_on(async {
        let (response, send) = client.clone().ready().await.unwrap().send_request(connect_ip(), false).unwrap();
        (response, send)
    });
    let answer = world.answer(&mut client, connect_ip()).unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.server.counters().overloaded, 1);
    drop(waiting);
}
