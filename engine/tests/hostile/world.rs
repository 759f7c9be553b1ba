//! The gateway, the devices, the wire between them.

use super::h3;
use super::raw::{Raw, transport};
use crate::ends::world::{DIRECTORY, address, identity, policy, udp};
use crate::ends::{Batch, Wire};
use quinn_proto::TransportConfig;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use vestibule_engine::core::{Engine, EngineConfig, MasqueServer, PeerId, PeerKind};
use vestibule_engine::generation::{GenerationId, HttpChoice, MasqueConfig, MasqueEnd, MasqueGateway, PrivateKey};
use vestibule_engine::masque::request::Credentials;
use vestibule_engine::masque::session::tls;
use vestibule_engine::packet::{Datagram, Datagrams, Ecn, Frame, Frames, Offload};
use vestibule_engine::random::Seed;

/// A device that behaves.
pub(crate) struct Device {
    pub(crate) engine: Engine,
    pub(crate) address: SocketAddr,
    pub(crate) inner: [u8; 4],
    got: Vec<Vec<u8>>,
}

pub(crate) struct World {
    pub(crate) gateway: Engine,
    pub(crate) now: Instant,
    pub(crate) server_key: Vec<u8>,
    pub(crate) devices: Vec<Device>,
    pub(crate) raws: BTreeMap<SocketAddr, Raw>,
    /// What came out at the gateway's adapter.
    pub(crate) delivered: Vec<Vec<u8>>,
    /// Datagrams of the gateway's to addresses where nobody is.
    pub(crate) unheard: Vec<(SocketAddr, usize)>,
    /// Bytes that this thread holds.
    counter: fn() -> isize,
    /// Bytes that the gateway holds, beyond what it had at first.
    pub(crate) held: isize,
    /// Most of them so far.
    pub(crate) most_held: isize,
    number: u16,
    /// What the last awaited client shows, and its inner address.
    pub(crate) tls_of: Option<rustls::ClientConfig>,
    pub(crate) inner: [u8; 4],
    /// How routers mark what is on its way to the gateway.
    pub(crate) mark: Ecn,
}

/// What is lent to the gateway lives until it has returned: else its memory would be counted as what the gateway freed.
struct Lent(Vec<(SocketAddr, Vec<u8>)>, usize, Ecn);

impl Datagrams for Lent {
    fn next_datagram(&mut self) -> Option<Datagram<'_>> {
        let (source, bytes) = self.0.get_mut(self.1)?;
        self.1 += 1;
        Some(Datagram { stride: bytes.len(), bytes, source: *source, ecn: self.2 })
    }
}

impl Frames for Lent {
    fn next_frame(&mut self) -> Option<Frame<'_>> {
        let (_, bytes) = self.0.get_mut(self.1)?;
        self.1 += 1;
        Some(Frame { bytes, offload: Offload::default() })
    }
}

fn engine(number: u16, now: Instant) -> Engine {
    let mut seed = [9; 32];
    seed[1..3].copy_from_slice(&number.to_be_bytes());
    let config = EngineConfig::new(PrivateKey::new(seed), Seed::new(seed), SystemTime::now());
    Engine::new(EngineConfig { max_flows: 1024, ..config }, now)
}

/// Where a client with an inner address is.
fn outside(number: u16) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    SocketAddr::from(([172, 16, high, low], 40_000))
}

impl World {
    /// A gateway with one device. `counter` gives the bytes that this thread holds, if somebody counts them.
    pub(crate) fn new(counter: fn() -> isize) -> Self {
        let now = Instant::now();
        let mut gateway = engine(u16::MAX, now);
        let server = identity("gateway.example");
        let server_key = tls::public_key(&server.chain[0]).unwrap();
        let tls = Arc::new(tls::server(server).unwrap());
        gateway.serve_masque(MasqueServer { tls, templates: vec![h3::template()] }, now).unwrap();
        let mut world = Self {
            gateway,
            now,
            server_key,
            devices: Vec::new(),
            raws: BTreeMap::new(),
            delivered: Vec::new(),
            unheard: Vec::new(),
            counter,
            held: 0,
            most_held: 0,
            number: 1,
            tls_of: None,
            inner: [0; 4],
            mark: Ecn::NotEct,
        };
        world.add_device();
        world.undisturbed();
        world
    }

    /// Does something to the gateway, and counts what it keeps, but for the buffers of its socket, which are a fixed
    /// number for all. `act` must give nothing that it allocated.
    pub(crate) fn at_gateway<T>(&mut self, act: impl FnOnce(&mut Engine, Instant) -> T) -> T {
        let before = (self.counter)();
        let spare = self.gateway.transmits().capacity() as isize;
        let result = act(&mut self.gateway, self.now);
        self.held -= self.gateway.transmits().capacity() as isize - spare;
        self.held += (self.counter)() - before;
        self.most_held = self.most_held.max(self.held);
        result
    }

