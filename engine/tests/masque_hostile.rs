//! Clients of MASQUE that break the rules, at the whole engine: what they get, what is counted, and that others do not
//! notice.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod ends;
mod hostile;

use hostile::h3;
use hostile::raw::{Raw, transport};
use hostile::world::World;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use vestibule_engine::core::DropReason;
use vestibule_engine::masque::session::tls;
use vestibule_engine::packet::Ecn;

fn world() -> World {
    World::new(|| 0)
}

/// A client in a place where the gateway expects nobody.
const STRANGER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9)), 4000);

/// The capsule streams of the corpus that are malformed.
fn malformed() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let lines = include_str!("../src/masque/capsule/corpus.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let mut columns = line.split('|').map(str::trim);
        let (name, bytes, expected) = (columns.next()?, columns.next()?, columns.next()?);
        expected.contains("error: ").then_some(())?;
        let digits: Vec<u8> = bytes.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        Some((name, digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()))
    })
}

#[test]
fn c4_every_malformed_capsule_resets_its_stream_and_nothing_else() {
    let mut world = world();
    let at = world.raw();
    let mut seen = 0;
    for (name, bytes) in malformed() {
        let (_, stream) = world.tunnel_of(at);
        let raw = world.at(at);
        raw.capsules(stream, &bytes);
        raw.finish(stream);
        world.settle();
        assert_eq!(world.at(at).resets.get(&stream), Some(&h3::MESSAGE_ERROR), "{name}");
        assert!(world.at(at).lost.is_none(), "{name}");
        seen += 1;
        assert_eq!(world.gateway.counters().peers_malformed.get(), seen, "{name}");
        world.undisturbed();
        // Streams are not without end.
        world.pass(Duration::from_secs(1));
    }
    assert!(seen > 20);
}

/// What must come of a request stream's bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// It is answered with a status that opens no tunnel.
    Refused,
    /// The stream is reset.
    Reset(u64),
    /// The connection is closed.
    Closed(u64),
}

