//! A worker whose adapter is two rings: the model's everywhere, and under Windows those of the stand-in `wintun.dll`,
//! through the real adapter. Identities are swapped under way; what the driver's faults cost is what was counted.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::{
    tests::{GATEWAY_KEY, SOON, connect, engine, packet},
    *,
};
use crate::{
    adapter::{
        memory::{MemoryHost, pair},
        ring::{
            NUDGE, RingAdapter,
            model::{Host, device},
        },
    },
    socket::memory::Hub,
};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use vestibule_engine::core::PeerKind;

/// The host behind the device's adapter.
trait Desk {
    fn send(&self, packet: &[u8]) -> bool;
    fn next(&self) -> Option<Vec<u8>>;
    /// Packets that the host sent, that the ring took, and that nobody read.
    fn unread(&self) -> u64;
    /// The ring is filled and overwritten.
    fn race(&self);
    fn miss_wakeups(&self, count: u32);
    /// The driver's thread waits for a wake-up.
    fn sleeps(&self) -> bool;
    fn remove(&self);

    /// The next packet but for nudges, waiting for it.
    fn receive(&self) -> Option<Vec<u8>> {
        let end = Instant::now() + SOON;
        while Instant::now() < end {
            match self.next() {
                Some(packet) if packet == NUDGE => {}
                None => thread::sleep(Duration::from_micros(200)),
                packet => return packet,
            }
        }
        None
    }
}

impl Desk for Host {
    fn send(&self, packet: &[u8]) -> bool {
        Host::send(self, &[packet]).is_ok()
    }

    fn next(&self) -> Option<Vec<u8>> {
        self.device.host_take()
    }

    fn unread(&self) -> u64 {
        self.device.counts().unread()
    }

    fn race(&self) {
        assert!(self.device.race(&packet(true, 0)));
        self.ring();
    }

    fn miss_wakeups(&self, count: u32) {
        self.device.miss_wakeups(count);
    }

    fn sleeps(&self) -> bool {
        self.device.sleeps()
    }

    fn remove(&self) {
        self.device.remove();
        self.ring();
    }
}

#[cfg(windows)]
impl Desk for crate::adapter::stand_in::Host {
    fn send(&self, packet: &[u8]) -> bool {
        Self::send(self, &[packet]).is_ok()
    }

    fn next(&self) -> Option<Vec<u8>> {
        self.take(Duration::ZERO)
    }

    fn unread(&self) -> u64 {
        let counts = self.counts();
        counts.sent - counts.read
    }

    fn race(&self) {
        // Large ones: the ring holds 16 MiB.
        assert!(Self::race(self, 1400));
    }

    fn miss_wakeups(&self, count: u32) {
        assert!(Self::miss_wakeups(self, count));
    }

    fn sleeps(&self) -> bool {
        Self::sleeps(self)
    }

    fn remove(&self) {
        assert!(Self::remove(self));
    }
}

struct World<D> {
    desk: D,
    device: Handle,
    events: Receiver<Event>,
    gateway: Handle,
    intranet: MemoryHost,
    gateway_at: SocketAddr,
}

fn world<D: Desk>(adapter: impl Adapter + 'static, desk: D) -> World<D> {
    let hub = Hub::new();
    let gateway_at: SocketAddr = "192.0.2.1:51820".parse().unwrap();
    let socket = hub.bind("192.0.2.2:0".parse().unwrap()).unwrap();
    let (device, events) = Worker::spawn(engine(8, PeerKind::Gateway, "0.0.0.0/0"), adapter, socket, "device").unwrap();
    let (adapter, intranet) = pair(4096, 1420);
    let socket = hub.bind(gateway_at).unwrap();
    let at_gateway = engine(GATEWAY_KEY, PeerKind::Device, "100.96.0.2/32");
    let (gateway, _) = Worker::spawn(at_gateway, adapter, socket, "gateway").unwrap();
    World { desk, device, events, gateway, intranet, gateway_at }
}

impl<D: Desk> World<D> {
    fn swap(&self, number: u64) {
        let keys = (100 + number as u8, GATEWAY_KEY);
        connect((&self.device, &self.events), &self.gateway, number, keys, self.gateway_at);
    }

    /// `count` packets each way from `first` on: all arrive, once and in order.
    fn exchange(&self, first: u16, count: u16) {
        for number in first..first + count {
            assert!(self.desk.send(&packet(true, number)));
        }
        for number in first..first + count {
            assert_eq!(self.intranet.receive(SOON).expect("uplink").bytes, packet(true, number));
        }
        for number in first..first + count {
            assert!(self.intranet.send(packet(false, number)));
        }
        for number in first..first + count {
            assert_eq!(self.desk.receive().expect("downlink"), packet(false, number));
        }
    }
}

