//! Two ends over memory or loopback, and a thread that moves packets at both: for tests.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::wait::{Bell, Interest, wait};
use bytes::Bytes;
use ipnet::IpNet;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::DuplexStream;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::Receiver;
use vestibule_engine::masque::ip::{Role, Scope};
use vestibule_engine::masque::request::{Credentials, Outgoing, Target, UriTemplate};
use vestibule_engine::masque::session::tls;
use vestibule_engine::masque::stream::{News, Origin, Stream, StreamSettings};

/// Generous: a machine that is busy with other things is no failure.
pub(super) const LIMIT: Duration = Duration::from_secs(60);
/// Where clients in memory come from.
pub(super) const NOWHERE: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 9));

pub(super) fn identity(name: &str) -> tls::Identity {
    let signed = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    tls::Identity { chain: vec![signed.cert.into()], key }
}

pub(super) fn template() -> UriTemplate {
    UriTemplate::well_known("gateway.example").unwrap()
}

pub(super) fn outgoing() -> Outgoing {
    Outgoing::new(&template(), &Target::Any, None, Credentials::None)
}

pub(super) fn server_name() -> ServerName<'static> {
    ServerName::try_from("gateway.example").unwrap()
}

pub(super) fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// An IPv4 packet of protocol 253 with its checksum.
pub(super) fn packet(source: [u8; 4], destination: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x45, 0, len[0], len[1], 0, 0, 0x40, 0, 64, 253, 0, 0];
    packet.extend(source.into_iter().chain(destination));
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(payload);
    packet
}

pub(super) const CLIENT: [u8; 4] = [10, 0, 0, 1];
pub(super) const FAR: [u8; 4] = [203, 0, 113, 5];

/// One end of a tunnel.
pub(super) struct End {
    pub(super) line: Line,
    pub(super) packets: Vec<Bytes>,
    pub(super) news: Vec<News>,
    pub(super) end: Option<LineEnd>,
}

impl End {
    fn new(role: Role, outbox: Outbox) -> Self {
        let stream = Stream::new(role, Scope::all(), StreamSettings::default(), Instant::now());
        Self { line: Line::new(stream, outbox), packets: Vec::new(), news: Vec::new(), end: None }
    }

    pub(super) fn gateway(outbox: Outbox) -> Self {
        Self::new(Role::Gateway, outbox)
    }

    pub(super) fn send(&mut self, mut packet: Vec<u8>) {
        self.line.stream().send(&mut packet, Origin::Local).unwrap();
        self.line.flush();
    }

    pub(super) fn take(&mut self, input: Input) {
        if let Err(end) = self.line.handle(input, Instant::now()) {
            self.end.get_or_insert(end);
        }
        self.news.extend(std::iter::from_fn(|| self.line.stream().poll_news()));
        self.packets.extend(std::iter::from_fn(|| self.line.stream().poll_packet()));
    }
}

/// A server, its runtime, and one inbox for all ends there are.
pub(super) struct World {
    pub(super) runtime: Runtime,
    pub(super) server: Server,
    pub(super) requests: Receiver<Request>,
    pub(super) server_key: Vec<u8>,
    pub(super) settings: Settings,
    pub(super) inbox: Inbox,
    pub(super) bell: Bell,
    pub(super) ends: Vec<End>,
}

impl World {
    pub(super) fn new(settings: ServerSettings) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let own = identity("gateway.example");
        let server_key = tls::public_key(&own.chain[0]).unwrap();
        let (server, requests) = Server::new(Arc::new(tls::server(own).unwrap()), vec![template()], settings).unwrap();
        let bell = Bell::new().unwrap();
        let inbox = Inbox::new(bell.clone());
        let settings = settings.settings;
        Self { runtime, server, requests, server_key, settings, inbox, bell, ends: Vec::new() }
    }

    pub(super) fn client_tls(&self, identity: Option<tls::Identity>) -> Arc<rustls::ClientConfig> {
        Arc::new(tls::client(tls::Trust::Keys(vec![self.server_key.clone()]), identity).unwrap())
    }

    /// A connection in memory whose other end the server has.
    pub(super) fn wire(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(256 << 10);
        let _inside = self.runtime.enter();
        self.server.take(far, NOWHERE);
        near
    }

    /// What `connect` comes to while nobody answers requests but `answer`.
    pub(super) fn ask(
        &mut self,
        outgoing: &Outgoing,
        identity: Option<tls::Identity>,
        answer: impl FnOnce(Request),
    ) -> Result<Outbox, CarrierError> {
        let (io, tls) = (self.wire(), self.client_tls(identity));
        let key = self.ends.len() as u64;
        let connecting = connect(io, tls, server_name(), outgoing, self.settings, self.inbox.address(), key);
        self.runtime.block_on(async {
            let answering = async {
                if let Some(request) = self.requests.recv().await {
                    answer(request);
                }
                std::future::pending::<()>().await
            };
            tokio::select! {
                result = connecting => result,
                () = answering => unreachable!(),
            }
        })
    }

    /// A tunnel over `io` with addresses and routes; the numbers of its ends.
    pub(super) fn tunnel_over<T>(&mut self, io: T) -> (usize, usize)
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (near, far) = (self.ends.len(), self.ends.len() + 1);
        let (tls, outgoing) = (self.client_tls(None), outgoing());
        let address = self.inbox.address();
        let connecting = connect(io, tls, server_name(), &outgoing, self.settings, address, near as u64);
        let (client, gateway) = self.runtime.block_on(async {
            tokio::join!(connecting, async { self.requests.recv().await.unwrap().accept(address, far as u64) })
        });
        self.ends.push(End::new(Role::Client, client.unwrap()));
        self.ends.push(End::new(Role::Gateway, gateway.unwrap()));
        self.furnish(near, far);
        (near, far)
    }

    fn furnish(&mut self, near: usize, far: usize) {
        let line = &mut self.ends[far].line;
        line.stream().assign(&nets(&["10.0.0.1/32"])).unwrap();
        line.stream().advertise(Scope::all().routes(true, false)).unwrap();
        line.flush();
        self.until(|world| (world.ends[near].news.len() >= 2).then_some(()));
    }

    pub(super) fn tunnel(&mut self) -> (usize, usize) {
        let io = self.wire();
        self.tunnel_over(io)
    }

    /// Moves what there is until `done` gives something.
    pub(super) fn until<T>(&mut self, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            let arrivals: Vec<_> = self.inbox.drain().collect();
            for Arrival { key, input } in arrivals {
                self.ends[key as usize].take(input);
            }
            if let Some(result) = done(self) {
                return result;
            }
            let ends: Vec<_> = self.ends.iter().map(|end| &end.end).collect();
            assert!(start.elapsed() < LIMIT, "nothing happens; ends: {ends:?}, server: {:?}", self.server.counters());
            wait(&self.bell, &Interest::default(), Some(Duration::from_millis(100))).unwrap();
        }
    }

    /// How an end ended.
    pub(super) fn ended(&mut self, number: usize) -> LineEnd {
        self.until(|world| world.ends[number].end.clone())
    }
}