    /// A place for one more client: its number, and its inner address.
    fn place(&mut self) -> (u16, [u8; 4]) {
        self.number += 1;
        let [high, low] = self.number.to_be_bytes();
        (self.number, [100, 96, high, low])
    }

    /// Has the gateway await a client with this key.
    fn admit(&mut self, number: u16, inner: [u8; 4], chain: &tls::Identity) {
        let client_key = tls::key_id(&tls::public_key(&chain.chain[0]).unwrap());
        let peer = PeerId(number.into());
        let id = GenerationId(number.into());
        let config = MasqueConfig {
            id,
            swap_seq: 1,
            identity: "someone@example.com".into(),
            policy: policy(false),
            end: MasqueEnd::Gateway { client_key },
        };
        self.at_gateway(|gateway, now| {
            gateway.set_peer(
                peer,
                PeerKind::Device,
                vec![ipnet::Ipv4Net::from(std::net::Ipv4Addr::from(inner)).into()],
            );
            gateway.prepare_masque(peer, config, now).unwrap();
        });
    }

    /// One more device, with its tunnel.
    pub(crate) fn add_device(&mut self) {
        let (number, inner) = self.place();
        let identity = identity("device");
        self.admit(number, inner, &identity);
        let mut engine = engine(number, self.now);
        engine.set_peer(PeerId(0), PeerKind::Gateway, vec!["0.0.0.0/0".parse().unwrap()]);
        let trust = tls::Trust::Keys(vec![self.server_key.clone()]);
        let end = MasqueEnd::Device(Box::new(MasqueGateway {
            address: address(1),
            further: Vec::new(),
            http2: Vec::new(),
            choice: HttpChoice::Http3Only,
            server_name: "gateway.example".to_owned(),
            tls: Arc::new(tls::client(trust, Some(identity)).unwrap()),
            template: h3::template(),
            credentials: Credentials::None,
            addresses: vec![ipnet::Ipv4Net::from(std::net::Ipv4Addr::from(inner)).into()],
            asks: vestibule_engine::generation::MasqueAsks::default(),
        }));
        let id = GenerationId(number.into());
        let config =
            MasqueConfig { id, swap_seq: 1, identity: "someone@example.com".into(), policy: policy(false), end };
        engine.prepare_masque(PeerId(0), config, self.now).unwrap();
        self.devices.push(Device { engine, address: outside(number), inner, got: Vec::new() });
        self.settle();
        let now = self.now;
        self.devices.last_mut().unwrap().engine.commit(PeerId(0), id, now).unwrap();
        self.settle();
        assert_eq!(self.gateway.active(PeerId(number.into())), Some(id));
    }

    /// TLS of a client that believes the gateway.
    pub(crate) fn tls(&self, identity: Option<tls::Identity>) -> rustls::ClientConfig {
        tls::client(tls::Trust::Keys(vec![self.server_key.clone()]), identity).unwrap()
    }

    /// A client with a key that the gateway awaits, connected, its settings sent; gives where it is.
    pub(crate) fn raw(&mut self) -> SocketAddr {
        self.raw_with(transport())
    }

    pub(crate) fn raw_with(&mut self, transport: TransportConfig) -> SocketAddr {
        let (number, inner) = self.place();
        let identity = identity("device");
        self.admit(number, inner, &identity);
        let tls = self.tls(Some(identity));
        (self.tls_of, self.inner) = (Some(tls.clone()), inner);
        self.connect(outside(number), tls, transport)
    }

    /// A client anywhere with any TLS, as far as it gets; its settings are sent.
    pub(crate) fn connect(
        &mut self,
        at: SocketAddr,
        tls: rustls::ClientConfig,
        transport: TransportConfig,
    ) -> SocketAddr {
        self.quiet_with(at, tls, transport);
        let raw = self.at(at);
        if raw.connected && raw.lost.is_none() {
            raw.uni(&h3::control());
            self.settle();
        }
        at
    }

    /// The same, without settings.
    pub(crate) fn quiet(&mut self, at: SocketAddr, tls: rustls::ClientConfig) -> SocketAddr {
        self.quiet_with(at, tls, transport())
    }

    fn quiet_with(&mut self, at: SocketAddr, tls: rustls::ClientConfig, transport: TransportConfig) -> SocketAddr {
        let raw = Raw::connect((at, address(1)), tls, transport, self.now);
        self.raws.insert(at, raw);
        self.settle();
        at
    }

    pub(crate) fn at(&mut self, at: SocketAddr) -> &mut Raw {
        self.raws.get_mut(&at).unwrap()
    }

    /// A client that the gateway awaits, with an open tunnel: where it is, and the tunnel's stream.
    pub(crate) fn tunnel(&mut self) -> (SocketAddr, u64) {
        let at = self.raw();
        self.tunnel_of(at)
    }