fn swaps_lose_nothing<D: Desk>(world: &World<D>) {
    for number in 1..=8 {
        world.swap(number);
        world.exchange(number as u16 * 100, 100);
    }
    assert_eq!(world.desk.unread(), 0);
    let counters = world.device.counters().snapshot();
    assert_eq!((counters.frames_read, counters.adapter_restarts, counters.write_full), (800, 0, 0));
    // Packets of one batch do not merge here, so each is a frame.
    assert_eq!(counters.frames_written, 800);
}

fn a_broken_ring_costs_what_lay_in_it<D: Desk>(world: &World<D>) {
    world.swap(1);
    world.exchange(0, 50);
    for round in 1..=3 {
        let before = world.desk.unread();
        world.desk.race();
        let end = Instant::now() + SOON;
        while world.device.counters().snapshot().adapter_restarts < round && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(world.device.counters().snapshot().adapter_restarts, round);
        let lost = world.desk.unread();
        assert!(lost > before);
        // The tunnel knows nothing of it, and an identity is swapped over the new session as over the old.
        world.exchange(round as u16 * 1000, 50);
        world.swap(1 + round);
        world.exchange(round as u16 * 1000 + 50, 50);
        assert_eq!(world.desk.unread(), lost, "nothing else is lost");
    }
}

fn a_forgotten_packet_arrives_by_a_nudge<D: Desk>(world: &World<D>) {
    world.swap(1);
    world.exchange(0, 10);
    for number in 0..20 {
        let end = Instant::now() + SOON;
        while !world.desk.sleeps() && Instant::now() < end {
            thread::sleep(Duration::from_micros(200));
        }
        world.desk.miss_wakeups(1);
        // Nothing follows it that would wake the driver.
        assert!(world.intranet.send(packet(false, number)));
        assert_eq!(world.desk.receive().expect("by a nudge"), packet(false, number));
    }
    assert!(world.device.counters().snapshot().nudges > 0);
}

fn a_removed_adapter_ends_the_worker<D: Desk>(world: &World<D>) {
    world.swap(1);
    world.exchange(0, 10);
    world.desk.remove();
    let end = Instant::now() + SOON;
    while world.device.outcome().is_none() && Instant::now() < end {
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(world.device.outcome(), Some(StopReason::AdapterRemoved));
}

fn of_the_model() -> World<Host> {
    let (rings, host) = device(1 << 20);
    world(RingAdapter::new(rings, 1420), host)
}

#[test]
fn model_swaps_lose_nothing() {
    swaps_lose_nothing(&of_the_model());
}

#[test]
fn model_a_broken_ring_costs_what_lay_in_it() {
    a_broken_ring_costs_what_lay_in_it(&of_the_model());
}

#[test]
fn model_a_forgotten_packet_arrives_by_a_nudge() {
    a_forgotten_packet_arrives_by_a_nudge(&of_the_model());
}

#[test]
fn model_a_removed_adapter_ends_the_worker() {
    a_removed_adapter_ends_the_worker(&of_the_model());
}

#[cfg(windows)]
mod stand_in {
    use super::*;
    use crate::adapter::{Tun, TunConfig, stand_in::Host, testing::stand_in};

    fn of_the_stand_in(name: &str) -> Option<World<Host>> {
        stand_in()?;
        let adapter = Tun::open(&TunConfig::new(name)).unwrap();
        let host = Host::of(name).expect("the stand-in is loaded");
        Some(world(adapter, host))
    }

    #[test]
    fn swaps_lose_nothing() {
        let Some(world) = of_the_stand_in("worker-swaps") else { return };
        super::swaps_lose_nothing(&world);
    }

    #[test]
    fn a_broken_ring_costs_what_lay_in_it() {
        let Some(world) = of_the_stand_in("worker-broken") else { return };
        super::a_broken_ring_costs_what_lay_in_it(&world);
    }

    #[test]
    fn a_forgotten_packet_arrives_by_a_nudge() {
        let Some(world) = of_the_stand_in("worker-nudge") else { return };
        super::a_forgotten_packet_arrives_by_a_nudge(&world);
    }

    #[test]
    fn a_removed_adapter_ends_the_worker() {
        let Some(world) = of_the_stand_in("worker-gone") else { return };
        super::a_removed_adapter_ends_the_worker(&world);
    }
}
