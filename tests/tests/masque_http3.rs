//! Tunnels over HTTP/3 with aioquic and with quic-go at the other end, as client and as server: `masque/aioquic_peer.py` and
//! `masque/go` say what they do, which is the same.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use bytes::BytesMut;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vestibule_engine::masque::capsule::RequestedAddress;
use vestibule_engine::masque::ip::Scope;
use vestibule_engine::masque::request::{Credentials, Outgoing, Target, UriTemplate};
use vestibule_engine::masque::session::{
    ConnectionError, Endpoint, EndpointConfig, Event, Origin, SendError, Settings, TunnelError, TunnelId, tls,
};
use vestibule_engine::packet::Ecn;
use vestibule_engine::random::Seed;
use vestibule_tests::house::Room;
use vestibule_tests::masque::{GATEWAY, corpus, echo, identity, malformed, numbered, ping, script, template, trust};
use vestibule_tests::process::Process;

const LIMIT: Duration = Duration::from_secs(60);
const DATAGRAM_ERROR: u64 = 0x33;

/// Who is at the other end.
#[derive(Clone, Copy)]
enum Peer {
    Aioquic,
    Go,
}

impl Peer {
    fn start(self, words: &[&str], room: &Room) -> Process {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let program = root.join(match self {
            Self::Aioquic => "../target/aioquic/venv/bin/python3",
            Self::Go => "../target/peers/bin/masque-go",
        });
        assert!(program.exists(), "no {}: tests/setup makes it", program.display());
        let mut command = Command::new(program);
        if matches!(self, Self::Aioquic) {
            command.arg("-B").arg(script("aioquic_peer.py"));
        }
        command.args(words).arg(&room.0).arg(corpus());
        Process::start(&mut command, room.0.join("peer.log"))
    }
}

/// An endpoint and its socket.
struct Node {
    endpoint: Endpoint,
    socket: UdpSocket,
    events: Vec<Event>,
}

impl Node {
    fn new(server: Option<rustls::ServerConfig>) -> Self {
        let config = EndpointConfig {
            settings: Settings::default(),
            server: server.map(Arc::new),
            templates: vec![template()],
            seed: Seed::new(std::array::from_fn(|n| n as u8)),
        };
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        Self { endpoint: Endpoint::new(config).unwrap(), socket, events: Vec::new() }
    }

    /// One datagram, if there is one, and all that comes of it.
    fn turn(&mut self) {
        let mut buffer = [0; 2048];
        if let Ok((len, from)) = self.socket.recv_from(&mut buffer) {
            let bytes = BytesMut::from(&buffer[..len]);
            self.endpoint.handle_datagram(from, None, Ecn::NotEct, bytes, Instant::now());
            self.endpoint.settle(Instant::now());
        }
        self.endpoint.handle_deadline(Instant::now());
        self.events.extend(std::iter::from_fn(|| self.endpoint.poll_event()));
    }

    fn flush(&mut self) {
        let mut buffer = Vec::new();
        while let Some(sent) = self.endpoint.poll_transmit(&mut buffer, Instant::now()) {
            for datagram in buffer.chunks(sent.segment) {
                self.socket.send_to(datagram, sent.destination).unwrap();
            }
            buffer.clear();
        }
    }

    fn send(&mut self, tunnel: TunnelId, mut packet: Vec<u8>) {
        assert_eq!(self.endpoint.send(tunnel, &mut packet, Origin::Local), Ok::<(), SendError>(()));
    }

    /// Runs until `done` gives something.
    fn until<T>(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            self.flush();
            self.turn();
            if let Some(result) = done(self) {
                self.flush();
                return result;
            }
            assert!(start.elapsed() < LIMIT, "{what}: {:?}", self.events);
        }
    }
}

#[test]
fn r2_r7_an_aioquic_client_has_a_tunnel_and_its_malformed_capsules_are_refused() {
    if vestibule_tests::required("r2_r7_an_aioquic_client_has_a_tunnel_and_its_malformed_capsules_are_refused") {
        client_is(Peer::Aioquic, &Room::new("aioquic-client"));
    }
}

#[test]
fn r2_r7_a_go_client_has_a_tunnel_and_its_malformed_capsules_are_refused() {
    if vestibule_tests::required("r2_r7_a_go_client_has_a_tunnel_and_its_malformed_capsules_are_refused") {
        client_is(Peer::Go, &Room::new("go-client"));
    }
}

#[test]
fn c4_an_aioquic_gateway_has_our_tunnel_and_its_malformed_capsules_are_refused() {
    if vestibule_tests::required("c4_an_aioquic_gateway_has_our_tunnel_and_its_malformed_capsules_are_refused") {
        gateway_is(Peer::Aioquic, &Room::new("aioquic-gateway"));
    }
}

#[test]
fn c4_a_go_gateway_has_our_tunnel_and_its_malformed_capsules_are_refused() {
    if vestibule_tests::required("c4_a_go_gateway_has_our_tunnel_and_its_malformed_capsules_are_refused") {
        gateway_is(Peer::Go, &Room::new("go-gateway"));
    }
}