#[test]
fn malformed_heads_end_their_stream_or_connection() {
    let long = "x".repeat(20_000);
    let without = |name: &str| {
        let fields: Vec<_> = h3::REQUEST.into_iter().filter(|field| field.0 != name).collect();
        h3::headers(&fields)
    };
    let with = |name: &'static str, value: &'static str| {
        let mut fields = h3::REQUEST.to_vec();
        fields.push((name, value));
        h3::headers(&fields)
    };
    let path = |path: &'static str| h3::request_with(":path", path);
    let reset = Fate::Reset(h3::MESSAGE_ERROR);
    let cases = [
        ("another protocol", h3::request_with(":protocol", "websocket"), Fate::Refused),
        ("another path", path("/index.html"), Fate::Refused),
        ("a name that nobody resolves", path("/.well-known/masque/ip/example.com/*/"), Fate::Refused),
        ("another method", h3::request_with(":method", "GET"), reset),
        ("no scheme", without(":scheme"), reset),
        ("no path", without(":path"), reset),
        ("no authority", without(":authority"), reset),
        ("an empty path", path(""), reset),
        ("host bits", path("/.well-known/masque/ip/10.0.0.1%2F8/*/"), reset),
        ("a prefix too long", path("/.well-known/masque/ip/10.0.0.0%2F33/*/"), reset),
        ("an empty target", path("/.well-known/masque/ip//*/"), reset),
        ("a protocol beyond 255", path("/.well-known/masque/ip/*/256/"), reset),
        ("half an escape", path("/.well-known/masque/ip/%2/*/"), reset),
        ("content-length", with("content-length", "5"), reset),
        ("content-type", with("content-type", "text/plain"), reset),
        ("transfer-encoding", with("transfer-encoding", "chunked"), reset),
        ("connection", with("connection", "upgrade"), reset),
        ("capitals", with("Accept", "all"), reset),
        ("a line break", with("accept", "a\r\nb: c"), reset),
        ("a pseudo-header field behind others", with(":scheme", "https"), reset),
        ("an unknown pseudo-header field", with(":secret", "1"), reset),
        ("a block too long", with("accept", Box::leak(long.into_boxed_str())), Fate::Closed(h3::EXCESSIVE_LOAD)),
        ("the dynamic table", h3::frame(1, &[2, 0, 0x80]), Fate::Closed(h3::QPACK_DECOMPRESSION_FAILED)),
        ("half a block", h3::frame(1, &[0, 0, 0x27]), Fate::Closed(h3::QPACK_DECOMPRESSION_FAILED)),
        ("content before a head", h3::data(b"?"), Fate::Closed(h3::FRAME_UNEXPECTED)),
        ("settings in a request", h3::frame(4, &[]), Fate::Closed(h3::FRAME_UNEXPECTED)),
        ("a frame of HTTP/2", h3::frame(6, &[]), Fate::Closed(h3::FRAME_UNEXPECTED)),
    ];
    let mut world = world();
    for (name, bytes, fate) in cases {
        let counters = world.gateway.counters();
        let broken = || counters.peers_malformed.get() + counters.peers_excessive.get();
        let (refused, before) = (counters.tunnels_refused.get(), broken());
        let at = world.raw();
        let stream = world.at(at).bidi(&bytes);
        world.settle();
        let raw = world.at(at);
        match fate {
            Fate::Refused => {
                assert!(raw.lost.is_none() && raw.read.get(&stream).is_some_and(|read| !read.is_empty()), "{name}");
                assert_eq!(counters.tunnels_refused.get(), refused + 1, "{name}");
            }
            Fate::Reset(code) => {
                assert_eq!((raw.closed_with(), raw.resets.get(&stream)), (None, Some(&code)), "{name}");
            }
            Fate::Closed(code) => assert_eq!(raw.closed_with(), Some(code), "{name}"),
        }
        assert_eq!(broken() - before, u64::from(fate != Fate::Refused), "{name}");
        world.undisturbed();
    }
}

#[test]
fn broken_critical_streams_close_the_connection() {
    let settings = |payload: &[u8]| [&[0][..], &h3::frame(4, payload)].concat();
    let after_control = |raw: &mut Raw, bytes: &[u8]| {
        raw.uni(bytes);
    };
    type Act = Box<dyn Fn(&mut Raw, u64)>;
    let cases: [(&str, Vec<u8>, Act, u64); 9] = [
        ("H3_DATAGRAM 2", settings(&[0x33, 2]), Box::new(|_, _| ()), h3::SETTINGS_ERROR),
        ("extended CONNECT 2", settings(&[0x08, 2]), Box::new(|_, _| ()), h3::SETTINGS_ERROR),
        ("one setting twice", settings(&[0x33, 1, 0x33, 1]), Box::new(|_, _| ()), h3::SETTINGS_ERROR),
        ("a setting of HTTP/2", settings(&[0x02, 1]), Box::new(|_, _| ()), h3::SETTINGS_ERROR),
        ("half a setting", settings(&[0x33]), Box::new(|_, _| ()), h3::FRAME_ERROR),
        ("no settings first", [&[0][..], &h3::frame(7, &[0])].concat(), Box::new(|_, _| ()), h3::MISSING_SETTINGS),
        (
            "a second control stream",
            h3::control(),
            Box::new(move |raw, _| after_control(raw, &[0])),
            h3::STREAM_CREATION_ERROR,
        ),
        (
            "a push stream",
            h3::control(),
            Box::new(move |raw, _| after_control(raw, &[1, 0])),
            h3::STREAM_CREATION_ERROR,
        ),
        ("no control stream any more", h3::control(), Box::new(|raw, id| raw.finish(id)), h3::CLOSED_CRITICAL_STREAM),
    ];
    let mut world = world();
    for (number, (name, control, act, code)) in cases.into_iter().enumerate() {
        let tls = world.tls(Some(ends::world::identity("x")));
        let at = world.quiet(STRANGER, tls);
        let id = world.at(at).uni(&control);
        world.settle();
        act(world.at(at), id);
        world.settle();
        assert_eq!(world.at(at).closed_with(), Some(code), "{name}");
        assert_eq!(world.gateway.counters().peers_malformed.get(), number as u64 + 1, "{name}");
        world.undisturbed();
    }
}

