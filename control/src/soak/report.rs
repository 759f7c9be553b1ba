//! The report: what a soak saw, for programs (docs/soak.md is its schema) and for the page.

use super::{books::Books, series::Sample};
use crate::world::Transport;
use serde::{Deserialize, Serialize};

/// Of the schema; a field that is added does not change it.
pub(super) const SCHEMA: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    /// Version of the schema.
    pub schema: u32,
    /// Version of the program.
    pub version: String,
    /// `linux`, `windows`.
    pub system: String,
    /// What was asked for.
    pub options: Asked,
    /// When it began (RFC 3339).
    pub began: String,
    /// How long the traffic ran.
    pub seconds: f64,
    /// Why it ended.
    pub end: End,
    /// What came of it.
    pub verdict: Verdict,
    /// The account of the packets.
    pub traffic: Books,
    /// Swaps of identities.
    pub swaps: Swaps,
    /// The largest gap between arrivals of each sample: percentiles of them, in microseconds.
    pub gaps_us: Gaps,
    /// What the processes held.
    pub processes: Vec<Process>,
    /// Faults made, in order.
    pub faults: Vec<Struck>,
    /// What was seen over time.
    pub samples: Vec<Sample>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    pub userspace: bool,
    /// The device's real adapter, where gateway and intranet are memory.
    #[serde(default)]
    pub adapter: Option<String>,
    pub transport: Transport,
    pub duration_s: f64,
    /// `None`: never.
    pub swap_every_s: Option<f64>,
    pub rate: u32,
    pub tcp_rate: u32,
    pub faults: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    /// The time was over.
    Duration,
    /// Somebody ended it early.
    Interrupted,
    /// It could not go on, and why.
    Stopped(String),
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Verdict {
    pub passed: bool,
    /// One line.
    pub line: String,
    /// What is wrong, one sentence each.
    pub failures: Vec<String>,
    /// What was not judged, and why.
    pub unjudged: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Swaps {
    pub done: u64,
    /// In the gateway's audit.
    pub audited: u64,
    /// After which the rules were not those of the identity.
    pub wrong_rules: u64,
    pub slowest_ms: u64,
    pub mean_ms: f64,
    /// Handshakes on the wire (HTTP/2's are not seen).
    pub handshakes: u64,
    /// Those of them that belong to no swap: keys renewed in time, or after a fault.
    pub rekeys: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Gaps {
    pub p50: u64,
    pub p99: u64,
    pub largest: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Process {
    pub name: String,
    pub resident: Resident,
    pub handles: Handles,
    pub cpu_seconds: f64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Resident {
    pub first: u64,
    pub last: u64,
    pub largest: u64,
    /// The fit begins here, in seconds.
    pub fitted_from_s: f64,
    /// Bytes per hour.
    pub slope_per_hour: f64,
    /// The same in percent of the median.
    pub slope_percent_per_hour: f64,
    /// The run was long enough.
    pub judged: bool,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Handles {
    /// Median of the first quarter after the warm-up.
    pub early: f64,
    /// Median of the last quarter.
    pub late: f64,
    pub largest: u64,
}

/// A fault that was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Struck {
    pub fault: String,
    /// When, in seconds.
    pub at: f64,
    /// Until traffic flowed again both ways.
    pub seconds: f64,
}
