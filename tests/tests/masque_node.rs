//! Tunnels over HTTP/2 with Node's `http2` (nghttp2) at the other end, as client and as server: `masque/node_*.mjs` say
//! what they do.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use vestibule_engine::masque::capsule::RequestedAddress;
use vestibule_engine::masque::ip::{Role, Scope};
use vestibule_engine::masque::request::{Credentials, Outgoing, Target, UriTemplate};
use vestibule_engine::masque::session::tls;
use vestibule_engine::masque::stream::{News, Origin, SendError, Stream, StreamSettings, TunnelError};
use vestibule_platform::carrier::{
    Arrival, CarrierError, Inbox, Line, LineEnd, Outbox, Server, ServerSettings, Settings, connect, dial,
};
use vestibule_platform::wait::{Bell, Interest, wait};
use vestibule_tests::house::Room;
use vestibule_tests::masque::{GATEWAY, corpus, echo, identity, malformed, numbered, ping, script, template, trust};
use vestibule_tests::process::Process;

const LIMIT: Duration = Duration::from_secs(60);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn line(role: Role, outbox: Outbox) -> Line {
    Line::new(Stream::new(role, Scope::all(), StreamSettings::default(), Instant::now()), outbox)
}

/// A gateway that gives everybody 10.0.0.1 and sends every packet back.
struct Echo {
    lines: BTreeMap<u64, (Line, VecDeque<Vec<u8>>)>,
    ends: Vec<LineEnd>,
}

impl Echo {
    fn opened(&mut self, key: u64, outbox: Outbox) {
        let mut line = line(Role::Gateway, outbox);
        line.stream().advertise(Scope::all().routes(true, false)).unwrap();
        line.flush();
        self.lines.insert(key, (line, VecDeque::new()));
    }

    fn arrived(&mut self, Arrival { key, input, .. }: Arrival) {
        let Some((line, back)) = self.lines.get_mut(&key) else { return };
        let end = line.handle(input, Instant::now()).err();
        let give = |_: &RequestedAddress| "10.0.0.1/32".parse().ok();
        while let Some(news) = line.stream().poll_news() {
            if let News::AddressesRequested(requests) = news {
                line.stream().answer_addresses(&requests, give).unwrap();
            }
        }
        back.extend(std::iter::from_fn(|| line.stream().poll_packet()).map(|packet| echo(&packet)));
        // What finds no room waits: nothing may be lost here.
        while let Some(packet) = back.front_mut() {
            match line.stream().send(packet, Origin::Local) {
                Ok(()) => drop(back.pop_front()),
                Err(error) => {
                    assert!(matches!(error, SendError::Full | SendError::NotOpen), "{error}");
                    break;
                }
            }
        }
        line.flush();
        if let Some(end) = end {
            self.ends.push(end);
            self.lines.remove(&key);
        }
    }
}

#[test]
fn r2_r7_a_node_client_has_a_tunnel_and_its_malformed_capsules_are_refused() {
    if !vestibule_tests::required("r2_r7_a_node_client_has_a_tunnel_and_its_malformed_capsules_are_refused") {
        return;
    }
    let room = Room::new("node-client");
    let own = identity(&room, "gateway");
    let client = identity(&room, "client").chain[0].clone();
    let runtime = runtime();
    let (server, mut requests) =
        Server::new(Arc::new(tls::server(own).unwrap()), vec![template()], ServerSettings::default()).unwrap();
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime.spawn(async move { server.serve(&listener).await });

    let bell = Bell::new().unwrap();
    let inbox = Inbox::new(bell.clone());
    let (opened, opening) = mpsc::channel();
    let (address, ringing) = (inbox.address().clone(), bell.clone());
    runtime.spawn(async move {
        let mut key = 0;
        while let Some(request) = requests.recv().await {
            assert_eq!(*request.certificates, *std::slice::from_ref(&client));
            assert!(
                matches!(&request.incoming.credentials, Credentials::Bearer(token) if **token == "of-the-interop-tests")
            );
            let outbox = request.accept(&address, key).unwrap();
            opened.send((key, outbox)).unwrap();
            ringing.ring();
            key += 1;
        }
    });

    let mut command = Command::new("node");
    command.arg(script("node_client.mjs")).arg(port.to_string()).arg(&room.0).arg(corpus());
    let mut node = Process::start(&mut command, room.0.join("node.log"));
    let mut gateway = Echo { lines: BTreeMap::new(), ends: Vec::new() };
    let (mut held, mut known) = (Vec::new(), 0);
    let start = Instant::now();
    let ended = loop {
        if let Some(success) = node.ended() {
            break success;
        }
        assert!(start.elapsed() < LIMIT, "Node said: {}", node.said());
        wait(&bell, &Interest::default(), Some(Duration::from_millis(50))).unwrap();
        held.extend(inbox.drain());
        while let Ok((key, outbox)) = opening.try_recv() {
            gateway.opened(key, outbox);
            known = key + 1;
        }
        // A stream may bring something before its opening is seen.
        for arrival in std::mem::take(&mut held) {
            if arrival.key < known { gateway.arrived(arrival) } else { held.push(arrival) }
        }
    };
    assert!(ended, "Node said: {}", node.said());
    print!("{}", node.said());
    let broken = gateway.ends.iter().filter(|end| matches!(end, LineEnd::Broken(TunnelError::Capsules(_)))).count();
    assert_eq!(broken, malformed().into_iter().filter(|malformed| *malformed).count(), "{:?}", gateway.ends);
}

