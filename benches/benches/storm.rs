//! All devices of a gateway connect at once, over real sockets on the loopback, while another device's flow goes on.
//!
//! `cargo bench -p vestibule-benches --bench storm`. Gateway, storm and flow are a worker each; the devices of the storm
//! share one socket. Reported are the time until all are connected, and what the flow delivered, with its worst delay,
//! in the second before the storm and while it lasted.
#![allow(clippy::expect_used)]

use mimalloc::MiMalloc;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use vestibule_benches::crowd::{Crowd, behind, inside};
use vestibule_benches::traffic::Load;
use vestibule_engine::core::{Event, PeerId, PeerKind};
use vestibule_platform::adapter::memory::pair;
use vestibule_platform::runtime::Worker;
use vestibule_platform::socket::{Socket, Udp, UdpConfig};

/// The product's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The device with the flow.
const FLOW: u32 = 0;
/// Packets of the flow: ten every millisecond, 96 Mb/s.
const BURST: usize = 10;
const PAUSE: Duration = Duration::from_millis(1);
const CALM: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(60);

fn main() {
    println!(
        "| devices at once | all connected after | flow | delivered | of sent | worst delay |\n|---|---|---|---|---|---|"
    );
    for devices in [1_000, 10_000] {
        storm(devices);
    }
}

fn storm(devices: u32) {
    let mut crowd = Crowd::empty(PeerKind::Device);
    for number in 0..=devices {
        crowd.configure(number, true).expect("a new peer");
    }
    let flow = crowd.device(FLOW, ([127, 0, 0, 1], 0).into());
    let loopback = || Udp::bind(&UdpConfig::new(([127, 0, 0, 1], 0).into())).expect("a socket");
    let socket = loopback();
    let at_gateway = socket.local_addr().expect("an address");
    let knocks: Vec<_> = (1..=devices).map(|number| (number, crowd.device(number, at_gateway))).collect();
    let Crowd { gateway, devices: crowd_of_devices, .. } = crowd;
    let (adapter, intranet) = pair(4096, 1420);
    let (gateway, at_the_gateway) = Worker::spawn(gateway, adapter, socket, "gateway").expect("a worker");
    let (adapter, _host) = pair(64, 1420);
    let (many, of_many) = Worker::spawn(crowd_of_devices, adapter, loopback(), "devices").expect("a worker");
    let (adapter, desktop) = pair(4096, 1420);
    let friend = Crowd::empty(PeerKind::Device).devices;
    let (friend, of_friend) = Worker::spawn(friend, adapter, loopback(), "flow").expect("a worker");

    // The flow's device first.
    let peer = PeerId(FLOW.into());
    let config = vestibule_engine::generation::GenerationConfig { endpoint: Some(at_gateway), ..flow };
    let id = config.id;
    friend
        .with(move |engine, now| {
            engine.set_peer(peer, PeerKind::Gateway, vec![behind(FLOW)]);
            engine.prepare(peer, config, now)
        })
        .expect("a worker")
        .expect("a new generation");
    while !matches!(of_friend.recv_timeout(LIMIT).expect("the handshake"), Event::Ready { .. }) {}
    friend.with(move |engine, now| engine.commit(peer, id, now)).expect("a worker").expect("a commit");
    let connected = |event: &Event| matches!(event, Event::Committed { .. });
    while !connected(&at_the_gateway.recv_timeout(LIMIT).expect("the commit")) {}

    let (start, ended) = (Instant::now(), AtomicBool::new(false));
    thread::scope(|scope| {
        let ended = &ended;
        let sending = scope.spawn(move || {
            let address = |net: ipnet::IpNet| -> IpAddr { net.addr() };
            let packet = Load::Udp(1200).frame(address(inside(FLOW)), address(behind(FLOW)), 4000);
            let mut sent = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                for _ in 0..BURST {
                    let mut packet = packet.clone();
                    let at = start.elapsed();
                    packet[28..36].copy_from_slice(&(at.as_nanos() as u64).to_be_bytes());
                    desktop.send(packet);
                    sent.push(at);
                }
                thread::sleep(PAUSE);
            }
            sent
        });
        let receiving = scope.spawn(move || {
            let mut received = Vec::new();
            while let Some(frame) = intranet.receive(2 * CALM) {
                for packet in frame.into_packets().unwrap_or_default() {
                    let sent = packet.get(28..).and_then(|payload| payload.first_chunk()).copied().unwrap_or_default();
                    let sent = Duration::from_nanos(u64::from_be_bytes(sent));
                    received.push((sent, start.elapsed().saturating_sub(sent)));
                }
            }
            received
        });
        thread::sleep(CALM);
        let began = start.elapsed();
        many.post(move |engine, now| {
            for (number, config) in knocks {
                let peer = PeerId(number.into());
                engine.set_peer(peer, PeerKind::Gateway, vec![behind(number)]);
                engine.prepare(peer, config, now).expect("a new generation");
            }
        })
        .expect("a worker");
        let committing = scope.spawn(move || {
            while let Ok(event) = of_many.recv_timeout(CALM * 5) {
                if let Event::Ready { peer, generation, .. } = event {
                    let _ = many.post(move |engine, now| {
                        let _ = engine.commit(peer, generation, now);
                    });
                }
            }
        });
        let mut missing = devices;
        while missing > 0 && start.elapsed() < LIMIT {
            let Ok(event) = at_the_gateway.recv_timeout(LIMIT) else { break };
            missing -= u32::from(connected(&event));
        }
        let done = start.elapsed();
        ended.store(true, Ordering::Relaxed);
        let sent = sending.join().expect("a sender");
        let received = receiving.join().expect("a receiver");
        committing.join().expect("a committer");
        for (name, from, to) in [("calm", Duration::ZERO, began), ("storm", began, done)] {
            let within = |at: &Duration| (from..to).contains(at);
            let sent = sent.iter().filter(|at| within(at)).count();
            let of_these: Vec<_> = received.iter().filter(|(at, _)| within(at)).collect();
            let worst = of_these.iter().map(|(_, delay)| *delay).max().unwrap_or_default();
            let delivered = of_these.len();
            println!(
                "| {devices} ({missing} missing) | {:.2?} | {name} | {delivered} | {sent} | {worst:.2?} |",
                done - began
            );
        }
    });
    gateway.stop();
    friend.stop();
}
