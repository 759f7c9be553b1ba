//! A device and a gateway in one process, joined by a lossless wire that the test can hold up.

use crate::ends::streams::Streams;
use crate::ends::{Batch, Wire};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use vestibule_engine::core::{Engine, EngineConfig, Event, MasqueServer, PeerId, PeerKind};
use vestibule_engine::generation::{
    GenerationConfig, GenerationId, HttpChoice, MasqueAsks, MasqueConfig, MasqueEnd, MasqueGateway, PrivateKey,
};
use vestibule_engine::masque::request::{Credentials, UriTemplate};
use vestibule_engine::masque::session::tls;
use vestibule_engine::packet::Transmit;
use vestibule_engine::policy::{Action, AddressSet, Clause, Policy, Rule};
use vestibule_engine::random::Seed;
use vestibule_engine::wireguard::SessionBackend;

pub(crate) const DEVICE: [u8; 4] = [100, 96, 0, 2];
pub(crate) const DIRECTORY: [u8; 4] = [10, 20, 0, 10];
pub(crate) const INTRANET: [u8; 4] = [10, 20, 0, 80];
pub(crate) const AT: PeerId = PeerId(1);

/// What the next generation travels over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    WireGuard,
    /// HTTP/3.
    Masque,
    /// HTTP/2.
    Http2,
    /// HTTP/3, or HTTP/2 where that does not get through.
    Either,
}

/// Flags of TCP.
pub(crate) const SYN: u8 = 0x02;
pub(crate) const SYN_ACK: u8 = 0x12;
pub(crate) const ACK: u8 = 0x10;

pub(crate) struct World {
    pub(crate) way: Way,
    /// The gateway's key, once it serves MASQUE.
    server_key: Option<Vec<u8>>,
    pub(crate) device: Engine,
    pub(crate) gateway: Engine,
    pub(crate) gateway_key: PrivateKey,
    pub(crate) now: Instant,
    pub(crate) seq: u64,
    /// Where the device is on the outer network; what is sent elsewhere is lost.
    pub(crate) device_at: SocketAddr,
    pub(crate) to_gateway: VecDeque<(SocketAddr, usize, Vec<u8>)>,
    pub(crate) to_device: VecDeque<(SocketAddr, usize, Vec<u8>)>,
    pub(crate) streams: Streams,
    /// No datagram gets through.
    pub(crate) udp_blocked: bool,
    /// Nor those that are longer and must arrive whole.
    pub(crate) path_mtu: usize,
    /// At which of the gateway's ports datagrams get through.
    pub(crate) port: u16,
    /// At which others the device may try.
    pub(crate) further: Vec<u16>,
    /// The newest certificate of the device's.
    client: CertificateDer<'static>,
    pub(crate) at_device: Vec<Vec<u8>>,
    pub(crate) at_gateway: Vec<Vec<u8>>,
    pub(crate) device_events: Vec<Event>,
    pub(crate) gateway_events: Vec<Event>,
}

pub(crate) fn policy(directory_only: bool) -> Arc<Policy> {
    let destinations = Some(Arc::new(AddressSet::new(["10.20.0.10/32".parse().unwrap()])));
    let allow = Rule { id: 1, action: Action::Allow, any: vec![Clause { destinations, ..Clause::default() }] };
    Arc::new(Policy::compile(vec![allow], if directory_only { Action::Block } else { Action::Allow }))
}

pub(crate) fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 51820))
}