/// Our client with Node's server.
struct Client {
    runtime: Runtime,
    inbox: Inbox,
    bell: Bell,
    remote: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
}

impl Client {
    fn open(&self, template: &UriTemplate, key: u64) -> Result<Line, CarrierError> {
        let outgoing = Outgoing::new(template, &Target::Any, None, Credentials::None);
        let name = GATEWAY.try_into().unwrap();
        let settings = Settings::default();
        let outbox = self.runtime.block_on(async {
            let io = dial(self.remote, None, &settings).await?;
            connect(io, Arc::clone(&self.tls), name, &outgoing, settings, self.inbox.address(), key).await
        })?;
        Ok(line(Role::Client, outbox))
    }

    /// Handles what arrives until `done`.
    fn until<T>(&self, line: &mut Line, key: u64, mut done: impl FnMut(&mut Line, Option<LineEnd>) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            let mut end = None;
            for arrival in self.inbox.drain().filter(|arrival| arrival.key == key) {
                end = line.handle(arrival.input, Instant::now()).err();
            }
            if let Some(result) = done(line, end) {
                return result;
            }
            assert!(start.elapsed() < LIMIT, "nothing happens: {line:?}");
            wait(&self.bell, &Interest::default(), Some(Duration::from_millis(50))).unwrap();
        }
    }
}

#[test]
fn c4_a_node_gateway_has_our_tunnel_and_its_malformed_capsules_are_refused() {
    const BULK: u32 = 3000;
    if !vestibule_tests::required("c4_a_node_gateway_has_our_tunnel_and_its_malformed_capsules_are_refused") {
        return;
    }
    let room = Room::new("node-server");
    let trust = trust(&identity(&room, "gateway"));
    let mut command = Command::new("node");
    command.arg(script("node_server.mjs")).arg(&room.0).arg(corpus());
    let mut node = Process::start(&mut command, room.0.join("node.log"));
    let log = node.log().to_owned();
    let port = node.ready_port("Node's server");
    let bell = Bell::new().unwrap();
    let client = Client {
        runtime: runtime(),
        inbox: Inbox::new(bell.clone()),
        bell,
        remote: (Ipv4Addr::LOCALHOST, port).into(),
        tls: Arc::new(tls::client(trust, None).unwrap()),
    };

    let mut line = client.open(&template(), 0).unwrap();
    line.stream().request_addresses(&["0.0.0.0/32".parse().unwrap()]).unwrap();
    line.flush();
    let mut news = Vec::new();
    client.until(&mut line, 0, |line, _| {
        news.extend(std::iter::from_fn(|| line.stream().poll_news()));
        (news.len() == 2).then_some(())
    });
    assert!(matches!(&news[..], [News::RoutesAdvertised(_), News::Assigned(changes)] if changes.added.len() == 1));
    for n in 1..=5 {
        let request = ping(n);
        line.stream().send(&mut request.clone(), Origin::Local).unwrap();
        line.flush();
        assert_eq!(client.until(&mut line, 0, |line, _| line.stream().poll_packet()), echo(&request));
    }
    let (mut sent, mut got) = (0, 0);
    client.until(&mut line, 0, |line, _| {
        while let Some(packet) = line.stream().poll_packet() {
            assert_eq!(packet, echo(&numbered(got, 1300)));
            got += 1;
        }
        // As much as there is room for.
        while sent < BULK && line.stream().send(&mut numbered(sent, 1300), Origin::Local).is_ok() {
            sent += 1;
        }
        line.flush();
        (got == BULK).then_some(())
    });
    line.close();
    node.wait_for("the end of the tunnel", LIMIT, || {
        std::fs::read_to_string(&log).unwrap().contains("tunnel: closed with 0").then_some(())
    });

    let lines = malformed();
    for (n, malformed) in lines.iter().enumerate() {
        let template = UriTemplate::parse(&format!("https://{GATEWAY}/bad/{n}")).unwrap();
        let mut line = client.open(&template, 1 + n as u64).unwrap();
        let end = client.until(&mut line, 1 + n as u64, |_, end| end);
        let right = if *malformed {
            matches!(end, LineEnd::Broken(TunnelError::Capsules(_)))
        } else {
            matches!(end, LineEnd::Ended)
        };
        assert!(right, "line {n}: {end:?}");
        let told = format!("bad {n}: reset with {}", u8::from(*malformed));
        node.wait_for(&told, LIMIT, || std::fs::read_to_string(&log).unwrap().contains(&told).then_some(()));
    }
    println!("5 pings, {BULK} packets each way, {} streams of the corpus", lines.len());
}
