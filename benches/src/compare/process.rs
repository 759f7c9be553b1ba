//! CPU and memory of processes, from `/proc`.

use super::{error::RunError, proc};
use std::fs;

/// CPU ticks (user and system) that these processes have used, all threads, living and ended.
pub(super) fn ticks(pids: &[u32]) -> Result<u64, RunError> {
    let one = |pid: &u32| {
        let path = format!("/proc/{pid}/stat");
        let stat = fs::read_to_string(&path).ok().and_then(|text| proc::Stat::parse(&text));
        stat.map(|stat| stat.own).ok_or(RunError::Unreadable(path))
    };
    pids.iter().map(one).sum()
}

/// Nanoseconds on a core of a process's living threads: finer than ticks, for what does next to nothing.
pub(super) fn nanoseconds(pid: u32) -> Result<u64, RunError> {
    let unreadable = || RunError::Unreadable(format!("/proc/{pid}/task/*/schedstat"));
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_err(|_| unreadable())?;
    let mut sum = 0;
    for thread in threads.flatten() {
        let text = fs::read_to_string(thread.path().join("schedstat")).map_err(|_| unreadable())?;
        sum += proc::schedstat_ns(&text).ok_or_else(unreadable)?;
    }
    Ok(sum)
}

/// A line of a process's memory account in kB: `VmRSS` is what is resident now, `VmHWM` its peak, `RssAnon` what of it
/// is not backed by a file.
pub(super) fn memory_kb(pid: u32, name: &str) -> Result<u64, RunError> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).unwrap_or_default();
    proc::status_kb(&text, name).ok_or(RunError::Unreadable(path))
}
