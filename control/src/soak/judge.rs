//! From what was seen to a verdict.

use super::{
    faults::Fault,
    report::{End, Gaps, Handles, Process, Report, Resident, Verdict},
    series::Sample,
    statistics::{median, slope},
};
use crate::{registration::LOG_CAPACITY, world::host::gaps::percentile};

/// What a fresh process still takes is no growth.
const WARM_UP: f64 = 300.0;
/// The device keeps its latest steps, of which a swap takes two. Until there are as many as it keeps, that takes memory,
/// and is no growth either.
const LOG_FULL: u64 = LOG_CAPACITY as u64 / 2;
/// A fit over less than this says nothing of an hour.
const SHORTEST_FIT: f64 = 300.0;
/// Growth per hour that fails, in percent.
const PERCENT_PER_HOUR: f64 = 1.0;
/// Growth over the fitted time below this is not told from noise: 64 pages.
const LEAST_GROWTH: f64 = 256.0 * 1024.0;
/// In less time than this, what is opened once is not told from what is opened again and again.
const SHORTEST_FOR_HANDLES: f64 = 60.0;
/// Handles that come and go: a file being written, a connection that is kept for a while.
const COME_AND_GO: f64 = 2.0;

/// What process `number` held. Handles are judged in short runs, too, after a third of them.
pub(super) fn process(name: &str, number: usize, samples: &[Sample]) -> Process {
    let end = samples.last().map_or(0.0, |sample| sample.at);
    let held = |sample: &Sample| sample.processes[number];
    let warm_up = warm_up(samples);
    let fitted_from_s = warm_up.unwrap_or(WARM_UP);
    let points: Vec<(f64, f64)> = samples
        .iter()
        .filter(|sample| sample.at >= fitted_from_s)
        .map(|sample| (sample.at, held(sample).resident as f64))
        .collect();
    let per_second = slope(&points);
    let typical = median(points.iter().map(|point| point.1));
    let resident = Resident {
        first: samples.first().map_or(0, |sample| held(sample).resident),
        last: samples.last().map_or(0, |sample| held(sample).resident),
        largest: samples.iter().map(|sample| held(sample).resident).max().unwrap_or(0),
        fitted_from_s,
        slope_per_hour: per_second * 3600.0,
        slope_percent_per_hour: if typical > 0.0 { per_second * 3600.0 / typical * 100.0 } else { 0.0 },
        judged: warm_up.is_some_and(|warm_up| end - warm_up >= SHORTEST_FIT),
    };
    let warm = WARM_UP.min(end / 3.0);
    let between = |from: f64, to: f64| {
        let share = |part: f64| warm + (end - warm) * part;
        let (from, to) = (share(from), share(to));
        median(samples.iter().filter(|s| s.at >= from && s.at <= to).map(|s| held(s).handles as f64))
    };
    let handles = Handles {
        early: between(0.0, 0.25),
        late: between(0.75, 1.0),
        largest: samples.iter().map(|sample| held(sample).handles).max().unwrap_or(0),
    };
    let cpu_ms: u64 = samples.iter().map(|sample| held(sample).cpu_ms).sum();
    Process { name: name.to_owned(), resident, handles, cpu_seconds: cpu_ms as f64 / 1000.0 }
}

/// When nothing takes memory any more that it needs once only; `None`: not in this run.
fn warm_up(samples: &[Sample]) -> Option<f64> {
    let mut swaps = 0;
    let full = samples.iter().find(|sample| {
        swaps += sample.swaps;
        swaps >= LOG_FULL
    });
    match full {
        Some(full) => Some(WARM_UP.max(full.at)),
        None => (swaps == 0).then_some(WARM_UP),
    }
}

/// The largest gaps of all samples.
pub(super) fn gaps(samples: &[Sample]) -> Gaps {
    let mut largest: Vec<u64> = samples.iter().map(|sample| sample.gap_up_us.max(sample.gap_down_us)).collect();
    largest.sort_unstable();
    Gaps { p50: percentile(&largest, 0.5), p99: percentile(&largest, 0.99), largest: percentile(&largest, 1.0) }
}

