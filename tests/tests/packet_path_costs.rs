//! What the packet path costs, counted: it allocates nothing once it is warm, and copies no more than it says.
#![allow(clippy::unwrap_used, missing_docs)]

use bytes::BytesMut;
use rustls::pki_types::PrivateKeyDer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use vestibule_counting::allocations;
use vestibule_engine::core::{Engine, EngineConfig, MasqueServer, PeerId, PeerKind};
use vestibule_engine::generation::{
    GenerationConfig, GenerationId, HttpChoice, MasqueAsks, MasqueConfig, MasqueEnd, MasqueGateway, PrivateKey,
};
use vestibule_engine::masque::request::Credentials;
use vestibule_engine::masque::session::tls;
use vestibule_engine::packet::{Datagram, Datagrams, Ecn, Frame, Frames, GivenDatagram, Gso, Offload};
use vestibule_engine::policy::{Action, Policy};
use vestibule_engine::random::Seed;
use vestibule_tests::masque::{GATEWAY, template, trust};

#[global_allocator]
static ALLOCATOR: vestibule_counting::Counting = vestibule_counting::Counting;

const PEER: PeerId = PeerId(1);
const SUPER_PACKET: usize = 40 + 40 * 1380;
/// Allocations for each 40 packets over MASQUE, both ends.
const MASQUE_ALLOCATIONS: usize = 24;

/// A reused TCP super-packet of 40 segments.
struct SuperPacket<'a>(&'a mut [u8], bool);

impl Frames for SuperPacket<'_> {
    fn next_frame(&mut self) -> Option<Frame<'_>> {
        std::mem::take(&mut self.1).then_some(Frame {
            bytes: self.0,
            offload: Offload { gso: Some(Gso::Tcp { size: 1380 }), checksum: Some((20, 16)) },
        })
    }
}

struct Lone<'a>(Option<&'a mut [u8]>, Offload);

impl Frames for Lone<'_> {
    fn next_frame(&mut self) -> Option<Frame<'_>> {
        let bytes = self.0.take()?;
        Some(Frame { bytes, offload: self.1 })
    }
}

/// Reused GRO buffers, with a stride each.
type Buffers = Vec<(usize, BytesMut)>;
struct Received<'a>(&'a mut [(usize, BytesMut)], usize, usize, SocketAddr);

impl Datagrams for Received<'_> {
    fn next_datagram(&mut self) -> Option<Datagram<'_>> {
        let (stride, bytes) = self.0[..self.2].get_mut(self.1)?;
        self.1 += 1;
        Some(Datagram { bytes, stride: *stride, source: self.3, ecn: Ecn::NotEct })
    }

    fn give_datagram(&mut self, wanted: impl Fn(&[u8], usize) -> bool) -> Option<GivenDatagram> {
        let (stride, bytes) = self.0[..self.2].get_mut(self.1).filter(|(stride, bytes)| wanted(bytes, *stride))?;
        self.1 += 1;
        Some(GivenDatagram { bytes: bytes.split(), stride: *stride, source: self.3, ecn: Ecn::NotEct })
    }
}

fn super_packet(bytes: &mut [u8], seq: u32) {
    bytes[..40].fill(0);
    bytes[0] = 0x45;
    bytes[2..4].copy_from_slice(&(SUPER_PACKET as u16).to_be_bytes());
    bytes[8] = 64;
    bytes[9] = 6;
    bytes[12..16].copy_from_slice(&[100, 96, 0, 2]);
    bytes[16..20].copy_from_slice(&[10, 0, 0, 1]);
    bytes[20..22].copy_from_slice(&4000_u16.to_be_bytes());
    bytes[22..24].copy_from_slice(&445_u16.to_be_bytes());
    bytes[24..28].copy_from_slice(&seq.to_be_bytes());
    bytes[32] = 0x50;
    bytes[33] = 0x10;
}

struct Pair {
    device: Engine,
    gateway: Engine,
    buffers: Buffers,
    now: Instant,
}

/// The two engines, which know each other.
fn engines(now: Instant) -> (Engine, Engine) {
    let engine =
        |key: [u8; 32]| Engine::new(EngineConfig::new(PrivateKey::new(key), Seed::new(key), SystemTime::now()), now);
    let (mut device, mut gateway) = (engine([1; 32]), engine([2; 32]));
    device.set_peer(PEER, PeerKind::Gateway, vec!["0.0.0.0/0".parse().unwrap()]);
    gateway.set_peer(PEER, PeerKind::Device, vec!["100.96.0.2/32".parse().unwrap()]);
    (device, gateway)
}

