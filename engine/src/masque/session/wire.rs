//! Two endpoints and the network between them, in virtual time: seeded loss and reordering.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::masque::capsule::Routes;
use crate::masque::ip::Scope;
use crate::masque::request::{Credentials, Outgoing, Target, UriTemplate};
use crate::packet::Ecn;
use crate::random::Seed;
use bytes::{Bytes, BytesMut};
use ipnet::IpNet;
use quinn_proto::ConnectionHandle;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A certificate of its own and its P-256 key.
pub(super) fn identity(name: &str) -> tls::Identity {
    let signed = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    tls::Identity { chain: vec![signed.cert.into()], key }
}

pub(super) fn key_of(identity: &tls::Identity) -> Vec<u8> {
    tls::public_key(&identity.chain[0]).unwrap()
}

/// One of the two ends.
pub(super) struct Node {
    pub(super) endpoint: Endpoint,
    pub(super) address: SocketAddr,
    pub(super) events: Vec<Event>,
    pub(super) packets: Vec<(TunnelId, Bytes)>,
    /// ECN fields of what it sent.
    pub(super) marks: Vec<Ecn>,
    /// Where it sent last.
    pub(super) destination: Option<SocketAddr>,
    /// Longest datagram it sent.
    pub(super) longest: usize,
}

/// The network between the two.
pub(super) struct World {
    pub(super) client: Node,
    pub(super) gateway: Node,
    pub(super) now: Instant,
    /// One datagram of so many is lost.
    pub(super) loss: Option<u64>,
    /// Each takes this and, at random, up to as much again.
    pub(super) delay: Duration,
    pub(super) reorder: bool,
    /// Longer datagrams are lost.
    pub(super) path_mtu: usize,
    /// Bytes a second, and how many may wait for their turn; further ones are lost.
    pub(super) rate: Option<(u64, u64)>,
    /// When all that waits, to the gateway and to the client, is sent.
    busy_until: [Instant; 2],
    /// Arrival, number, to the gateway?
    flying: BTreeMap<(Instant, u64), (bool, Vec<u8>)>,
    number: u64,
    random: u64,
    pub(super) server_key: Vec<u8>,
    pub(super) client_certificate: Option<CertificateDer<'static>>,
}

pub(super) fn template() -> UriTemplate {
    UriTemplate::well_known("gateway.example").unwrap()
}

pub(super) fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

impl World {
    pub(super) fn new(seed: u64, settings: Settings) -> Self {
        let server = identity("gateway.example");
        let server_key = key_of(&server);
        let node = |address: &str, server: Option<Arc<rustls::ServerConfig>>, seed: u8| Node {
            endpoint: Endpoint::new(EndpointConfig {
                settings,
                server,
                templates: vec![template()],
                seed: Seed::new([seed; 32]),
            })
            .unwrap(),
            address: address.parse().unwrap(),
            events: Vec::new(),
            packets: Vec::new(),
            marks: Vec::new(),
            destination: None,
            longest: 0,
        };
        Self {
            client: node("192.0.2.2:50000", None, 1),
            gateway: node("192.0.2.1:443", Some(Arc::new(tls::server(server).unwrap())), 2),
            now: Instant::now(),
            loss: None,
            delay: Duration::from_millis(5),
            reorder: false,
            path_mtu: 1500 - 28,
            rate: None,
            busy_until: [Instant::now(); 2],
            flying: BTreeMap::new(),
            number: 0,
            random: seed,
            server_key,
            client_certificate: None,
        }
    }

    /// Steele's and Vigna's SplitMix64: good enough to lose packets by.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Begins a connection with a client certificate and the gateway's key pinned.
    pub(super) fn connect(&mut self) -> ConnectionHandle {
        let identity = identity("device");
        self.client_certificate = Some(identity.chain[0].clone());
        let tls = tls::client(tls::Trust::Keys(vec![self.server_key.clone()]), Some(identity)).unwrap();
        self.client.endpoint.connect(self.gateway.address, "gateway.example", Arc::new(tls), self.now).unwrap()
    }

    /// A tunnel with addresses and routes for everything, both ends' ids.
    pub(super) fn tunnel(&mut self) -> (TunnelId, TunnelId) {
        let connection = self.connect();
        self.tunnel_on(connection)
    }