#[test]
fn odd_datagrams_are_dropped_and_counted() {
    let mut world = world();
    let (at, stream) = world.tunnel();
    let quarter = (stream / 4) as u8;
    let counters = world.gateway.counters();
    let cases: [(&str, Vec<u8>, DropReason); 9] = [
        ("another stream", vec![9, 0, 0x45], DropReason::NoTunnel),
        ("another context", vec![quarter, 2, 0x45], DropReason::UnknownContext),
        ("no context", vec![quarter], DropReason::UnknownContext),
        ("half a context", vec![quarter, 0x40], DropReason::UnknownContext),
        ("no packet", vec![quarter, 0], DropReason::NotCarried),
        ("no IP packet", vec![quarter, 0, 0x00, 1, 2], DropReason::NotCarried),
        ("half a header", vec![quarter, 0, 0x45, 0], DropReason::NotCarried),
        ("longer than it is", [&[quarter, 0][..], &ends::world::up(b"x")[..28]].concat(), DropReason::NotCarried),
        ("somebody else's", [&[quarter, 0][..], &ends::world::up(b"x")].concat(), DropReason::NotCarried),
    ];
    for (name, bytes, reason) in cases {
        let before = counters.drops(reason);
        world.delivered.clear();
        world.at(at).datagram(&bytes);
        world.settle();
        assert_eq!(counters.drops(reason), before + 1, "{name}");
        assert!(world.delivered.is_empty() && world.at(at).lost.is_none(), "{name}");
        world.undisturbed();
    }
    assert_eq!(world.at(at).datagrams.len(), 1, "somebody else's address is told of");
}

#[test]
fn d3_quarter_stream_ids_that_are_none_close_the_connection() {
    let mut world = world();
    for (number, bad) in [&[][..], &[0x40], &[0xd0, 0, 0, 0, 0, 0, 0, 0]].into_iter().enumerate() {
        let (at, _) = world.tunnel();
        world.at(at).datagram(bad);
        world.settle();
        assert_eq!(world.at(at).closed_with(), Some(h3::DATAGRAM_ERROR), "{bad:?}");
        assert_eq!(world.gateway.counters().peers_malformed.get(), number as u64 + 1);
        world.undisturbed();
    }
}

#[test]
fn d4_packets_before_and_after_a_tunnel_are_counted() {
    let mut world = world();
    let at = world.raw();
    world.at(at).datagram(&[&[0, 0][..], &ends::world::up(b"early")].concat());
    world.settle();
    assert_eq!(world.gateway.counters().drops(DropReason::NoTunnel), 1);
    let (_, stream) = world.tunnel_of(at);
    world.at(at).finish(stream);
    world.settle();
    world.at(at).datagram(&[&[(stream / 4) as u8, 0][..], &ends::world::up(b"late")].concat());
    world.settle();
    assert_eq!(world.gateway.counters().drops(DropReason::NoTunnel), 2);
    assert!(world.at(at).lost.is_none());
    world.undisturbed();
}

/// Shows a certificate and signs with another's key.
#[derive(Debug)]
struct Impostor(Arc<rustls::sign::CertifiedKey>);

