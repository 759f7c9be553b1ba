//! The page: one file, no script, plots drawn as inline SVG. What is text is HTML around the drawing, so that it stays as
//! large as text should be however narrow the page gets.

mod plot;
mod scale;

use super::{
    judge::clock,
    report::{End, Process, Report},
    series::Sample,
};
use plot::{Band, Line, Plot};
use scale::Scale;
use std::fmt::{self, Write};

const STYLE: &str = include_str!("style.css");

/// The report as a page.
pub(super) fn page(report: &Report) -> String {
    let mut page = String::new();
    // Writing to a string does not fail.
    let _ = write_page(&mut page, report);
    page
}

fn write_page(page: &mut String, report: &Report) -> fmt::Result {
    let (options, verdict) = (&report.options, &report.verdict);
    let title = format!("Soak: {} over {}", options.transport.name(), clock(report.seconds));
    let (class, mark) = if verdict.passed { ("passed", "✓ passed") } else { ("failed", "✗ failed") };
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n<h1>{}</h1>\n<p class=\"verdict {class}\"><strong>{mark}</strong>: {}</p>\n",
        escaped(&title),
        escaped(&title),
        escaped(verdict.line.split_once(": ").map_or(&*verdict.line, |(_, rest)| rest)),
    )?;
    for sentence in &verdict.unjudged {
        writeln!(page, "<p class=\"note\">Not judged: {}.</p>", escaped(sentence))?;
    }
    tiles(page, report)?;
    plots(page, report)?;
    tables(page, report)?;
    writeln!(page, "</main>\n</body>\n</html>")
}

fn tiles(page: &mut String, report: &Report) -> fmt::Result {
    let traffic = &report.traffic;
    let both = |count: fn(&super::books::Way) -> u64| count(&traffic.up) + count(&traffic.down);
    let mut tiles = vec![
        (
            "Swaps",
            grouped(report.swaps.done),
            format!("slowest {} ms, mean {:.0}", report.swaps.slowest_ms, report.swaps.mean_ms),
        ),
        ("Packets", grouped(both(|way| way.sent)), format!("and {} MB of TCP", traffic.tcp_bytes / 1_000_000)),
        (
            "Lost",
            grouped(both(|way| way.lost)),
            format!("{} by faults that may", grouped(both(|way| way.lost_by_faults))),
        ),
        (
            "Duplicated, reordered",
            format!("{}, {}", grouped(both(|way| way.duplicated)), grouped(both(|way| way.reordered))),
            format!("{} TCP resets", traffic.tcp_resets),
        ),
        (
            "Largest gap",
            milliseconds(report.gaps_us.largest),
            format!("half of the seconds below {}", milliseconds(report.gaps_us.p50)),
        ),
    ];
    let slopes: Vec<(String, String)> = report.processes.iter().map(memory_of).collect();
    for (slope, held) in slopes {
        tiles.push(("Memory", slope, held));
    }
    writeln!(page, "<section class=\"tiles\">")?;
    for (name, value, more) in tiles {
        writeln!(
            page,
            "<div><span>{name}</span><strong>{}</strong><small>{}</small></div>",
            escaped(&value),
            escaped(&more)
        )?;
    }
    writeln!(page, "</section>")
}

fn memory_of(process: &Process) -> (String, String) {
    let resident = &process.resident;
    let slope = if resident.judged { format!("{:+.2} %/h", resident.slope_percent_per_hour) } else { "–".to_owned() };
    (slope, format!("{}: {} at the end", process.name, megabytes(resident.last)))
}

