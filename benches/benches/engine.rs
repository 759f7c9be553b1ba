//! Vestibule.
//! The packet's two walks as wholes, and the swap, between two engines in memory.
//!
//! `cargo bench -p vestibule-benches --bench engine`. Sealing is everything from the adapter's super-packet to the
//! batch for the socket: parse, route, flow, verdict, split, encrypt. Opening is everything from the socket's batch to
//! the super-packet for the adapter: index, decrypt, replay, parse, flow, verdict, merge.
#![allow(clippy::expect_used)]

use criterion::{Criterion, Throughput};
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use vestibule_engine::core::{Engine, EngineConfig, Event, PeerId, PeerKind};
use vestibule_engine::generation::{GenerationConfig, GenerationId, PrivateKey};
use vestibule_engine::packet::{Datagram, Datagrams, Ecn, Frame, Frames, Gso, Offload};
use vestibule_engine::policy::{Action, Policy};
use vestibule_engine::random::Seed;
use vestibule_engine::wireguard::SessionBackend;

const PEER: PeerId = PeerId(1);
const MSS: usize = 1380;
const PACKETS: usize = 47;
const HEADERS: usize = 40;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30)
        .configure_from_args();
    for (name, backend) in [("native", SessionBackend::Native), ("boringtun", SessionBackend::Boringtun)] {
        walks(&mut criterion, name, backend);
        swap(&mut criterion, name, backend);
    }
    criterion.final_summary();
}

fn walks(criterion: &mut Criterion, name: &str, backend: SessionBackend) {
    let frame = super_packet();
    let mut group = criterion.benchmark_group(format!("walk, {name} sessions"));
    group.throughput(Throughput::Bytes(frame.len() as u64));

    let mut pair = Pair::new(backend);
    let mut lent = frame.clone();
    group.bench_function("seal 64 KiB of TCP, outbound", |bencher| {
        bencher.iter(|| {
            lent[..HEADERS].copy_from_slice(&frame[..HEADERS]);
            pair.device.handle_frames(&mut SuperPacket(&mut lent, true), pair.now);
            black_box(pair.device.transmits().batches().len());
            pair.device.transmits().release(usize::MAX);
        });
    });

    let mut pair = Pair::new(backend);
    group.bench_function("open 64 KiB of TCP, inbound", |bencher| {
        // A datagram opens once, so that each needs its own, sealed while nobody counts.
        bencher.iter_custom(|times| {
            let mut taken = Duration::ZERO;
            for _ in 0..times {
                lent[..HEADERS].copy_from_slice(&frame[..HEADERS]);
                pair.device.handle_frames(&mut SuperPacket(&mut lent, true), pair.now);
                let mut sealed = Received::from(&mut pair.device, Pair::device_address());
                let began = Instant::now();
                pair.gateway.handle_datagrams(&mut sealed, pair.now);
                let frames = black_box(pair.gateway.deliveries().frames().count());
                taken += began.elapsed();
                assert_ne!(frames, 0, "nothing was delivered");
                pair.gateway.deliveries().clear();
            }
            taken
        });
    });
    group.finish();
}

fn swap(criterion: &mut Criterion, name: &str, backend: SessionBackend) {
    let mut group = criterion.benchmark_group(format!("swap, {name} sessions"));
    let mut pair = Pair::new(backend);
    group.bench_function("prepare, handshake, commit, marker and retirement, both ends", |bencher| {
        bencher.iter(|| pair.swap());
    });
    group.finish();
}

/// A device and a gateway whose tunnel stands.
struct Pair {
    device: Engine,
    gateway: Engine,
    gateway_key: PrivateKey,
    policy: Arc<Policy>,
    generation: u64,
    now: Instant,
}

impl Pair {
    fn new(backend: SessionBackend) -> Self {
        let now = Instant::now();
        let gateway_key = PrivateKey::new([2; 32]);
        let engine = |key: [u8; 32]| {
            let config = EngineConfig::new(PrivateKey::new(key), Seed::new(key), SystemTime::now());
            Engine::new(EngineConfig { backend, ..config }, now)
        };
        let (mut device, mut gateway) = (engine([1; 32]), engine([2; 32]));
        device.set_peer(PEER, PeerKind::Gateway, vec!["0.0.0.0/0".parse().expect("a network")]);
        gateway.set_peer(PEER, PeerKind::Device, vec!["100.96.0.2/32".parse().expect("a network")]);
        let policy = Arc::new(Policy::compile(Vec::new(), Action::Allow));
        let mut pair = Self { device, gateway, gateway_key, policy, generation: 0, now };
        pair.swap();
        pair
    }