fn allow() -> Arc<Policy> {
    Arc::new(Policy::compile(Vec::new(), Action::Allow))
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        let (device_key, gateway_key) = (PrivateKey::new([1; 32]), PrivateKey::new([2; 32]));
        let (mut device, mut gateway) = engines(now);
        let make = |key: &PrivateKey, peer: &PrivateKey, endpoint| GenerationConfig {
            id: GenerationId(1),
            swap_seq: 1,
            identity: "user@example.com".into(),
            private_key: key.clone(),
            peer_public_key: peer.public(),
            preshared_key: None,
            endpoint,
            persistent_keepalive: None,
            policy: allow(),
            last_handshake: [0; 12],
            index: 5,
        };
        gateway.prepare(PEER, make(&gateway_key, &device_key, None), now).unwrap();
        device.prepare(PEER, make(&device_key, &gateway_key, Some(address(1))), now).unwrap();
        Self::standing(device, gateway, now)
    }

    fn over_masque() -> Self {
        let now = Instant::now();
        let [server, client] = [GATEWAY, "device"].map(|name| {
            let signed = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
            let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
            tls::Identity { chain: vec![signed.cert.into()], key }
        });
        let (mut device, mut gateway) = engines(now);
        for engine in [&mut device, &mut gateway] {
            engine.set_mtu(1420);
        }
        let client_key = tls::key_id(&tls::public_key(&client.chain[0]).unwrap());
        let make = |end| MasqueConfig {
            id: GenerationId(1),
            swap_seq: 1,
            identity: "user@example.com".into(),
            policy: allow(),
            end,
        };
        let to_gateway = MasqueEnd::Device(Box::new(MasqueGateway {
            address: address(1),
            further: Vec::new(),
            http2: Vec::new(),
            choice: HttpChoice::Http3Only,
            server_name: GATEWAY.to_owned(),
            tls: Arc::new(tls::client(trust(&server), Some(client)).unwrap()),
            template: template(),
            credentials: Credentials::None,
            addresses: vec!["100.96.0.2/32".parse().unwrap()],
            asks: MasqueAsks::default(),
        }));
        let tls = Arc::new(tls::server(server).unwrap());
        gateway.serve_masque(MasqueServer { tls, templates: vec![template()] }, now).unwrap();
        gateway.prepare_masque(PEER, make(MasqueEnd::Gateway { client_key }), now).unwrap();
        device.prepare_masque(PEER, make(to_gateway), now).unwrap();
        Self::standing(device, gateway, now)
    }

    /// Lets the tunnel come about.
    fn standing(device: Engine, gateway: Engine, now: Instant) -> Self {
        let buffers = (0..8).map(|_| (1, BytesMut::with_capacity(65_536))).collect();
        let mut pair = Self { device, gateway, buffers, now };
        // Over MASQUE with the search for the path's MTU at both ends: what is cut to a shorter one has more headers.
        for _ in 0..200 {
            pair.carry_both();
            pair.now += Duration::from_millis(1);
            pair.device.handle_deadline(pair.now);
            pair.gateway.handle_deadline(pair.now);
        }
        pair.device.commit(PEER, GenerationId(1), pair.now).unwrap();
        for _ in 0..2 {
            pair.carry_both();
        }
        assert_eq!(pair.gateway.active(PEER), Some(GenerationId(1)));
        pair
    }

    fn carry_up(&mut self) {
        carry(&mut self.device, &mut self.gateway, &mut self.buffers, address(2), self.now);
    }

    fn carry_both(&mut self) {
        self.carry_up();
        carry(&mut self.gateway, &mut self.device, &mut self.buffers, address(1), self.now);
    }

    /// One super-packet through both ends; gives the number of frames delivered.
    fn transfer(&mut self, bytes: &mut [u8], seq: u32) -> (usize, usize) {
        super_packet(bytes, seq);
        self.device.handle_frames(&mut SuperPacket(bytes, true), self.now);
        self.carry_up();
        let frames = self.gateway.deliveries().frames().count();
        let delivered = self.gateway.deliveries().frames().map(|frame| frame.len()).sum();
        self.gateway.deliveries().clear();
        // Acknowledgements, where there are any.
        carry(&mut self.gateway, &mut self.device, &mut self.buffers, address(1), self.now);
        self.now += Duration::from_micros(100);
        (frames, delivered)
    }
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 51820))
}