fn plots(page: &mut String, report: &Report) -> fmt::Result {
    let key = [
        ("swap", "a swap", report.swaps.done > 0),
        ("loss", "packets lost", report.traffic.up.lost + report.traffic.down.lost > 0),
        ("fault", "a fault, made on purpose", !report.faults.is_empty()),
    ];
    let shown: String = key
        .iter()
        .filter(|(_, _, there)| *there)
        .map(|(class, what, _)| format!("<span class=\"key {class}\">{what}</span> "))
        .collect();
    if !shown.is_empty() {
        writeln!(page, "<p class=\"note\">Over hours, minutes and seconds since the traffic began. {shown}</p>")?;
    }
    let samples = &report.samples;
    let end = samples.last().map_or(1.0, |sample| sample.at).max(1e-3);
    let of = |value: fn(&Sample) -> f64| samples.iter().map(|sample| (sample.at, value(sample))).collect::<Vec<_>>();
    let bands: Vec<Band> = report
        .faults
        .iter()
        .map(|struck| Band { from: struck.at, to: struck.at + struck.seconds, name: &struck.fault })
        .collect();
    let swaps: Vec<f64> = samples.iter().filter(|sample| sample.swaps > 0).map(|sample| sample.at).collect();
    let losses: Vec<f64> = samples.iter().filter(|sample| sample.lost > 0).map(|sample| sample.at).collect();
    let plot = |name: &str, unit: &str, scale: Scale, lines: &[Line<'_>]| {
        Plot { name, unit, end, scale, lines, bands: &bands, swaps: &swaps, losses: &losses }.to_string()
    };

    let rate = of(|sample| sample.bytes as f64 * 8e-6 / sample.seconds.max(1e-3));
    let line = [Line { name: "both ways together", points: &rate, class: "a", fine: false }];
    page.push_str(&plot("Throughput", "Mb/s inside the tunnel", Scale::from_zero(&rate), &line));

    let (up, down) = (of(|sample| sample.gap_up_us as f64 / 1e3), of(|sample| sample.gap_down_us as f64 / 1e3));
    let lines = [
        Line { name: "from the device", points: &up, class: "a", fine: false },
        Line { name: "to the device", points: &down, class: "b", fine: false },
    ];
    let scale = Scale::logarithmic(up.iter().chain(&down).map(|point| point.1));
    page.push_str(&plot("Largest gap", "ms between two packets that arrive, logarithmic", scale, &lines));

    for (number, process) in report.processes.iter().enumerate() {
        let held: Vec<(f64, f64)> =
            samples.iter().map(|sample| (sample.at, sample.processes[number].resident as f64 / 1e6)).collect();
        let fit = fitted(process, &held, end);
        let mut lines = vec![Line { name: "resident", points: &held, class: "a", fine: false }];
        if process.resident.judged {
            lines.push(Line { name: "fitted slope", points: &fit, class: "b", fine: true });
        }
        let unit = "MB; the axis does not begin at zero";
        page.push_str(&plot(&format!("Memory: {}", process.name), unit, Scale::around(&held), &lines));
    }

    let each = |value: &dyn Fn(&Sample, usize) -> f64| -> Vec<Vec<(f64, f64)>> {
        let one = |number| samples.iter().map(|sample| (sample.at, value(sample, number))).collect();
        (0..report.processes.len()).map(one).collect()
    };
    let draw = |name: &str, unit: &str, series: &[Vec<(f64, f64)>]| {
        let lines: Vec<Line<'_>> = report
            .processes
            .iter()
            .zip(series)
            .zip(["a", "b"])
            .map(|((process, points), class)| Line { name: &process.name, points, class, fine: false })
            .collect();
        plot(name, unit, Scale::from_zero(&series.concat()), &lines)
    };
    let handles = each(&|sample, number| sample.processes[number].handles as f64);
    page.push_str(&draw("Handles", "open at the end of each sample", &handles));
    let cpu = each(&|sample, number| sample.processes[number].cpu_ms as f64 / 10.0 / sample.seconds.max(1e-3));
    page.push_str(&draw("Processor", "% of one core", &cpu));
    Ok(())
}

/// The fitted line, through the middle of what it was fitted to.
fn fitted(process: &Process, held: &[(f64, f64)], end: f64) -> Vec<(f64, f64)> {
    let resident = &process.resident;
    let from = resident.fitted_from_s;
    let level = super::statistics::median(held.iter().filter(|point| point.0 >= from).map(|point| point.1));
    let (per_second, middle) = (resident.slope_per_hour / 3600.0 / 1e6, f64::midpoint(from, end));
    [from, end].map(|at| (at, level + per_second * (at - middle))).to_vec()
}