impl rustls::client::ResolvesClientCert for Impostor {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn impostor(mut tls: rustls::ClientConfig, shown: Vec<CertificateDer<'static>>) -> rustls::ClientConfig {
    let own = ends::world::identity("impostor");
    let PrivateKeyDer::Pkcs8(key) = own.key else { panic!("another form of key") };
    let key = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&PrivateKeyDer::Pkcs8(key)).unwrap();
    tls.client_auth_cert_resolver = Arc::new(Impostor(Arc::new(rustls::sign::CertifiedKey::new(shown, key))));
    tls
}

#[test]
fn r1_failures_of_tls_are_told_and_counted() {
    let mut world = world();
    let of_another = ends::world::identity("device").chain;
    let plain = world.tls(None);
    let mut other_protocol = plain.clone();
    other_protocol.alpn_protocols = vec![b"h2".to_vec()];
    let mut no_protocol = plain.clone();
    no_protocol.alpn_protocols = Vec::new();
    let trust = tls::Trust::Keys(vec![tls::public_key(&of_another[0]).unwrap()]);
    let cases = [
        ("another application protocol", other_protocol, 0x178),
        ("no application protocol", no_protocol, 0x178),
        ("somebody else's certificate", impostor(plain.clone(), of_another), 0x133),
        ("a certificate that is none", impostor(plain.clone(), vec![CertificateDer::from(vec![1, 2, 3])]), 0x12a),
        ("an empty certificate", impostor(plain, vec![CertificateDer::from(Vec::new())]), 0x12a),
        ("a client that does not believe us", tls::client(trust, None).unwrap(), 0x12a),
    ];
    for (number, (name, tls, alert)) in cases.into_iter().enumerate() {
        let at = world.connect(STRANGER, tls, transport());
        world.settle();
        let lost = world.at(at).lost.clone().unwrap_or_else(|| panic!("{name}: nothing happened"));
        let code = match lost {
            quinn_proto::ConnectionError::ConnectionClosed(close) => u64::from(close.error_code),
            quinn_proto::ConnectionError::TransportError(error) => error.code.into(),
            other => panic!("{name}: {other:?}"),
        };
        assert!((0x100..0x200).contains(&code), "{name}: {code:#x}");
        // Which alert it is, rustls decides; that it is one of TLS, we do.
        let _ = alert;
        assert_eq!(world.gateway.counters().connections_failed.get(), number as u64 + 1, "{name}");
        world.undisturbed();
    }
}

#[test]
fn r10_a_client_that_nobody_awaits_is_refused_and_forgotten() {
    let mut world = world();
    for identity in [None, Some(ends::world::identity("nobody"))] {
        let before = world.gateway.counters().tunnels_refused.get();
        let tls = world.tls(identity);
        let at = world.connect(STRANGER, tls, transport());
        let stream = world.at(at).bidi(&h3::request());
        world.settle();
        assert!(!world.at(at).read[&stream].is_empty(), "there is an answer");
        assert_eq!(world.gateway.counters().tunnels_refused.get(), before + 1);
        // It must not stay, whatever it sends.
        for _ in 0..12 {
            world.at(at).quic.ping();
            world.pass(Duration::from_secs(1));
        }
        assert_eq!(world.at(at).closed_with(), Some(h3::NO_ERROR));
        world.undisturbed();
    }
    assert_eq!(world.gateway.counters().connections_unused.get(), 2);
}

#[test]
fn d18_marks_outside_stay_outside() {
    let mut world = world();
    world.mark = Ecn::Ce;
    for field in [Ecn::NotEct, Ecn::Ect0, Ecn::Ect1, Ecn::Ce] {
        let device = &mut world.devices[0];
        let mut packet = ends::world::udp(device.inner, ends::world::DIRECTORY, (5000, 53), b"marked");
        packet[1] = field.bits();
        world.delivered.clear();
        device.engine.handle_frames(&mut ends::Batch([packet.clone()].into(), Vec::new()), world.now);
        world.settle();
        assert!(world.delivered == [packet], "{field:?}");
    }
    assert_eq!(world.gateway.counters().drops(DropReason::CongestionExperienced), 0);
    world.undisturbed();
}