    pub(super) fn tunnel_on(&mut self, connection: ConnectionHandle) -> (TunnelId, TunnelId) {
        let outgoing = Outgoing::new(&template(), &Target::Any, None, Credentials::None);
        let near = self.client.endpoint.open(connection, outgoing, Scope::all(), self.now).unwrap();
        let far = self.until(|world| {
            world.gateway.events.iter().find_map(|event| match event {
                Event::Requested(id, _) if id.stream == near.stream => Some(*id),
                _ => None,
            })
        });
        self.gateway.endpoint.accept(far, Scope::all(), self.now);
        self.client.endpoint.request_addresses(near, &nets(&["0.0.0.0/32", "::/128"]), self.now);
        let requests = self.until(|world| {
            world.gateway.events.iter().find_map(|event| match event {
                Event::AddressesRequested(id, requests) if *id == far => Some(requests.clone()),
                _ => None,
            })
        });
        let now = self.now;
        self.gateway.endpoint.answer_addresses(
            far,
            &requests,
            |request| if request.prefix.addr().is_ipv4() { "10.0.0.1/32" } else { "fd00::1/128" }.parse().ok(),
            now,
        );
        self.gateway.endpoint.advertise(far, everywhere(), now);
        self.until(|world| world.client.find(|event| matches!(event, Event::RoutesAdvertised(id, _) if *id == near)));
        (near, far)
    }

    /// Runs until `done` gives something; fails after a minute of the world's time.
    pub(super) fn until<T>(&mut self, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        let limit = self.now + Duration::from_secs(60);
        loop {
            self.settle();
            if let Some(result) = done(self) {
                return result;
            }
            assert!(self.now < limit, "client {:?}, gateway {:?}", self.client.events, self.gateway.events);
            assert!(self.step(), "nothing left to happen");
        }
    }

    /// Runs for so long.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let next = self.next();
            if next.is_none_or(|next| next > end) {
                self.now = end;
                return;
            }
            self.step();
        }
    }

    fn next(&self) -> Option<Instant> {
        let flying = self.flying.keys().next().map(|(at, _)| *at);
        let deadlines = [&self.client, &self.gateway].map(|node| node.endpoint.poll_deadline());
        flying.into_iter().chain(deadlines.into_iter().flatten()).min()
    }

    /// To the next thing that happens.
    fn step(&mut self) -> bool {
        let Some(next) = self.next() else { return false };
        self.now = self.now.max(next);
        while let Some(entry) = self.flying.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (to_gateway, bytes) = entry.remove();
            let source = if to_gateway { self.client.address } else { self.gateway.address };
            let node = if to_gateway { &mut self.gateway } else { &mut self.client };
            node.endpoint.handle_datagram(source, None, Ecn::NotEct, BytesMut::from(&bytes[..]), self.now);
        }
        for node in [&mut self.client, &mut self.gateway] {
            node.endpoint.settle(self.now);
            node.endpoint.handle_deadline(self.now);
        }
        true
    }

    /// Takes out of both ends what they have.
    pub(super) fn settle(&mut self) {
        for to_gateway in [true, false] {
            loop {
                let node = if to_gateway { &mut self.client } else { &mut self.gateway };
                let mut buffer = Vec::new();
                node.packets.extend(std::iter::from_fn(|| node.endpoint.poll_packet(self.now)));
                node.events.extend(std::iter::from_fn(|| node.endpoint.poll_event()));
                let Some(transmit) = node.endpoint.poll_transmit(&mut buffer, self.now) else { break };
                assert_eq!(buffer.len(), transmit.len);
                node.marks.push(transmit.ecn);
                node.destination = Some(transmit.destination);
                node.longest = node.longest.max(transmit.segment);
                for datagram in buffer.chunks(transmit.segment) {
                    self.fly(to_gateway, datagram);
                }
            }
        }
    }

    fn fly(&mut self, to_gateway: bool, datagram: &[u8]) {
        self.number += 1;
        let (fate, jitter) = (self.random(), self.random());
        let lost = self.loss.is_some_and(|one_of| fate.is_multiple_of(one_of));
        if lost || datagram.len() > self.path_mtu {
            return;
        }
        let mut sent = self.now;
        if let Some((rate, queue)) = self.rate {
            let busy_until = &mut self.busy_until[usize::from(to_gateway)];
            let took = |bytes: u64| Duration::from_nanos(bytes * 1_000_000_000 / rate);
            if busy_until.saturating_duration_since(self.now) > took(queue) {
                return;
            }
            *busy_until = self.now.max(*busy_until) + took(datagram.len() as u64);
            sent = *busy_until;
        }
        let extra = if self.reorder { self.delay.mul_f64((jitter % 1000) as f64 / 1000.0) } else { Duration::ZERO };
        self.flying.insert((sent + self.delay + extra, self.number), (to_gateway, datagram.to_vec()));
    }
}

impl Node {
    /// The first event of a kind.
    pub(super) fn find(&self, wanted: impl Fn(&Event) -> bool) -> Option<Event> {
        self.events.iter().find(|event| wanted(event)).cloned()
    }
}

/// Routes to everywhere.
pub(super) fn everywhere() -> Routes {
    Scope::all().routes(true, true)
}
