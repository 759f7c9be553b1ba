//! Vestibule.
//! The packet's two walks over MASQUE as wholes, between two engines in memory.
//!
//! `cargo bench -p vestibule-benches --bench masque`. Sealing is everything from the adapter's super-packet to the
//! batch for the socket, opening everything from the socket's batch to the super-packet for the adapter, HTTP/3, QUIC
//! and its acknowledgements included; what those cost at the sender is a line of its own.

use bytes::BytesMut;
use criterion::{Criterion, Throughput};
use mimalloc::MiMalloc;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};
use vestibule_benches::masque::Pair;
use vestibule_benches::parcel::Parcel;
use vestibule_benches::traffic::{Batch, Load};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// What a batch takes at 5 Gb/s.
const PACE: Duration = Duration::from_micros(100);

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30)
        .configure_from_args();
    walk(&mut criterion, "64 KiB of TCP", Load::Tcp(46), 1);
    walk(&mut criterion, "32 datagrams of 1200 bytes", Load::Udp(1200), 32);
    criterion.final_summary();
}

/// One of the times.
type Of = fn(&Stages) -> Duration;

/// Time that one batch takes in each stage.
#[derive(Clone, Copy, Default)]
struct Stages {
    seal: Duration,
    open: Duration,
    acknowledge: Duration,
}

fn walk(criterion: &mut Criterion, name: &str, load: Load, frames: usize) {
    let mut group = criterion.benchmark_group(format!("MASQUE, {name}"));
    let stages: [(&str, Of); 4] = [
        ("seal, outbound", |stages| stages.seal),
        ("open, inbound", |stages| stages.open),
        ("what the peer acknowledges", |stages| stages.acknowledge),
        ("both ends", |stages| stages.seal + stages.open + stages.acknowledge),
    ];
    let (source, destination) = (Ipv4Addr::new(100, 96, 0, 2), Ipv4Addr::new(10, 0, 0, 1));
    let mut batch = Batch::new(load, [(IpAddr::V4(source), IpAddr::V4(destination), 4000)]);
    let frame = load.frame(source.into(), destination.into(), 4000);
    group.throughput(Throughput::Bytes((frame.len() * frames) as u64));
    let (mut pair, mut memory) = (Pair::new(), [BytesMut::new(), BytesMut::new()]);
    for (stage, of) in stages {
        group.bench_function(stage, |bencher| {
            bencher.iter_custom(|times| {
                let mut stages = Stages::default();
                for _ in 0..times {
                    turn(&mut pair, &mut memory, &mut batch, frames, &mut stages);
                }
                of(&stages)
            });
        });
    }
    group.finish();
}

fn turn(pair: &mut Pair, memory: &mut [BytesMut; 2], batch: &mut Batch, frames: usize, stages: &mut Stages) {
    pair.now += PACE;
    pair.device.handle_deadline(pair.now);
    pair.gateway.handle_deadline(pair.now);
    let began = Instant::now();
    pair.device.handle_frames(&mut batch.lend(0, frames), pair.now);
    stages.seal += began.elapsed();
    let mut up = Parcel::take(&mut pair.device).give(&mut memory[0]);
    let began = Instant::now();
    pair.gateway.handle_datagrams(&mut up, pair.now);
    let delivered = black_box(pair.gateway.deliveries().frames().count());
    stages.open += began.elapsed();
    assert_ne!(delivered, 0, "nothing was delivered");
    pair.gateway.deliveries().clear();
    let mut down = Parcel::take(&mut pair.gateway).give(&mut memory[1]);
    let began = Instant::now();
    pair.device.handle_datagrams(&mut down, pair.now);
    stages.acknowledge += began.elapsed();
}
