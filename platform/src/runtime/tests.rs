//! Tests of the worker over the memory twins.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::{
    doubles::{Gone, Narrow},
    *,
};
use crate::{
    adapter::memory::{MemoryHost, pair},
    socket::memory::Hub,
};
use std::{
    net::SocketAddr,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};
use vestibule_engine::{
    core::{CommitError, EngineConfig, PeerId, PeerKind},
    generation::{GenerationConfig, GenerationId, PrivateKey},
    policy::{Action, Policy},
    random::Seed,
};

const PEER: PeerId = PeerId(1);
pub(super) const SOON: Duration = Duration::from_secs(10);

pub(super) fn engine(key: u8, kind: PeerKind, addresses: &str) -> Engine {
    let config = EngineConfig::new(PrivateKey::new([key; 32]), Seed::new([key; 32]), SystemTime::now());
    let mut engine = Engine::new(config, Instant::now());
    engine.set_peer(PEER, kind, vec![addresses.parse().unwrap()]);
    engine
}

fn generation(number: u64, own: u8, peer: u8, endpoint: Option<SocketAddr>) -> GenerationConfig {
    GenerationConfig {
        id: GenerationId(number),
        swap_seq: number,
        identity: "someone@example.com".into(),
        private_key: PrivateKey::new([own; 32]),
        peer_public_key: PrivateKey::new([peer; 32]).public(),
        preshared_key: None,
        endpoint,
        persistent_keepalive: None,
        policy: Arc::new(Policy::compile(vec![], Action::Allow)),
        last_handshake: [0; 12],
        index: number as u32 * 7,
    }
}

fn wait_for(events: &Receiver<Event>, wanted: impl Fn(&Event) -> bool) {
    let end = Instant::now() + SOON;
    while let Ok(event) = events.recv_deadline(end) {
        if wanted(&event) {
            return;
        }
    }
    panic!("the event did not come");
}

/// Brings a device's tunnel to its gateway up under generation `number`, whose key at the device is `key`.
pub(super) fn connect(
    (device, device_events): (&Handle, &Receiver<Event>),
    gateway: &Handle,
    number: u64,
    (key, gateway_key): (u8, u8),
    endpoint: SocketAddr,
) {
    let at_gateway = generation(number, gateway_key, key, None);
    gateway.with(move |engine, now| engine.prepare(PEER, at_gateway, now)).unwrap().unwrap();
    let at_device = generation(number, key, gateway_key, Some(endpoint));
    device.with(move |engine, now| engine.prepare(PEER, at_device, now)).unwrap().unwrap();
    wait_for(device_events, |event| matches!(event, Event::Ready { .. }));
    commit(device, number);
    wait_for(device_events, |event| matches!(event, Event::Acknowledged { .. }));
}

/// Commits generation `number` as soon as the engine has room for another draining one, as the daemon does.
fn commit(device: &Handle, number: u64) {
    let end = Instant::now() + SOON;
    loop {
        match device.with(move |engine, now| engine.commit(PEER, GenerationId(number), now)).unwrap() {
            Err(CommitError::DrainingFull { retry_after }) if Instant::now() < end => std::thread::sleep(retry_after),
            outcome => return outcome.unwrap(),
        }
    }
}

pub(super) const GATEWAY_KEY: u8 = 9;

/// A UDP packet between the device's 100.96.0.2 and an intranet host.
pub(super) fn packet(uplink: bool, number: u16) -> Vec<u8> {
    let (device, intranet) = ([100, 96, 0, 2], [10, 20, 0, 80]);
    let mut packet = vec![0x45, 0, 0, 40];
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(if uplink { device } else { intranet });
    packet.extend(if uplink { intranet } else { device });
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&folded.to_be_bytes());
    let ports = if uplink { [4000u16, 53] } else { [53, 4000] };
    packet.extend(ports[0].to_be_bytes());
    packet.extend(ports[1].to_be_bytes());
    packet.extend([0, 20, 0, 0]);
    packet.extend([0; 10]);
    packet.extend(number.to_be_bytes());
    packet
}

struct World {
    device: Handle,
    device_events: Receiver<Event>,
    device_host: MemoryHost,
    gateway: Handle,
    gateway_host: MemoryHost,
    gateway_at: SocketAddr,
}

fn world() -> World {
    let hub = Hub::new();
    let gateway_at: SocketAddr = "192.0.2.1:51820".parse().unwrap();
    let (adapter, device_host) = pair(4096, 1420);
    let socket = hub.bind("192.0.2.2:0".parse().unwrap()).unwrap();
    let (device, device_events) =
        Worker::spawn(engine(8, PeerKind::Gateway, "0.0.0.0/0"), adapter, socket, "device").unwrap();
    let (adapter, gateway_host) = pair(4096, 1420);
    let socket = hub.bind(gateway_at).unwrap();
    let at_gateway = engine(GATEWAY_KEY, PeerKind::Device, "100.96.0.2/32");
    let (gateway, _) = Worker::spawn(at_gateway, adapter, socket, "gateway").unwrap();
    World { device, device_events, device_host, gateway, gateway_host, gateway_at }
}

impl World {
    fn connect(&self, number: u64) {
        let keys = (100 + number as u8, GATEWAY_KEY);
        connect((&self.device, &self.device_events), &self.gateway, number, keys, self.gateway_at);
    }
}