fn tables(page: &mut String, report: &Report) -> fmt::Result {
    let (options, traffic, swaps) = (&report.options, &report.traffic, &report.swaps);
    writeln!(page, "<section class=\"tables\">\n<div class=\"scroll\"><table><caption>Packets</caption>")?;
    writeln!(page, "<tr><th></th><th>from the device</th><th>to the device</th></tr>")?;
    type Count = fn(&super::books::Way) -> u64;
    let rows: [(&str, Count); 7] = [
        ("sent", |way| way.sent),
        ("received", |way| way.received),
        ("lost", |way| way.lost),
        ("lost by faults", |way| way.lost_by_faults),
        ("duplicated", |way| way.duplicated),
        ("reordered", |way| way.reordered),
        ("changed", |way| way.corrupted),
    ];
    for (name, count) in rows {
        let (up, down) = (grouped(count(&traffic.up)), grouped(count(&traffic.down)));
        writeln!(page, "<tr><th>{name}</th><td>{up}</td><td>{down}</td></tr>")?;
    }
    writeln!(page, "</table></div>\n<div class=\"scroll\"><table><caption>Processes</caption>")?;
    writeln!(
        page,
        "<tr><th></th><th>memory at first</th><th>at the end</th><th>per hour</th><th>handles early</th><th>late</th><th>CPU s</th></tr>"
    )?;
    for Process { name, resident, handles, cpu_seconds } in &report.processes {
        let slope =
            if resident.judged { format!("{:+.0} kB", resident.slope_per_hour / 1024.0) } else { "–".to_owned() };
        writeln!(
            page,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{slope}</td><td>{:.0}</td><td>{:.0}</td><td>{cpu_seconds:.1}</td></tr>",
            escaped(name),
            megabytes(resident.first),
            megabytes(resident.last),
            handles.early,
            handles.late,
        )?;
    }
    writeln!(page, "</table></div>")?;
    if !report.faults.is_empty() {
        writeln!(
            page,
            "<div class=\"scroll\"><table><caption>Faults</caption><tr><th>which</th><th>at</th><th>seconds</th></tr>"
        )?;
        for struck in &report.faults {
            let (name, at) = (escaped(&struck.fault), clock(struck.at));
            writeln!(page, "<tr><th>{name}</th><td>{at}</td><td>{:.2}</td></tr>", struck.seconds)?;
        }
        writeln!(page, "</table></div>")?;
    }
    let end = match &report.end {
        End::Duration => "its time was over".to_owned(),
        End::Interrupted => "somebody ended it".to_owned(),
        End::Stopped(reason) => reason.clone(),
    };
    let place = match (&options.adapter, options.userspace) {
        (Some(adapter), _) => format!("memory (userspace), the device with the real adapter {}", escaped(adapter)),
        (None, true) => "memory (userspace)".to_owned(),
        (None, false) => "kernel namespaces and TUN devices".to_owned(),
    };
    let every = options.swap_every_s.map_or_else(|| "never".to_owned(), |every| format!("every {every} s"));
    writeln!(
        page,
        "<p class=\"note\">vestibule {} on {}, {place}; began {}; ended because {}. Swaps {every}; {} packets/s and {} Mb/s \
         of TCP each way. {} of {} swaps in the gateway's audit; {} handshakes on the wire, {} of them for no swap. One \
         sample each {:.0} s or so.</p>\n</section>",
        escaped(&report.version),
        escaped(&report.system),
        escaped(&report.began),
        escaped(&end),
        options.rate,
        options.tcp_rate,
        swaps.audited,
        swaps.done,
        swaps.handshakes,
        swaps.rekeys,
        report.samples.first().map_or(0.0, |sample| sample.seconds),
    )
}

/// Text as it may stand in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// With a thin space between groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

fn milliseconds(microseconds: u64) -> String {
    match microseconds {
        0..10_000 => format!("{:.1} ms", microseconds as f64 / 1e3),
        10_000..10_000_000 => format!("{} ms", grouped(microseconds / 1000)),
        _ => format!("{:.1} s", microseconds as f64 / 1e6),
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests;