    fn device_address() -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 2], 51820))
    }

    fn gateway_address() -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 51820))
    }

    /// The next generation under fresh keys, from order to retirement of the one before.
    fn swap(&mut self) {
        let before = GenerationId(self.generation);
        self.generation += 1;
        let id = GenerationId(self.generation);
        let mut key = [7; 32];
        key[..8].copy_from_slice(&self.generation.to_be_bytes());
        let device_key = PrivateKey::new(key);
        let make = |key: &PrivateKey, peer: &PrivateKey, endpoint| GenerationConfig {
            id,
            swap_seq: self.generation,
            identity: "user@example.com".into(),
            private_key: key.clone(),
            peer_public_key: peer.public(),
            preshared_key: None,
            endpoint,
            persistent_keepalive: None,
            policy: Arc::clone(&self.policy),
            last_handshake: [0; 12],
            index: (self.generation % 0x00ff_ffff) as u32,
        };
        let (at_gateway, at_device) = (
            make(&self.gateway_key, &device_key, None),
            make(&device_key, &self.gateway_key, Some(Self::gateway_address())),
        );
        self.gateway.prepare(PEER, at_gateway, self.now).expect("the gateway prepares");
        self.device.prepare(PEER, at_device, self.now).expect("the device prepares");
        self.up();
        self.down();
        self.device.commit(PEER, id, self.now).expect("the device commits");
        self.up();
        self.down();
        self.device.retire(PEER, before, self.now);
        self.gateway.retire(PEER, before, self.now);
        let mut acknowledged = false;
        while let Some(event) = self.device.poll_event() {
            acknowledged |= matches!(event, Event::Acknowledged { .. });
        }
        while self.gateway.poll_event().is_some() {}
        assert!(acknowledged, "swap {} was not acknowledged", self.generation);
    }

    fn up(&mut self) {
        let mut sent = Received::from(&mut self.device, Self::device_address());
        self.gateway.handle_datagrams(&mut sent, self.now);
    }

    fn down(&mut self) {
        let mut sent = Received::from(&mut self.gateway, Self::gateway_address());
        self.device.handle_datagrams(&mut sent, self.now);
    }
}

/// A TCP super-packet.
fn super_packet() -> Vec<u8> {
    let mut bytes = vec![0x5a; HEADERS + MSS * PACKETS];
    let total = (bytes.len() as u16).to_be_bytes();
    bytes[..20].copy_from_slice(&[0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, 6, 0, 0, 100, 96, 0, 2, 10, 0, 0, 1]);
    bytes[20..40].copy_from_slice(&[0x0f, 0xa0, 0x01, 0xbd, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 2, 0, 0, 0, 0, 0]);
    bytes
}

/// An adapter that lends one super-packet.
struct SuperPacket<'a>(&'a mut [u8], bool);

impl Frames for SuperPacket<'_> {
    fn next_frame(&mut self) -> Option<Frame<'_>> {
        let offload = Offload { gso: Some(Gso::Tcp { size: MSS as u16 }), checksum: Some((20, 16)) };
        std::mem::take(&mut self.1).then_some(Frame { bytes: self.0, offload })
    }
}

/// A socket that lends what the other end has sent.
struct Received(Vec<(usize, Vec<u8>)>, usize, SocketAddr);

impl Received {
    fn from(sender: &mut Engine, source: SocketAddr) -> Self {
        let batches = sender.transmits().batches().map(|batch| (batch.segment, batch.bytes().to_vec())).collect();
        sender.transmits().release(usize::MAX);
        Self(batches, 0, source)
    }
}

impl Datagrams for Received {
    fn next_datagram(&mut self) -> Option<Datagram<'_>> {
        let (stride, bytes) = self.0.get_mut(self.1)?;
        self.1 += 1;
        Some(Datagram { bytes, stride: *stride, source: self.2, ecn: Ecn::NotEct })
    }
}