#[test]
fn packets_pass_both_ways_in_order_through_two_swaps_and_a_new_port() {
    let world = world();
    world.connect(1);
    let mut up = 0u16;
    let mut down = 0u16;
    let mut exchange = || {
        for _ in 0..200 {
            assert!(world.device_host.send(packet(true, up)));
            up += 1;
        }
        for number in up - 200..up {
            assert_eq!(world.gateway_host.receive(SOON).expect("uplink").bytes, packet(true, number));
        }
        for _ in 0..200 {
            assert!(world.gateway_host.send(packet(false, down)));
            down += 1;
        }
        for number in down - 200..down {
            assert_eq!(world.device_host.receive(SOON).expect("downlink").bytes, packet(false, number));
        }
    };
    exchange();
    world.connect(2);
    exchange();
    world.device.rebind().unwrap().unwrap();
    exchange();
    world.connect(3);
    exchange();
    let device = world.device.counters().snapshot();
    assert_eq!((device.frames_read, device.frames_written), (800, 800));
    assert!(device.datagrams_sent > 800 && device.commands >= 7);
    assert!(device.iter().any(|(name, value)| name == "frames_read" && value == 800));
}

#[test]
fn a_panic_in_a_closure_is_told_to_all_and_hangs_nobody() {
    let world = world();
    let error = world.device.with(|_, _| panic!("on purpose")).unwrap_err();
    assert_eq!(error.reason, StopReason::Panicked("on purpose".to_owned()));
    assert_eq!(world.device.with(|_, _| ()).unwrap_err(), error);
    assert_eq!(world.device.post(|_, _| ()).unwrap_err(), error);
    assert!(world.device.rebind().is_err());
    assert_eq!(world.device.stop(), error.reason);
    wait_for_disconnect(&world.device_events);
    assert!(world.gateway.with(|_, _| ()).is_ok(), "the other worker lives");
}

fn wait_for_disconnect(events: &Receiver<Event>) {
    let end = Instant::now() + SOON;
    loop {
        match events.recv_deadline(end) {
            Ok(_) => {}
            Err(error) => return assert!(error.is_disconnected(), "events go on"),
        }
    }
}

#[test]
fn stopping_runs_what_was_posted_before_and_ends_the_thread() {
    let world = world();
    let ran = Arc::new(AtomicU64::new(0));
    for _ in 0..100 {
        let ran = ran.clone();
        let add = move || ran.fetch_add(1, Ordering::SeqCst);
        world.device.post(move |_, _| assert!(add() < 100)).unwrap();
    }
    assert_eq!(world.device.stop(), StopReason::Asked);
    assert_eq!(ran.load(Ordering::SeqCst), 100);
    assert_eq!(world.device.outcome(), Some(StopReason::Asked));
    assert!(!world.device_host.send(packet(true, 0)), "the adapter went with its worker");
}

#[test]
fn dropping_the_last_handle_stops_the_worker() {
    let World { device, device_events, device_host, .. } = world();
    let other = device.clone();
    drop(device);
    assert!(other.with(|_, _| ()).is_ok());
    drop(other);
    wait_for_disconnect(&device_events);
    assert!(!device_host.send(packet(true, 0)));
}

#[test]
fn many_threads_steer_at_once() {
    let world = world();
    let total = Arc::new(AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let total = total.clone();
                    world.device.with(move |_, _| total.fetch_add(1, Ordering::SeqCst)).unwrap();
                }
            });
        }
    });
    assert_eq!(total.load(Ordering::SeqCst), 2000);
}

#[test]
fn a_full_socket_leaves_the_adapter_waiting_and_loses_nothing() {
    let (full, sent, bell) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::new(OnceLock::new()));
    let socket = Narrow { full: full.clone(), sent: Arc::clone(&sent), bell: bell.clone() };
    let (adapter, host) = pair(4096, 1420);
    let mut at_device = engine(8, PeerKind::Plain, "0.0.0.0/0");
    // A plain peer is active at once: a packet for it starts a handshake, which is what has to be sent.
    at_device
        .prepare(PEER, generation(1, 8, GATEWAY_KEY, Some("192.0.2.1:9".parse().unwrap())), Instant::now())
        .unwrap();
    full.store(true, Ordering::SeqCst);
    let (worker, _events) = Worker::spawn(at_device, adapter, socket, "narrow").unwrap();
    assert!(host.send(packet(true, 0)));
    let blocked = || worker.counters().snapshot().send_blocked > 0;
    let end = Instant::now() + SOON;
    while !blocked() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(blocked());
    let read = worker.counters().snapshot().frames_read;
    for number in 0..100 {
        assert!(host.send(packet(true, number)));
    }
    worker.with(|_, _| ()).unwrap();
    worker.with(|_, _| ()).unwrap();
    assert_eq!(worker.counters().snapshot().frames_read, read, "frames were read although nothing can be sent");
    assert_eq!(sent.load(Ordering::SeqCst), 0);
    full.store(false, Ordering::SeqCst);
    bell.get().unwrap().ring();
    while worker.counters().snapshot().frames_read < read + 100 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(worker.counters().snapshot().frames_read, read + 100);
    assert!(sent.load(Ordering::SeqCst) >= 1);
}

#[test]
fn a_broken_adapter_stops_the_worker_with_its_reason() {
    let socket = Hub::new().bind("192.0.2.2:0".parse().unwrap()).unwrap();
    let (worker, events) = Worker::spawn(engine(8, PeerKind::Gateway, "0.0.0.0/0"), Gone, socket, "gone").unwrap();
    wait_for_disconnect(&events);
    assert_eq!(worker.outcome(), Some(StopReason::Adapter("unplugged".to_owned())));
    assert_eq!(worker.with(|_, _| ()).unwrap_err().reason, StopReason::Adapter("unplugged".to_owned()));
}
