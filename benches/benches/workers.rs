//! What two gateways on two threads do together, beside one on one: the gain to expect from sharding peers over workers.
//!
//! `cargo bench -p vestibule-benches --bench workers`. Each worker is a crowd of its own: a gateway with its share of
//! the peers, and their other ends, which share nothing with another worker. Adapter and socket are left out. Rounds of
//! one and two workers alternate, and the best round of each counts.
#![allow(clippy::expect_used)]

use mimalloc::MiMalloc;
use std::net::IpAddr;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};
use vestibule_benches::crowd::{Crowd, Shape, behind, inside};
use vestibule_benches::parcel::Parcel;
use vestibule_benches::traffic::{Batch, Load};
use vestibule_engine::core::PeerKind;

/// The product's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Peers of all workers together.
const PEERS: u32 = 1_000;
const LOAD: Load = Load::Tcp(40);
const BATCH: usize = 16;
const ROUND: Duration = Duration::from_millis(300);
const ROUNDS: usize = 7;

/// What a round does: sealing alone, or sealing at the devices and opening at the gateway.
#[derive(Clone, Copy, Debug)]
enum Work {
    Seal,
    SealAndOpen,
}

fn main() {
    let mut alone = vec![Worker::new(PEERS)];
    let mut both = vec![Worker::new(PEERS / 2), Worker::new(PEERS / 2)];
    println!("| Gb/s of inner packets | 1 worker | 2 workers | ratio |\n|---|---|---|---|");
    for work in [Work::Seal, Work::SealAndOpen] {
        let (mut one, mut two) = (0.0_f64, 0.0_f64);
        for _ in 0..ROUNDS {
            one = one.max(round(&mut alone, work));
            two = two.max(round(&mut both, work));
        }
        println!("| {work:?} | {one:.1} | {two:.1} | {:.2} |", two / one);
    }
}

/// Gb/s of all workers together.
fn round(workers: &mut [Worker], work: Work) -> f64 {
    let barrier = Barrier::new(workers.len());
    thread::scope(|scope| {
        let running: Vec<_> = workers
            .iter_mut()
            .map(|worker| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    worker.run(work)
                })
            })
            .collect();
        running.into_iter().map(|running| running.join().expect("a worker that did not panic")).sum()
    })
}

struct Worker {
    crowd: Crowd,
    up: Batch,
    down: Batch,
    peers: u32,
    next: usize,
}

impl Worker {
    fn new(peers: u32) -> Self {
        let crowd = Crowd::new(Shape { configured: peers, active: peers, kind: PeerKind::Device })
            .expect("a crowd of new peers");
        let address = |net: ipnet::IpNet| -> IpAddr { net.addr() };
        // One frame for each peer would be more memory than any cache holds: an adapter reuses its buffers.
        let batch = |to_devices: bool| {
            let pairs = (0..peers).map(|number| (address(inside(number)), address(behind(number))));
            let pairs =
                pairs.map(|(device, other)| if to_devices { (other, device, 4000) } else { (device, other, 4000) });
            Batch::new(LOAD, pairs)
        };
        Self { up: batch(false), down: batch(true), crowd, peers, next: 0 }
    }

    /// Gb/s of this worker over a round.
    fn run(&mut self, work: Work) -> f64 {
        let began = Instant::now();
        let mut bytes = 0;
        while began.elapsed() < ROUND {
            let now = self.crowd.now;
            match work {
                Work::Seal => {
                    self.crowd.gateway.handle_frames(&mut self.down.lend(self.next, BATCH), now);
                    self.crowd.gateway.transmits().release(usize::MAX);
                }
                Work::SealAndOpen => {
                    self.crowd.devices.handle_frames(&mut self.up.lend(self.next, BATCH), now);
                    let mut parcel = Parcel::take(&mut self.crowd.devices);
                    self.crowd.gateway.handle_datagrams(&mut parcel.lend(), now);
                    assert!(!self.crowd.gateway.deliveries().is_empty(), "nothing was opened");
                    self.crowd.gateway.deliveries().clear();
                }
            }
            bytes += BATCH * (40 + 1380 * LOAD.packets());
            self.next = (self.next + BATCH) % self.peers as usize;
        }
        bytes as f64 * 8e-9 / began.elapsed().as_secs_f64()
    }
}