fn carry(from: &mut Engine, to: &mut Engine, buffers: &mut [(usize, BytesMut)], source: SocketAddr, now: Instant) {
    let mut count = 0;
    for (batch, (stride, buffer)) in from.transmits().batches().zip(buffers.iter_mut()) {
        *stride = batch.segment;
        buffer.clear();
        buffer.extend_from_slice(batch.bytes());
        count += 1;
    }
    assert_eq!(count, from.transmits().len(), "more batches than the test has buffers");
    from.transmits().release(count);
    to.handle_datagrams(&mut Received(buffers, 0, count, source), now);
}

#[test]
fn a_warm_path_allocates_nothing_and_merges_the_super_packet_again() {
    let mut pair = Pair::new();
    let mut bytes = vec![0x5a; SUPER_PACKET];
    let mut seq = 1;
    for _ in 0..8 {
        pair.transfer(&mut bytes, seq);
        seq += 40 * 1380;
    }
    let before = allocations();
    let mut shape = Vec::with_capacity(50);
    let capacity = allocations() - before;
    for _ in 0..50 {
        shape.push(pair.transfer(&mut bytes, seq));
        seq += 40 * 1380;
    }
    let asked = allocations() - before - capacity;
    assert!(shape.iter().all(|(frames, len)| *len >= SUPER_PACKET && *frames <= 2), "{shape:?}");
    assert_eq!(asked, 0, "allocations over {} packets", 50 * 40);
    assert_eq!(pair.gateway.counters().delivered.get(), 58 * 40);
}

/// Outbound, of each segment 40 bytes of headers and the 24 bytes of payload that fill the cipher's first block are
/// copied, and nothing else; a small packet that is padded is copied once. Inbound copies nothing: what the cipher
/// opened is what the adapter gathers.
#[test]
fn copied_bytes_are_counted() {
    let mut pair = Pair::new();
    let mut bytes = vec![0x5a; SUPER_PACKET];
    let before = pair.device.counters().copied.get();
    pair.transfer(&mut bytes, 1);
    assert_eq!(pair.device.counters().copied.get() - before, 40 * 64);

    let small = &mut bytes[..50];
    small[2..4].copy_from_slice(&50_u16.to_be_bytes());
    let before = pair.device.counters().copied.get();
    let offload = Offload { gso: None, checksum: Some((20, 16)) };
    pair.device.handle_frames(&mut Lone(Some(small), offload), pair.now);
    assert_eq!(pair.device.counters().copied.get() - before, 50, "padded to 64");

    let full = &mut bytes[..1300];
    full[2..4].copy_from_slice(&1300_u16.to_be_bytes());
    let before = pair.device.counters().copied.get();
    pair.device.handle_frames(&mut Lone(Some(full), offload), pair.now);
    assert_eq!(pair.device.counters().copied.get() - before, 0, "padding would make it longer than the MTU");
    assert_eq!(pair.gateway.counters().copied.get(), 0);
}

/// Over MASQUE a super-packet is copied when it is cut (a DATAGRAM frame is one piece for QUIC), and QUIC copies it into
/// the packets that it seals; what it opens lies where the socket has received it, and the adapter gathers it from there.
/// What is allocated is QUIC's own: nodes of the maps of packets that are not acknowledged yet.
#[test]
fn a_warm_masque_path_copies_and_allocates_no_more_than_it_says() {
    let mut pair = Pair::over_masque();
    let mut bytes = vec![0x5a; SUPER_PACKET];
    let mut seq = 1;
    for _ in 0..40 {
        pair.transfer(&mut bytes, seq);
        seq += 40 * 1380;
    }
    let copied = |pair: &Pair| [&pair.device, &pair.gateway].map(|engine| engine.counters().copied.get());
    let before = (allocations(), copied(&pair));
    let mut shape = Vec::with_capacity(64);
    let capacity = allocations() - before.0;
    for _ in 0..64 {
        shape.push(pair.transfer(&mut bytes, seq));
        seq += 40 * 1380;
    }
    let allocations = allocations() - before.0 - capacity;
    let [device, gateway] = copied(&pair);
    assert!(shape.iter().all(|(frames, len)| *len >= SUPER_PACKET && *frames <= 2), "{shape:?}");
    let (device, twice) = (device - before.1[0], 64 * 2 * (40 * (40 + 1380)));
    // A buffer with a lone acknowledgement is not worth taking.
    assert!((twice..twice + 64 * 100).contains(&device), "twice, outbound: {device} of {twice}");
    assert_eq!(gateway - before.1[1], 0, "never, inbound");
    assert!(allocations <= 64 * MASQUE_ALLOCATIONS, "{allocations} allocations in 64 batches");
}