/// A gateway of ours that echoes, and the peer as its client.
fn client_is(peer: Peer, room: &Room) {
    let mut node = Node::new(Some(tls::server(identity(room, "gateway")).unwrap()));
    let certificate = identity(room, "client").chain[0].clone();
    let port = node.socket.local_addr().unwrap().port().to_string();
    let mut peer = peer.start(&["client", &port], room);
    let (mut broken, mut closed) = (0, None);
    let start = Instant::now();
    // It goes on until both are over: the peer, and its connection here.
    while peer.ended().is_none() || closed.is_none() {
        assert!(peer.ended() != Some(false), "the peer said: {}", peer.said());
        assert!(start.elapsed() < 2 * LIMIT, "the peer said: {}", peer.said());
        node.turn();
        while let Some((tunnel, packet)) = node.endpoint.poll_packet(Instant::now()) {
            node.send(tunnel, echo(&packet));
        }
        let now = Instant::now();
        for event in std::mem::take(&mut node.events) {
            match event {
                Event::Connected(handle) => {
                    assert_eq!(*node.endpoint.peer_certificates(handle).unwrap(), *std::slice::from_ref(&certificate));
                }
                Event::Requested(tunnel, _) => {
                    node.endpoint.accept(tunnel, Scope::all(), now);
                    node.endpoint.advertise(tunnel, Scope::all().routes(true, false), now);
                }
                Event::AddressesRequested(tunnel, requests) => {
                    let give = |_: &RequestedAddress| "10.0.0.1/32".parse().ok();
                    node.endpoint.answer_addresses(tunnel, &requests, give, now);
                }
                Event::Ended(_, Some(TunnelError::Capsules(_))) => broken += 1,
                Event::Closed(_, error) => closed = Some(error),
                _ => {}
            }
        }
        node.flush();
    }
    print!("{}", peer.said());
    assert_eq!(broken, malformed().into_iter().filter(|malformed| *malformed).count());
    assert!(matches!(closed, Some(ConnectionError::Http3 { code: DATAGRAM_ERROR, .. })), "{closed:?}");
}

/// The peer as a gateway that echoes, and a client of ours.
fn gateway_is(peer: Peer, room: &Room) {
    const BULK: u32 = 2000;
    const ROUND: u32 = 20;
    let trust = trust(&identity(room, "gateway"));
    let mut peer = peer.start(&["server"], room);
    let log = peer.log().to_owned();
    let said = |wanted: &str| std::fs::read_to_string(&log).unwrap().lines().any(|line| line == wanted);
    let port = peer.ready_port("the gateway");
    let mut node = Node::new(None);
    let client = Arc::new(tls::client(trust, None).unwrap());
    let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let connection = node.endpoint.connect(remote, GATEWAY, client, Instant::now()).unwrap();
    let open = |node: &mut Node, template: &UriTemplate| {
        let outgoing = Outgoing::new(template, &Target::Any, None, Credentials::None);
        node.endpoint.open(connection, outgoing, Scope::all(), Instant::now()).unwrap()
    };

    let tunnel = open(&mut node, &template());
    node.until("the answer", |node| {
        node.events.iter().any(|event| matches!(event, Event::Opened(of) if *of == tunnel)).then_some(())
    });
    node.endpoint.request_addresses(tunnel, &["0.0.0.0/32".parse().unwrap()], Instant::now());
    node.until("address and routes", |node| {
        let assigned = |event: &Event| matches!(event, Event::Assigned(_, changes) if changes.added.len() == 1);
        let advertised = |event: &Event| matches!(event, Event::RoutesAdvertised(..));
        (node.events.iter().any(assigned) && node.events.iter().any(advertised)).then_some(())
    });
    for n in 1..=5 {
        node.send(tunnel, ping(n));
        let (_, answer) = node.until("an echo", |node| node.endpoint.poll_packet(Instant::now()));
        assert_eq!(answer, echo(&ping(n)));
    }
    // Round by round: datagrams that find a full socket are lost, as they may be.
    for round in (0..BULK).step_by(ROUND as usize) {
        (round..round + ROUND).for_each(|number| node.send(tunnel, numbered(number, 1200)));
        for number in round..round + ROUND {
            let (_, answer) = node.until("a packet", |node| node.endpoint.poll_packet(Instant::now()));
            assert_eq!(answer, echo(&numbered(number, 1200)));
        }
    }

    let lines = malformed();
    for (n, malformed) in lines.iter().enumerate() {
        let bad = open(&mut node, &UriTemplate::parse(&format!("https://{GATEWAY}/bad/{n}")).unwrap());
        let end = node.until("the end of a stream", |node| {
            node.events.iter().find_map(|event| match event {
                Event::Ended(of, end) if *of == bad => Some(end.clone()),
                _ => None,
            })
        });
        assert_eq!(matches!(end, Some(TunnelError::Capsules(_))), *malformed, "line {n}: {end:?}");
        if *malformed {
            // H3_MESSAGE_ERROR.
            node.until("the reset", |_| said(&format!("bad {n}: reset with {}", 0x10e)).then_some(()));
        }
    }
    node.endpoint.close_tunnel(tunnel, Instant::now());
    node.until("the end of the tunnel", |_| said("tunnel: ended").then_some(()));
    println!("5 pings, {BULK} packets each way, {} streams of the corpus", lines.len());
}