/// The gateway at a port.
fn at(port: u16) -> SocketAddr {
    SocketAddr::new(address(1).ip(), port)
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with([SessionBackend::Native; 2])
    }

    /// A world whose generations travel over `way` until it is changed.
    pub(crate) fn over(way: Way) -> Self {
        Self { way, ..Self::new() }
    }

    /// Whose sessions the device and the gateway keep.
    pub(crate) fn with(backends: [SessionBackend; 2]) -> Self {
        let now = Instant::now();
        let gateway_key = PrivateKey::new([9; 32]);
        let config = |key: PrivateKey, backend| {
            let seed = Seed::new(*key.expose());
            EngineConfig { backend, ..EngineConfig::new(key, seed, SystemTime::now()) }
        };
        let mut device = Engine::new(config(PrivateKey::new([8; 32]), backends[0]), now);
        let mut gateway = Engine::new(config(gateway_key.clone(), backends[1]), now);
        device.set_peer(AT, PeerKind::Gateway, vec!["0.0.0.0/0".parse().unwrap()]);
        gateway.set_peer(AT, PeerKind::Device, vec!["100.96.0.2/32".parse().unwrap()]);
        Self {
            way: Way::WireGuard,
            server_key: None,
            device,
            gateway,
            gateway_key,
            now,
            seq: 0,
            device_at: address(2),
            to_gateway: VecDeque::new(),
            to_device: VecDeque::new(),
            streams: Streams::default(),
            udp_blocked: false,
            port: address(1).port(),
            further: Vec::new(),
            path_mtu: usize::MAX,
            client: CertificateDer::from(Vec::new()),
            at_device: Vec::new(),
            at_gateway: Vec::new(),
            device_events: Vec::new(),
            gateway_events: Vec::new(),
        }
    }

    /// Order and prepare at both ends; returns the new generation.
    pub(crate) fn order(&mut self, directory_only: bool) -> GenerationId {
        if self.way != Way::WireGuard {
            return self.order_masque(directory_only);
        }
        self.seq += 1;
        let key = PrivateKey::new([self.seq as u8 + 100; 32]);
        let id = GenerationId(self.seq);
        let make = |private: &PrivateKey, peer: &PrivateKey, endpoint| GenerationConfig {
            id,
            swap_seq: id.0,
            identity: "someone@example.com".into(),
            private_key: private.clone(),
            peer_public_key: peer.public(),
            preshared_key: None,
            endpoint,
            persistent_keepalive: None,
            policy: policy(directory_only),
            last_handshake: [0; 12],
            index: id.0 as u32 * 7,
        };
        let at_gateway = make(&self.gateway_key, &key, None);
        let at_device = make(&key, &self.gateway_key, Some(address(1)));
        self.gateway.prepare(AT, at_gateway, self.now).unwrap();
        self.device.prepare(AT, at_device, self.now).unwrap();
        self.device.set_further_endpoints(AT, id, self.elsewhere());
        id
    }

    fn order_masque(&mut self, directory_only: bool) -> GenerationId {
        self.seq += 1;
        let id = GenerationId(self.seq);
        let template = UriTemplate::well_known("gateway.example").unwrap();
        let further = self.elsewhere();
        let (gateway, now) = (&mut self.gateway, self.now);
        let server_key = self.server_key.get_or_insert_with(|| {
            let server = identity("gateway.example");
            let key = tls::public_key(&server.chain[0]).unwrap();
            let tls = Arc::new(tls::server(server).unwrap());
            gateway.serve_masque(MasqueServer { tls, templates: vec![template.clone()] }, now).unwrap();
            key
        });
        let client = identity("device");
        self.client = client.chain[0].clone();
        let choice = match self.way {
            Way::Http2 => HttpChoice::Http2Only,
            Way::Either => HttpChoice::Http3First,
            _ => HttpChoice::Http3Only,
        };
        let make = |end| MasqueConfig {
            id,
            swap_seq: id.0,
            identity: "someone@example.com".into(),
            policy: policy(directory_only),
            end,
        };
        let at_gateway =
            make(MasqueEnd::Gateway { client_key: tls::key_id(&tls::public_key(&client.chain[0]).unwrap()) });
        let trust = tls::Trust::Keys(vec![server_key.clone()]);
        let at_device = make(MasqueEnd::Device(Box::new(MasqueGateway {
            address: address(1),
            further,
            http2: vec![address(1)],
            choice,
            server_name: "gateway.example".to_owned(),
            tls: Arc::new(tls::client(trust, Some(client)).unwrap()),
            template,
            credentials: Credentials::None,
            addresses: vec!["100.96.0.2/32".parse().unwrap()],
            asks: MasqueAsks::default(),
        })));
        self.gateway.prepare_masque(AT, at_gateway, self.now).unwrap();
        self.device.prepare_masque(AT, at_device, self.now).unwrap();
        id
    }

    fn elsewhere(&self) -> Vec<SocketAddr> {
        self.further.iter().map(|port| at(*port)).collect()
    }

    pub(crate) fn flush(&mut self) {
        for transmit in self.device.transmits().batches() {
            if !self.udp_blocked && transmit.destination.port() == self.port {
                let passed = passed(&transmit, self.path_mtu);
                self.to_gateway.extend(passed.map(|bytes| (self.device_at, transmit.segment, bytes)));
            }
        }
        let all = self.device.transmits().len();
        self.device.transmits().release(all);
        for transmit in self.gateway.transmits().batches() {
            if transmit.destination == self.device_at && !self.udp_blocked {
                let passed = passed(&transmit, self.path_mtu);
                self.to_device.extend(passed.map(|bytes| (at(self.port), transmit.segment, bytes)));
            }
        }
        let all = self.gateway.transmits().len();
        self.gateway.transmits().release(all);
        for (engine, out) in [(&mut self.device, &mut self.at_device), (&mut self.gateway, &mut self.at_gateway)] {
            out.extend(engine.deliveries().frames().map(|frame| frame.pieces().collect::<Vec<_>>().concat()));
            engine.deliveries().clear();
        }
        while let Some(event) = self.device.poll_event() {
            self.device_events.push(event);
        }
        while let Some(event) = self.gateway.poll_event() {
            self.gateway_events.push(event);
        }
    }

    pub(crate) fn uplink(&mut self) {
        let batch = std::mem::take(&mut self.to_gateway);
        self.gateway.handle_datagrams(&mut Wire(batch, Vec::new()), self.now);
    }

    pub(crate) fn downlink(&mut self) {
        let batch = std::mem::take(&mut self.to_device);
        self.device.handle_datagrams(&mut Wire(batch, Vec::new()), self.now);
    }

    pub(crate) fn settle(&mut self) {
        loop {
            self.flush();
            let moved = self.streams.turn(&mut self.device, &mut self.gateway, &self.client, self.now);
            if self.to_gateway.is_empty() && self.to_device.is_empty() && !moved {
                return;
            }
            self.uplink();
            self.downlink();
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(10);
            self.device.handle_deadline(self.now);
            self.gateway.handle_deadline(self.now);
            self.settle();
        }
    }

    pub(crate) fn send_up(&mut self, packet: Vec<u8>) {
        self.device.handle_frames(&mut Batch([packet].into(), Vec::new()), self.now);
        self.flush();
    }

    pub(crate) fn send_down(&mut self, packet: Vec<u8>) {
        self.gateway.handle_frames(&mut Batch([packet].into(), Vec::new()), self.now);
        self.flush();
    }

    /// A full swap on a quiet wire.
    pub(crate) fn swap(&mut self, directory_only: bool) -> GenerationId {
        let id = self.order(directory_only);
        self.settle();
        self.device.commit(AT, id, self.now).unwrap();
        self.settle();
        assert_eq!((self.device.active(AT), self.gateway.active(AT)), (Some(id), Some(id)));
        id
    }
}

