//! What is seen of a run, second by second.

use super::{Soak, round::Round};
use crate::{
    soak::{
        judge,
        series::{Held, PROCESSES, Sample},
    },
    world::{
        Stopped,
        host::stamp,
        scene::{Glance, Scene},
    },
};
use std::time::{Duration, Instant};
use vestibule_platform::measure::usage::{self, Usage};

/// A packet that has not arrived after this is lost: far more than any queue on the way holds.
const FINAL: Duration = Duration::from_secs(5);

impl Round {
    /// A process that is new has used no time before.
    pub(super) fn forget_cpu(&mut self) {
        for (cpu, usage) in self.cpu.iter_mut().zip(usages(&*self.world.scene)) {
            *cpu = usage.cpu;
        }
    }

    /// A glance between two samples: what it tells goes into the next one.
    pub(super) fn look(&mut self, soak: &mut Soak<'_>) -> Result<Glance, Stopped> {
        let load = self.load.as_mut().ok_or(Stopped::Missing("load"))?;
        let glance = load.glance(self.final_below)?;
        let news = soak.books.enter(&glance);
        if news.lost > 0 {
            let [up, down] = [&soak.books.up, &soak.books.down].map(|way| way.missing.last().copied());
            soak.progress.note(&format!(
                "{}: {} packets are lost; the last (number, how many) from the device {up:?}, to it {down:?}",
                judge::clock(soak.start.elapsed().as_secs_f64()),
                news.lost
            ));
        }
        self.between.add(news);
        for (gap, seen) in self.gaps.iter_mut().zip([&glance.up.1, &glance.down.1]) {
            *gap = (*gap).max(seen.gap_ns / 1000);
        }
        Ok(glance)
    }

    pub(super) fn sample(&mut self, soak: &mut Soak<'_>) -> Result<(), Stopped> {
        let now = Instant::now();
        while let Some((_, sent)) = self.marks.front().filter(|(at, _)| now.duration_since(*at) >= FINAL) {
            self.final_below = *sent;
            self.marks.pop_front();
        }
        let glance = self.look(soak)?;
        self.marks.push_back((now, [glance.up.0.sent, glance.down.0.sent]));
        let sample = self.span(soak, now);
        soak.series.push(sample);
        soak.progress.sample(&sample, &soak.names, &soak.books, &soak.swaps);
        if self.world.scene.alive() {
            Ok(())
        } else {
            Err(Stopped::Missing("gateway or daemon any more: one has ended"))
        }
    }

    /// The span from the last sample to `now`.
    pub(super) fn span(&mut self, soak: &Soak<'_>, now: Instant) -> Sample {
        let news = std::mem::take(&mut self.between);
        let [gap_up_us, gap_down_us] = std::mem::take(&mut self.gaps);
        let mut processes = [Held::default(); PROCESSES];
        for ((held, cpu), usage) in processes.iter_mut().zip(&mut self.cpu).zip(usages(&*self.world.scene)) {
            let used = usage.cpu.saturating_sub(*cpu);
            *cpu = usage.cpu;
            let cpu_ms = u64::try_from(used.as_millis()).unwrap_or(u64::MAX);
            *held = Held { resident: usage.resident, handles: usage.handles, cpu_ms };
        }
        let seconds = now.duration_since(self.sampled).as_secs_f64();
        self.sampled = now;
        Sample {
            at: now.duration_since(soak.start).as_secs_f64(),
            seconds,
            packets: news.packets,
            bytes: news.packets * self.mean_size() + news.tcp_bytes,
            gap_up_us,
            gap_down_us,
            lost: news.lost,
            lost_by_faults: news.lost_by_faults,
            swaps: std::mem::take(&mut self.swaps),
            processes,
        }
    }

    /// The sizes of the stamped packets visit every value up to the largest equally often.
    fn mean_size(&self) -> u64 {
        (stamp::SMALLEST as u64 + u64::from(self.amount.mtu)) / 2
    }
}

/// What the processes hold; one that is gone, nothing.
fn usages(scene: &dyn Scene) -> Vec<Usage> {
    let nothing = Usage { resident: 0, handles: 0, cpu: Duration::ZERO };
    scene.processes().iter().map(|(_, pid)| usage::of(*pid).unwrap_or(nothing)).collect()
}
