//! Who else uses the machine while we measure.

use super::{model::Neighbours, proc};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    path::PathBuf,
};

/// A look at every process of the machine. Open it before the sandbox hides them.
#[derive(Debug)]
pub(super) struct Outlook {
    /// Keeps the outer `/proc` reachable.
    proc: File,
    clock_hz: u64,
    cores: usize,
    before: Option<Glance>,
    load_before: f64,
}

/// Processes outside, and the machine's clock.
#[derive(Debug, Default)]
struct Glance {
    /// Ticks by process id and name.
    processes: BTreeMap<(u32, String), u64>,
    /// Of all, those that have been waited for included.
    ticks: u64,
    stolen: u64,
    uptime: f64,
}

impl Outlook {
    /// Holds on to the `/proc` that is mounted now.
    pub(super) fn open(clock_hz: u64, cores: usize) -> io::Result<Self> {
        Ok(Self { proc: File::open("/proc")?, clock_hz, cores, before: None, load_before: 0.0 })
    }

    /// The watch begins. To be called inside the sandbox.
    pub(super) fn begin(&mut self) {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        self.load_before = load.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
        self.before = Some(self.glance());
    }

    /// What others have used since the beginning.
    pub(super) fn so_far(&self) -> Neighbours {
        let (now, nothing) = (self.glance(), Glance::default());
        let before = self.before.as_ref().unwrap_or(&nothing);
        let all = (now.uptime - before.uptime) * self.clock_hz as f64 * self.cores as f64;
        let percent = |ticks: u64| if all > 0.0 { ticks as f64 / all * 100.0 } else { 0.0 };
        let used = now.processes.iter().map(|(process, ticks)| {
            let earlier = before.processes.get(process).copied().unwrap_or(0);
            (process.1.clone(), percent(ticks.saturating_sub(earlier)))
        });
        let mut busiest: Vec<_> = used.filter(|(_, percent)| *percent >= 0.5).collect();
        busiest.sort_by(|a, b| b.1.total_cmp(&a.1));
        busiest.truncate(3);
        Neighbours {
            load_before: self.load_before,
            others_percent: percent(now.ticks.saturating_sub(before.ticks)),
            steal_percent: percent(now.stolen.saturating_sub(before.stolen)),
            busiest,
        }
    }

    fn outer(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{path}", self.proc.as_raw_fd()))
    }

    fn glance(&self) -> Glance {
        // The outer `/proc` knows us by our number there.
        let ours = fs::read_link(self.outer("self")).ok().and_then(|link| link.to_str()?.parse().ok()).unwrap_or(0);
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(self.outer(".")).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let text = fs::read_to_string(self.outer(&format!("{pid}/stat"))).unwrap_or_default();
            all.extend(proc::Stat::parse(&text).map(|stat| (pid, stat)));
        }
        let mut glance = Glance::default();
        for (pid, stat) in &all {
            // The kernel's threads work for whoever asks, which is mostly us.
            if !stat.is_kernel && !is_below(&all, *pid, ours) {
                glance.ticks += stat.own + stat.reaped;
                glance.processes.insert((*pid, stat.name.clone()), stat.own);
            }
        }
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        glance.stolen = proc::steal(&stat).map_or(0, |(stolen, _)| stolen);
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        glance.uptime = uptime.split_whitespace().next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0.0);
        glance
    }
}

/// Whether a process is `ancestor` or was started by it, by its children, and so on.
fn is_below(all: &BTreeMap<u32, proc::Stat>, pid: u32, ancestor: u32) -> bool {
    let parent = |pid: &u32| all.get(pid).map(|stat| stat.parent);
    // Numbers that were given out again while we looked might make a ring.
    std::iter::successors(Some(pid), parent).take(all.len()).any(|pid| pid == ancestor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_of_any_depth_are_ours_and_nobody_else() {
        let stat = |parent| proc::Stat { name: String::new(), parent, is_kernel: false, own: 0, reaped: 0 };
        let all: BTreeMap<u32, proc::Stat> =
            [(1, 0), (10, 1), (11, 10), (12, 11), (20, 1), (30, 31), (31, 30)].map(|(pid, up)| (pid, stat(up))).into();
        let ours: Vec<u32> = all.keys().copied().filter(|pid| is_below(&all, *pid, 10)).collect();
        assert_eq!(ours, [10, 11, 12]);
    }
}