/// What of a batch is no longer than the path carries.
fn passed(transmit: &Transmit<'_>, path_mtu: usize) -> Option<Vec<u8>> {
    let passes = |datagram: &&[u8]| !transmit.whole || datagram.len() <= path_mtu;
    let passed: Vec<u8> = transmit.bytes().chunks(transmit.segment).filter(passes).flatten().copied().collect();
    (!passed.is_empty()).then_some(passed)
}

/// A certificate of its own and its P-256 key.
pub(crate) fn identity(name: &str) -> tls::Identity {
    let signed = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    tls::Identity { chain: vec![signed.cert.into()], key }
}

pub(crate) fn udp(from: [u8; 4], to: [u8; 4], ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 28 + payload.len()];
    let total = packet.len() as u16;
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet[8] = 64;
    packet[9] = 17;
    packet[12..16].copy_from_slice(&from);
    packet[16..20].copy_from_slice(&to);
    packet[20..22].copy_from_slice(&ports.0.to_be_bytes());
    packet[22..24].copy_from_slice(&ports.1.to_be_bytes());
    packet[24..26].copy_from_slice(&(total - 20).to_be_bytes());
    packet[28..].copy_from_slice(payload);
    packet
}

pub(crate) fn tcp(
    from: [u8; 4],
    to: [u8; 4],
    ports: (u16, u16),
    flags: u8,
    seq: u32,
    ack: u32,
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0; 40 + payload.len()];
    let total = packet.len() as u16;
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet[8] = 64;
    packet[9] = 6;
    packet[12..16].copy_from_slice(&from);
    packet[16..20].copy_from_slice(&to);
    packet[20..22].copy_from_slice(&ports.0.to_be_bytes());
    packet[22..24].copy_from_slice(&ports.1.to_be_bytes());
    packet[24..28].copy_from_slice(&seq.to_be_bytes());
    packet[28..32].copy_from_slice(&ack.to_be_bytes());
    packet[32] = 0x50;
    packet[33] = flags;
    packet[40..].copy_from_slice(payload);
    packet
}

/// Forbids that a packet is fragmented.
pub(crate) fn whole(mut packet: Vec<u8>) -> Vec<u8> {
    packet[6] |= 0x40;
    packet
}

pub(crate) fn up(payload: &[u8]) -> Vec<u8> {
    udp(DEVICE, DIRECTORY, (5000, 53), payload)
}

pub(crate) fn down(payload: &[u8]) -> Vec<u8> {
    udp(DIRECTORY, DEVICE, (53, 5000), payload)
}

pub(crate) fn is_rst(packet: &[u8]) -> bool {
    packet[9] == 6 && packet[33] & 4 != 0
}
