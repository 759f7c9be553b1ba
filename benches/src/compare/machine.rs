//! Where we are.

use super::{model::Machine, proc};
use std::{
    fs,
    process::{Command, Stdio},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// This machine.
pub(super) fn this() -> Machine {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let memory = read("/proc/meminfo");
    let memory_kb = proc::field(&memory, "MemTotal").and_then(|text| text.split_whitespace().next()?.parse().ok());
    let system = read("/etc/os-release");
    let system = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown system");
    Machine {
        cpu: proc::field(&read("/proc/cpuinfo"), "model name").unwrap_or("unknown CPU").to_owned(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_mb: memory_kb.unwrap_or(0u64) / 1000,
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        system: system.trim_matches('"').to_owned(),
        clock_hz: fs::read("/proc/self/auxv").ok().and_then(|auxv| proc::ticks_per_second(&auxv)).unwrap_or(100),
        iperf3: said("iperf3", &["--version"]).unwrap_or_default(),
    }
}

/// The moment.
pub(super) fn now() -> String {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default()
}

/// The commit that the working directory is at, with a mark when it has changes.
pub(super) fn commit() -> Option<String> {
    said("git", &["describe", "--always", "--dirty", "--abbrev=12"])
}

/// The first line that a command prints.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| text.lines().next().map(str::trim).map(str::to_owned)).flatten()
}
