//! `compare.svg`: one panel for each measure, one bar for each engine, a whisker for the spread.

use super::{
    engines::{Engine, Kind, OURS},
    measure::{Better, Measure, Test, find, value},
    model::Report,
    targets,
};
use std::fmt::Write;

const WIDTH: f64 = 1140.0;
const MARGIN: f64 = 24.0;
const COLUMNS: usize = 3;
const GAP: f64 = 36.0;
/// Height of the title above the panels.
const HEAD: f64 = 92.0;
/// Height of a panel's title.
const TITLE: f64 = 44.0;
/// Height of an engine's row, and of the bar in it.
const ROW: f64 = 26.0;
const BAR: f64 = 15.0;
/// Height of the axis below the bars.
const AXIS: f64 = 34.0;
/// Width of the engines' names, and of the room for numbers after the bars.
const NAMES: f64 = 90.0;
const NUMBERS: f64 = 48.0;

/// Legible on white and on black; a reader that knows what it wants gets more contrast.
const STYLE: &str = "
  text { font-family: system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; font-size: 12px; fill: #6e7781; }
  .title { font-size: 20px; font-weight: 600; }
  .panel { font-size: 14px; font-weight: 600; }
  .small { font-size: 11px; }
  .warning { fill: #d1242f; font-weight: 600; }
  .ours { fill: #0f8f84; }
  text.ours { font-weight: 600; }
  .other { fill: #98a4b3; }
  .grid { stroke: #8c959f; stroke-opacity: 0.28; }
  .axis { stroke: #8c959f; stroke-opacity: 0.7; }
  .whisker { stroke: #57606a; stroke-width: 1.5; }
  .target { stroke: #bc6c00; stroke-width: 1.5; stroke-dasharray: 5 3; }
  text.target { fill: #bc6c00; stroke: none; }
  @media (prefers-color-scheme: dark) {
    text { fill: #adbac7; } .ours { fill: #2fbfb1; } .other { fill: #6b7785; } .whisker { stroke: #cdd9e5; }
    .target { stroke: #e0a458; } text.target { fill: #e0a458; } .warning { fill: #ff7b72; }
  }
";

/// The whole file.
pub(super) fn render(report: &Report) -> String {
    let panels: Vec<&Measure> =
        panels().into_iter().filter(|measure| drawn(report, measure).next().is_some()).collect();
    let height = TITLE + bars(report).count() as f64 * ROW + AXIS;
    let lines = panels.len().div_ceil(COLUMNS);
    let whole = HEAD + lines as f64 * (height + 16.0) + MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {whole}\" width=\"{WIDTH}\" height=\"{whole}\" \
         role=\"img\">\n<title>Userspace WireGuard, side by side</title>\n<style>{STYLE}</style>\n"
    );
    head(&mut out, report);
    let width = (WIDTH - 2.0 * MARGIN - GAP * (COLUMNS - 1) as f64) / COLUMNS as f64;
    for (number, measure) in panels.iter().enumerate() {
        let x = MARGIN + (number % COLUMNS) as f64 * (width + GAP);
        let y = HEAD + (number / COLUMNS) as f64 * (height + 16.0);
        let _ = writeln!(out, "<g transform=\"translate({x:.1} {y:.1})\">");
        panel(&mut out, report, measure, width);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

/// What is drawn, row by row.
fn panels() -> Vec<&'static Measure> {
    let wanted = [
        (Test::Tcp1, value::GBPS),
        (Test::Tcp4, value::GBPS),
        (Test::Tcp1r, value::GBPS),
        (Test::Tcp1, value::CPU),
        (Test::Udp, value::GBPS),
        (Test::UdpHalf, value::LOSS),
        (Test::Rtt, value::RTT),
        (Test::Idle, value::IDLE),
        (Test::Rss, value::MEMORY),
    ];
    wanted.iter().filter_map(|(test, value)| find(*test, value)).collect()
}

/// The engines with a bar in any panel.
fn bars(report: &Report) -> impl Iterator<Item = &Engine> {
    let engines = report.engines.iter().filter(|engine| engine.kind != Kind::Cable);
    engines.filter(|engine| report.samples.iter().any(|sample| sample.engine == engine.name))
}

/// The engines with a bar in a panel, each with its row.
fn drawn<'a>(
    report: &'a Report,
    measure: &'a Measure,
) -> impl Iterator<Item = (usize, &'a Engine, super::stats::Spread)> {
    bars(report).enumerate().filter_map(|(row, engine)| Some((row, engine, report.spread(&engine.name, measure)?)))
}

fn head(out: &mut String, report: &Report) {
    let machine = &report.machine;
    let (rounds, seconds) = (report.settings.rounds, report.settings.seconds);
    let about = format!(
        "{}, {} cores, Linux {} · {} · {rounds} interleaved rounds of {seconds} s",
        machine.cpu,
        machine.cores,
        machine.kernel,
        report.began.get(..10).unwrap_or_default()
    );
    text(out, MARGIN, 36.0, "title", "start", "Userspace WireGuard, side by side");
    text(out, MARGIN, 58.0, "", "start", &about);
    if !report.neighbours.is_quiet() {
        let warning = format!(
            "Not idle: others used {:.0} % of the machine; indications, not results.",
            report.neighbours.others_percent + report.neighbours.steal_percent
        );
        text(out, MARGIN, 77.0, "warning", "start", &warning);
    } else {
        text(out, MARGIN, 77.0, "small", "start", "Bars: medians. Whiskers: smallest to largest. Dashed: target.");
    }
}

fn panel(out: &mut String, report: &Report, measure: &Measure, width: f64) {
    let better = match measure.better {
        Better::More => "more is better",
        Better::Less => "less is better",
    };
    let cable = report.engines.iter().find(|engine| engine.kind == Kind::Cable);
    let cable = cable.and_then(|cable| report.spread(&cable.name, measure));
    let places = measure.decimals;
    let ceiling = cable.map_or_else(String::new, |spread| format!(" · veth alone: {:.places$}", spread.median));
    text(out, 0.0, 14.0, "panel", "start", measure.title);
    text(out, 0.0, 31.0, "small", "start", &format!("{}, {better}{ceiling}", measure.unit));

    let target = targets::line(report, measure);
    let largest = drawn(report, measure).map(|(_, _, spread)| spread.max).chain(target).fold(0.0, f64::max);
    let (step, top) = scale(largest);
    let room = width - NAMES - NUMBERS;
    let at = |number: f64| NAMES + number / top * room;
    let bottom = TITLE + bars(report).count() as f64 * ROW;

    let steps = (top / step).round() as usize;
    for number in 0..=steps {
        let position = at(number as f64 * step);
        let class = if number == 0 { "axis" } else { "grid" };
        let _ = writeln!(
            out,
            "<line class=\"{class}\" x1=\"{position:.1}\" y1=\"{TITLE}\" x2=\"{position:.1}\" y2=\"{bottom}\"/>"
        );
        text(out, position, bottom + 14.0, "small", "middle", &number_text(number as f64 * step));
    }
    for (row, engine, spread) in drawn(report, measure) {
        let middle = TITLE + (row as f64 + 0.5) * ROW;
        let class = if engine.name == OURS { "ours" } else { "other" };
        let name = if engine.name == OURS { "ours" } else { "" };
        text(out, NAMES - 8.0, middle + 4.0, name, "end", &engine.name);
        let (length, y) = ((at(spread.median) - NAMES).max(1.0), middle - BAR / 2.0);
        let _ = writeln!(
            out,
            "<rect class=\"{class}\" x=\"{NAMES}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\"/>"
        );
        let (low, high) = (at(spread.min), at(spread.max));
        if spread.count > 1 {
            let (upper, lower) = (middle - 4.0, middle + 4.0);
            let _ = writeln!(
                out,
                "<path class=\"whisker\" fill=\"none\" d=\"M{low:.1} {upper:.1}V{lower:.1}M{low:.1} {middle:.1}H{high:.1}M{high:.1} \
                 {upper:.1}V{lower:.1}\"/>"
            );
        }
        text(out, high.max(NAMES + 1.0) + 6.0, middle + 4.0, name, "start", &format!("{:.places$}", spread.median));
    }
    if let Some(target) = target {
        let position = at(target);
        let above = TITLE - 3.0;
        let _ = writeln!(
            out,
            "<line class=\"target\" x1=\"{position:.1}\" y1=\"{above}\" x2=\"{position:.1}\" y2=\"{bottom}\"/>"
        );
        let sign = if measure.better == Better::More { "≥" } else { "≤" };
        let label = format!("target {sign} {target:.places$}");
        let anchor = if position > width - 60.0 { "end" } else { "middle" };
        text(out, position.min(width), bottom + 28.0, "small target", anchor, &label);
    }
}

/// The distance of grid lines, and the end of the axis, for numbers up to `largest`.
fn scale(largest: f64) -> (f64, f64) {
    if largest <= 0.0 || !largest.is_finite() {
        return (1.0, 1.0);
    }
    let rough = largest / 4.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(10.0 * power);
    (step, step * (largest / step * 0.999).ceil().max(1.0))
}

/// A number of the axis without noise.
fn number_text(number: f64) -> String {
    let text = format!("{number:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn text(out: &mut String, x: f64, y: f64, class: &str, anchor: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    let _ = writeln!(out, "<text{class} x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{content}</text>");
}

#[cfg(test)]
mod tests {
    use super::super::model::testing::report;
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!(scale(6.1), (2.0, 8.0));
        assert_eq!(scale(4.0), (1.0, 4.0));
        assert_eq!(scale(21.0), (10.0, 30.0));
        assert_eq!(scale(0.0), (1.0, 1.0));
        let (step, top) = scale(0.19);
        assert!((step - 0.05).abs() < 1e-9 && (top - 0.2).abs() < 1e-9, "{step} {top}");
        assert_eq!(["0", "0.05", "10"].map(str::to_owned), [0.0, 0.05, 10.0].map(number_text));
    }

    #[test]
    fn every_engine_has_a_bar_and_the_cable_a_number() {
        let engines: [(&str, &[f64]); 3] =
            [("vestibule", &[6.0, 5.0, 7.0]), ("wireguard-go", &[3.0, 3.2, 2.9]), ("veth", &[18.0])];
        let svg = render(&report(Test::Tcp1, value::GBPS, &engines));
        assert_eq!(svg.matches("<rect").count(), 2, "{svg}");
        assert_eq!(svg.matches("class=\"whisker\"").count(), 2);
        assert!(svg.contains("veth alone: 18.00") && svg.contains("target ≥ 6.00"), "{svg}");
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<g ").count(), svg.matches("</g>").count());
    }

    #[test]
    fn bars_are_in_proportion() {
        let engines: [(&str, &[f64]); 2] = [("a", &[4.0]), ("b", &[1.0])];
        let svg = render(&report(Test::Udp, value::GBPS, &engines));
        let widths: Vec<f64> = svg
            .split("<rect")
            .skip(1)
            .filter_map(|bar| bar.split("width=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert!((widths[0] / widths[1] - 4.0).abs() < 0.01, "{widths:?}");
    }

    #[test]
    fn names_cannot_break_the_file() {
        let svg = render(&report(Test::Tcp1, value::GBPS, &[("a<b&c", &[1.0])]));
        assert!(svg.contains("a&lt;b&amp;c") && !svg.contains("a<b"), "{svg}");
    }
}
