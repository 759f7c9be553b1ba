//! An end that gets no processor for seconds around a commit: nothing is lost that the socket's buffer holds.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod ends;

use ends::Wire;
use ends::world::*;
use std::time::Duration;
use vestibule_engine::core::Event;
use vestibule_engine::generation::{DRAIN_MAX, DRAIN_MIN, GenerationId};

const WAYS: [Way; 2] = [Way::WireGuard, Way::Masque];
const STEP: Duration = Duration::from_millis(10);
/// Longer than any drain would last by time alone.
const STARVED: u32 = 350;
/// Datagrams that a worker takes before it looks at its deadlines again.
const ROUND: usize = 8;

/// A world under way: what has been sent each way, numbered.
struct Run {
    world: World,
    up: u32,
    down: u32,
}

impl Run {
    /// At a generation of its own, with both flows known.
    fn over(way: Way) -> Self {
        let mut world = World::over(way);
        world.swap(true);
        let mut run = Self { world, up: 0, down: 0 };
        run.send_up();
        run.world.settle();
        run.send_down();
        run.world.settle();
        run
    }

    fn send_up(&mut self) {
        self.world.send_up(up(&self.up.to_be_bytes()));
        self.up += 1;
    }

    fn send_down(&mut self) {
        self.world.send_down(down(&self.down.to_be_bytes()));
        self.down += 1;
    }

    /// Both ends run for a step, the device as far as it is there.
    fn step(&mut self, device: bool, gateway: bool) {
        self.world.now += STEP;
        for (runs, end) in [(device, End::Device), (gateway, End::Gateway)] {
            if runs {
                self.turn(end, usize::MAX);
            }
        }
    }

    /// One turn of a worker that has time for so many datagrams.
    fn turn(&mut self, end: End, most: usize) {
        let World { device, gateway, to_device, to_gateway, now, .. } = &mut self.world;
        let (engine, socket) = match end {
            End::Device => (device, to_device),
            End::Gateway => (gateway, to_gateway),
        };
        let batch = socket.drain(..most.min(socket.len())).collect();
        engine.handle_datagrams(&mut Wire(batch, Vec::new()), *now);
        if engine.poll_deadline().is_some_and(|due| due <= *now) {
            engine.handle_deadline(*now);
        }
        self.world.flush();
    }

    /// An end that has the processor again reads what has gathered in its socket, a little at a time.
    fn catch_up(&mut self, end: End) {
        for _ in 0..1000 {
            self.world.now += Duration::from_millis(1);
            self.turn(end, ROUND);
        }
    }

    fn arrived(&self) -> bool {
        self.world.at_gateway == (0..self.up).map(|n| up(&n.to_be_bytes())).collect::<Vec<_>>()
            && self.world.at_device == (0..self.down).map(|n| down(&n.to_be_bytes())).collect::<Vec<_>>()
    }

    fn has_retired(&self, end: End, id: GenerationId) -> bool {
        let events = match end {
            End::Device => &self.world.device_events,
            End::Gateway => &self.world.gateway_events,
        };
        events.contains(&Event::Retired { peer: AT, generation: id })
    }

    /// In the end the old generation is gone at both ends.
    fn expect_end(&mut self, way: Way, id: GenerationId) {
        self.world.pass(2 * DRAIN_MIN);
        for end in [End::Device, End::Gateway] {
            assert!(self.has_retired(end, id), "{way:?}: {end:?} still drains");
        }
        assert!(
            self.arrived(),
            "{way:?}: up {} of {}, down {} of {}",
            self.world.at_gateway.len(),
            self.up,
            self.world.at_device.len(),
            self.down
        );
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Device,
    Gateway,
}

/// Before the device reads what the gateway has sent under the old generation, it stands still.
#[test]
fn a_device_that_is_starved_after_its_commit_reads_all_that_has_come_meanwhile() {
    for way in WAYS {
        let mut run = Run::over(way);
        let id = run.world.order(true);
        run.world.settle();
        for _ in 0..200 {
            run.send_up();
            run.send_down();
        }
        run.world.device.commit(AT, id, run.world.now).unwrap();
        run.world.flush();
        for _ in 0..STARVED {
            run.send_down();
            run.step(false, true);
        }
        run.catch_up(End::Device);
        run.expect_end(way, GenerationId(1));
    }
}

/// The gateway reads what is to be sent before it reads that the device has moved on.
#[test]
fn what_a_starved_gateway_sends_under_the_old_generation_is_still_opened() {
    for way in WAYS {
        let mut run = Run::over(way);
        let id = run.world.order(true);
        run.world.settle();
        run.world.device.commit(AT, id, run.world.now).unwrap();
        run.world.flush();
        for _ in 0..STARVED {
            run.send_up();
            run.step(true, false);
        }
        assert!(!run.has_retired(End::Device, GenerationId(1)), "{way:?}: the gateway has not followed");
        for _ in 0..200 {
            run.send_down();
        }
        assert_ne!(run.world.gateway.active(AT), Some(id));
        run.catch_up(End::Gateway);
        run.expect_end(way, GenerationId(1));
    }
}

/// Now one end stands still and now the other, swap after swap.
#[test]
fn ends_that_are_starved_in_turn_lose_nothing_over_many_swaps() {
    for way in WAYS {
        let mut run = Run::over(way);
        for round in 1..=8_u64 {
            let id = run.world.order(round % 2 == 0);
            run.world.settle();
            run.send_down();
            run.world.device.commit(AT, id, run.world.now).unwrap();
            run.world.flush();
            let (device, gateway) = (round % 3 == 0, round % 3 == 1);
            for step in 0..STARVED {
                if step % 5 == 0 {
                    run.send_up();
                    run.send_down();
                }
                run.step(device, gateway);
            }
            run.catch_up(End::Gateway);
            run.catch_up(End::Device);
            run.world.settle();
            assert_eq!(run.world.gateway.active(AT), Some(id), "{way:?}");
        }
        run.expect_end(way, GenerationId(8));
    }
}

/// A gateway that is gone does not keep old keys alive.
#[test]
fn a_drain_that_nobody_follows_ends_all_the_same() {
    for way in WAYS {
        let mut run = Run::over(way);
        let id = run.world.order(true);
        run.world.settle();
        run.world.device.commit(AT, id, run.world.now).unwrap();
        let began = run.world.now;
        while !run.has_retired(End::Device, GenerationId(1)) {
            run.world.to_gateway.clear();
            run.step(true, false);
            assert!(run.world.now <= began + DRAIN_MAX + STEP, "{way:?}");
        }
        assert!(run.world.now >= began + DRAIN_MAX, "{way:?}: {:?}", run.world.now - began);
    }
}

/// While nothing stands in its way a drain lasts a second.
#[test]
fn a_drain_of_ends_that_run_lasts_as_long_as_ever() {
    for way in WAYS {
        let mut run = Run::over(way);
        let began = run.world.now;
        run.world.swap(true);
        run.world.pass(DRAIN_MIN - STEP);
        assert!(!run.has_retired(End::Device, GenerationId(1)), "{way:?}");
        run.world.pass(2 * STEP);
        for end in [End::Device, End::Gateway] {
            assert!(run.has_retired(end, GenerationId(1)), "{way:?}: {end:?} after {:?}", run.world.now - began);
        }
    }
}