    pub(crate) fn tunnel_of(&mut self, at: SocketAddr) -> (SocketAddr, u64) {
        let stream = self.at(at).bidi(&h3::request());
        self.settle();
        (at, stream)
    }

    /// Gives the gateway datagrams, all at once.
    pub(crate) fn flood(&mut self, datagrams: impl IntoIterator<Item = (SocketAddr, Vec<u8>)>) {
        let mut lent = Lent(datagrams.into_iter().collect(), 0, self.mark);
        self.at_gateway(|gateway, now| gateway.handle_datagrams(&mut lent, now));
    }

    /// Gives the gateway packets for its devices, all at once.
    pub(crate) fn send_down(&mut self, packets: Vec<Vec<u8>>) {
        let mut lent = Lent(packets.into_iter().map(|packet| (address(1), packet)).collect(), 0, Ecn::NotEct);
        self.at_gateway(|gateway, now| gateway.handle_frames(&mut lent, now));
    }

    /// Carries datagrams until there are none.
    pub(crate) fn settle(&mut self) {
        loop {
            let down = self.sent_by_gateway();
            let mut moved = !down.is_empty();
            for (to, bytes) in down {
                let mut wire = Wire([(address(1), bytes.len(), bytes)].into(), Vec::new());
                if let Some(device) = self.devices.iter_mut().find(|device| device.address == to) {
                    device.engine.handle_datagrams(&mut wire, self.now);
                } else if let Some(raw) = self.raws.get_mut(&to) {
                    raw.receive(address(1), &wire.0[0].2, self.now);
                } else {
                    self.unheard.push((to, wire.0[0].1));
                }
            }
            let mut up = VecDeque::new();
            for device in &mut self.devices {
                for batch in device.engine.transmits().batches() {
                    up.extend(batch.bytes().chunks(batch.segment).map(|bytes| (device.address, bytes.to_vec())));
                }
                device.engine.transmits().release(usize::MAX);
                device.got.extend(device.engine.deliveries().frames().map(|f| f.pieces().collect::<Vec<_>>().concat()));
                device.engine.deliveries().clear();
                while device.engine.poll_event().is_some() {}
            }
            for raw in self.raws.values_mut() {
                let address = raw.address;
                up.extend(raw.transmit(self.now).into_iter().map(|bytes| (address, bytes)));
            }
            moved |= !up.is_empty();
            for datagram in up {
                self.flood([datagram]);
            }
            if !moved {
                return;
            }
        }
    }

    /// What the gateway has to send; what it delivers is kept.
    pub(crate) fn sent_by_gateway(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut down = Vec::new();
        for batch in self.gateway.transmits().batches() {
            down.extend(batch.bytes().chunks(batch.segment).map(|bytes| (batch.destination, bytes.to_vec())));
        }
        let frames = self.gateway.deliveries().frames().map(|frame| frame.pieces().collect::<Vec<_>>().concat());
        self.delivered.extend(frames);
        self.at_gateway(|gateway, _| {
            gateway.transmits().release(usize::MAX);
            gateway.deliveries().clear();
            while gateway.poll_event().is_some() {}
        });
        down
    }

    /// Lets time pass, from one deadline to the next.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let devices = self.devices.iter().filter_map(|device| device.engine.poll_deadline());
            let raws = self.raws.values_mut().filter_map(Raw::deadline);
            let next = self.gateway.poll_deadline().into_iter().chain(devices).chain(raws).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = next.max(self.now + Duration::from_micros(100));
            let now = self.now;
            self.at_gateway(|gateway, now| gateway.handle_deadline(now));
            self.devices.iter_mut().for_each(|device| device.engine.handle_deadline(now));
            self.raws.values_mut().for_each(|raw| raw.handle_deadline(now));
        }
    }

    /// Every device's packets arrive, both ways, without time passing.
    pub(crate) fn undisturbed(&mut self) {
        self.delivered.clear();
        let mut up = Vec::new();
        for device in &mut self.devices {
            device.got.clear();
            for n in 0..10 {
                let packet = udp(device.inner, DIRECTORY, (5000, 53), &[n; 900]);
                up.push(packet.clone());
                device.engine.handle_frames(&mut Batch([packet].into(), Vec::new()), self.now);
            }
        }
        self.settle();
        self.delivered.retain(|packet| up.contains(packet));
        assert_eq!(self.delivered.len(), up.len(), "packets of devices have arrived");
        for number in 0..self.devices.len() {
            let packets: Vec<_> =
                (0..10).map(|n| udp(DIRECTORY, self.devices[number].inner, (53, 5000), &[n; 900])).collect();
            self.send_down(packets.clone());
            self.settle();
            assert!(self.devices[number].got == packets, "packets for devices have arrived");
        }
    }
}