/// What is wrong with what was seen.
pub(super) fn verdict(report: &Report) -> Verdict {
    let (traffic, swaps) = (&report.traffic, &report.swaps);
    let mut failures = Vec::new();
    let mut unjudged = Vec::new();
    if let End::Stopped(reason) = &report.end {
        failures.push(format!("it could not go on: {reason}"));
        if traffic.up.sent == 0 {
            let line = format!("soak FAILED: it could not begin: {reason}");
            return Verdict { passed: false, line, failures, unjudged };
        }
    }
    for (way, name) in [(&traffic.up, "from the device"), (&traffic.down, "to the device")] {
        for (count, what) in [
            (way.lost, "lost"),
            (way.duplicated, "duplicated"),
            (way.reordered, "reordered"),
            (way.corrupted, "changed"),
        ] {
            if count > 0 {
                failures.push(format!("{} {what} {name}", counted(count, "packet")));
            }
        }
        if way.received == 0 {
            failures.push(format!("no packet arrived {name}"));
        }
    }
    if traffic.errors > 0 {
        failures.push(format!("{} in place of a packet", counted(traffic.errors, "error")));
    }
    if traffic.tcp_mismatched > 0 {
        failures.push(format!("{} of TCP missing or changed", counted(traffic.tcp_mismatched, "byte")));
    }
    if traffic.tcp_resets > 0 {
        failures.push(format!("{} reset", counted(traffic.tcp_resets, "TCP connection")));
    }
    if traffic.tcp_bytes == 0 && report.options.tcp_rate > 0 {
        failures.push("TCP carried nothing".to_owned());
    }
    if swaps.wrong_rules > 0 {
        failures.push(format!("{} without the rules of its identity", counted(swaps.wrong_rules, "swap")));
    }
    let killed = report.faults.iter().any(|struck| struck.fault == Fault::GatewayRestart.name());
    if swaps.audited != swaps.done && killed {
        unjudged.push(format!(
            "{} of {} swaps are in the audit: what a killed gateway had not written is gone",
            swaps.audited, swaps.done
        ));
    } else if swaps.audited != swaps.done {
        failures.push(format!("{} of {} in the gateway's audit", swaps.audited, counted(swaps.done, "swap")));
    }
    for Process { name, resident, handles, .. } in &report.processes {
        let fitted = (report.seconds - resident.fitted_from_s) / 3600.0;
        let grows =
            resident.slope_percent_per_hour >= PERCENT_PER_HOUR && resident.slope_per_hour * fitted >= LEAST_GROWTH;
        if resident.judged && grows {
            failures.push(format!(
                "memory of {name} grows by {:.1} % ({:.0} kB) per hour",
                resident.slope_percent_per_hour,
                resident.slope_per_hour / 1024.0
            ));
        }
        if report.seconds >= SHORTEST_FOR_HANDLES && handles.late > handles.early + COME_AND_GO {
            failures.push(format!("handles of {name} grow from {:.0} to {:.0}", handles.early, handles.late));
        }
    }
    if report.processes.iter().any(|process| !process.resident.judged) {
        unjudged.push(format!(
            "memory, whose slope is fitted from minute 5 and swap {LOG_FULL} on, over 5 minutes or more: this run has {:.0} s \
             and {}",
            report.seconds,
            counted(swaps.done, "swap")
        ));
    }
    if report.seconds < SHORTEST_FOR_HANDLES {
        unjudged.push("handles, for which it takes a minute".to_owned());
    }
    let passed = failures.is_empty();
    let line = line(report, &failures);
    Verdict { passed, line, failures, unjudged }
}

fn line(report: &Report, failures: &[String]) -> String {
    let traffic = &report.traffic;
    let early = if report.end == End::Interrupted { " (ended early)" } else { "" };
    let packets = traffic.up.sent + traffic.down.sent;
    let excused = match traffic.up.lost_by_faults + traffic.down.lost_by_faults {
        0 => String::new(),
        lost => format!(", {lost} lost by faults that may"),
    };
    let what = format!(
        "{} over {}{early}: {}, {packets} packets and {} MB of TCP{excused}",
        report.options.transport.name(),
        clock(report.seconds),
        counted(report.swaps.done, "swap"),
        traffic.tcp_bytes / 1_000_000,
    );
    if failures.is_empty() {
        format!("soak PASSED: {what}; nothing lost, duplicated, reordered or reset, and nothing grows")
    } else {
        format!("soak FAILED: {}; {what}", failures.join("; "))
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Hours, minutes and seconds.
pub(super) fn clock(seconds: f64) -> String {
    let whole = seconds as u64;
    format!("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
}

#[cfg(test)]
mod tests;
