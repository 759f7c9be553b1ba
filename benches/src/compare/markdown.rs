//! `compare.md`.

use super::{
    engines::OURS,
    measure::{Measure, Test},
    model::Report,
    plan::spoken,
    product::{self, Load, Pair, Product},
    stats::Spread,
    targets::{self, Bound, Judged},
};
use std::{fmt::Write, time::Duration};

/// Measures of the first table; the others are in the second.
const RATES: [Test; 5] = [Test::Tcp1, Test::Tcp4, Test::Tcp1r, Test::Udp, Test::UdpHalf];

/// The whole file.
pub(super) fn render(report: &Report) -> String {
    let mut out = String::from("# Userspace WireGuard, side by side\n\n");
    head(&mut out, report);
    let is_rate = |measure: &&Measure| RATES.contains(&measure.test) && measure.unit != "s/GB";
    let (rates, costs): (Vec<_>, Vec<_>) = report.measures().partition(is_rate);
    table(&mut out, report, "Throughput", &rates);
    table(&mut out, report, "What it costs", &costs);
    if let Some(product) = &report.product {
        product_table(&mut out, product);
    }
    let judged = targets::judge(report);
    if !judged.is_empty() || report.product.is_some() {
        targets_table(&mut out, &judged, report.product.as_ref());
    }
    let unjudged = targets::unjudged(report);
    if !unjudged.is_empty() {
        line(&mut out, format_args!("**Not judged**, since one side was not measured: {}.\n", unjudged.join("; ")));
    }
    problems(&mut out, report);
    how(&mut out, report);
    out
}

/// A line; writing to a string does not fail.
fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
    out.push('\n');
}

fn head(out: &mut String, report: &Report) {
    let machine = &report.machine;
    let (rounds, seconds) = (report.settings.rounds, report.settings.seconds);
    line(out, format_args!("Measured {} in {}.", report.began, spoken(Duration::from_secs_f64(report.took_seconds))));
    line(
        out,
        format_args!(
            "Machine: {}, {} cores, {} MB, {}, Linux {}.",
            machine.cpu, machine.cores, machine.memory_mb, machine.system, machine.kernel
        ),
    );
    line(
        out,
        format_args!(
            "Two namespaces joined by a veth (MTU 1500), tunnel MTU 1420, {}; {rounds} interleaved rounds of {seconds} s \
             per test.",
            machine.iperf3
        ),
    );
    line(out, format_args!("Cells: median over the rounds (smallest–largest).\n"));
    let near = &report.neighbours;
    let busiest: Vec<String> = near.busiest.iter().map(|(name, percent)| format!("{name} {percent:.1} %")).collect();
    let busiest = if busiest.is_empty() { String::new() } else { format!(" (busiest: {})", busiest.join(", ")) };
    let used = format!(
        "Other processes used {:.1} % of the machine meanwhile{busiest}, other guests of its host {:.1} %; load average \
         before: {:.2}.",
        near.others_percent, near.steal_percent, near.load_before
    );
    if near.is_quiet() {
        line(out, format_args!("{used}\n"));
    } else {
        line(out, format_args!("> **Not idle.** {used} These figures are indications, not results.\n"));
    }
}

fn table(out: &mut String, report: &Report, title: &str, measures: &[&Measure]) {
    if measures.is_empty() {
        return;
    }
    line(out, format_args!("## {title}\n"));
    let mut head = String::from("| engine |");
    let mut rule = String::from("| --- |");
    for measure in measures {
        let _ = write!(head, " {}, {} |", measure.title, measure.unit);
        rule.push_str(" ---: |");
    }
    line(out, format_args!("{head}\n{rule}"));
    for engine in &report.engines {
        let cells: Vec<String> = measures.iter().map(|measure| cell(report, &engine.name, measure)).collect();
        line(out, format_args!("| {} | {} |", engine.name, cells.join(" | ")));
    }
    out.push('\n');
}

fn cell(report: &Report, engine: &str, measure: &Measure) -> String {
    let Some(spread) = report.spread(engine, measure) else { return "–".to_owned() };
    let places = measure.decimals;
    if spread.count == 1 {
        return format!("{:.places$}", spread.median);
    }
    format!("**{:.places$}** ({:.places$}–{:.places$})", spread.median, spread.min, spread.max)
}

fn product_table(out: &mut String, product: &Product) {
    let (pairs, rules, spacing) = (product.pairs.len(), product.rules, product.spacing_ms);
    let (asked, swaps) = (1000.0 / f64::from(spacing.max(1)), product.swaps_per_second());
    line(out, format_args!("## Gateway and device: what rules and swaps cost\n"));
    line(
        out,
        format_args!("| load, {pairs} interleaved pairs | Gb/s | CPU of both ends, s/GB |\n| --- | ---: | ---: |"),
    );
    let row = |out: &mut String, name: &str, load: fn(&Pair) -> &Load| {
        let cell = |spread: Option<Spread>| {
            spread.map_or_else(String::new, |s| format!("**{:.2}** ({:.2}–{:.2})", s.median, s.min, s.max))
        };
        let rate = cell(product.spread(|pair| load(pair).gbps));
        let cpu = cell(product.spread(|pair| load(pair).cpu_s_per_gb));
        line(out, format_args!("| {name} | {rate} | {cpu} |"));
    };
    row(out, "two rules, no swap", |pair| &pair.without);
    row(out, &format!("{rules} more rules, {swaps:.1} swaps/s ({asked:.0} asked for)"), |pair| &pair.with);
    out.push('\n');
}

fn targets_table(out: &mut String, judged: &[Judged], product: Option<&Product>) {
    let outcomes = judged.iter().map(|judged| judged.met).chain(product.and_then(Product::met));
    let (met, all) = outcomes.fold((0, 0), |(met, all), is_met| (met + u32::from(is_met), all + 1));
    line(out, format_args!("## Targets: {met} of {all} met\n"));
    line(out, format_args!("| engine | measure | ours | against | ratio | target | |"));
    line(out, format_args!("| --- | --- | ---: | ---: | ---: | ---: | --- |"));
    for Judged { engine: ours_is, measure, bound, ours, reference, times, met } in judged {
        let (places, unit) = (measure.decimals, measure.unit);
        let (against, wanted) = match bound {
            Bound::TimesAtLeast(engine, times) => (*engine, format!("≥ {times} ×")),
            Bound::TimesAtMost(engine, times) => (*engine, format!("≤ {times} ×")),
            Bound::AtMost(limit) => ("", format!("≤ {limit} {unit}")),
            Bound::AtLeast(limit) => ("", format!("≥ {limit} {unit}")),
        };
        let against = reference.map_or_else(String::new, |value| format!("{against} {value:.places$} {unit}"));
        let ratio = times.map_or_else(String::new, |times| format!("{times:.2} ×"));
        let verdict = verdict(*met);
        let title = measure.title;
        line(
            out,
            format_args!(
                "| {ours_is} | {title} | {ours:.places$} {unit} | {against} | {ratio} | {wanted} | {verdict} |"
            ),
        );
    }
    if let Some((product, ratio)) = product.and_then(|product| Some((product, product.ratio()?))) {
        let median = |load: fn(&Pair) -> f64| product.spread(load).map_or(0.0, |spread| spread.median);
        let (ours, bare) = (median(|pair| pair.with.cpu_s_per_gb), median(|pair| pair.without.cpu_s_per_gb));
        let (times, limit, verdict) = (ratio.median, product::LIMIT, verdict(ratio.median <= product::LIMIT));
        line(
            out,
            format_args!(
                "| {OURS} | CPU with rules and swaps | {ours:.2} s/GB | without {bare:.2} s/GB | {times:.2} × | ≤ {limit} × | \
                 {verdict} |"
            ),
        );
    }
    out.push('\n');
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "**not met**" }
}

fn problems(out: &mut String, report: &Report) {
    if report.problems.is_empty() {
        return;
    }
    line(out, format_args!("## Not measured\n"));
    for problem in &report.problems {
        let test = problem.test.map_or_else(|| "start".to_owned(), |test| test.to_string());
        let what = problem.what.trim().replace('\n', "\n      ");
        line(out, format_args!("- round {}, {}, {test}: {what}", problem.round, problem.engine));
    }
    out.push('\n');
}

fn how(out: &mut String, report: &Report) {
    line(out, format_args!("## What was measured\n"));
    line(out, format_args!("| engine | version | command |\n| --- | --- | --- |"));
    for engine in &report.engines {
        let command = match engine.command.as_slice() {
            [] => "–".to_owned(),
            words => format!("`{} IFACE`", words.join(" ")),
        };
        line(out, format_args!("| {} | {} | {command} |", engine.name, engine.version));
    }
    let quoted = |word: &String| if word.contains(' ') { format!("'{word}'") } else { word.clone() };
    let words: Vec<String> = report.arguments.iter().map(quoted).collect();
    let commit = report.commit.as_deref().map_or_else(String::new, |commit| format!(" at commit {commit}"));
    line(
        out,
        format_args!("\nRepeat: `cargo run --release -p vestibule-benches -- compare {}`{commit}.\n", words.join(" ")),
    );
    let tick = 1000 / report.machine.clock_hz.max(1);
    out.push_str(&format!(
        "- **TCP** and **UDP** are payload that arrived, as iperf3's receiver counts it; the tunnel interface's own \
         counters prove that it went through the tunnel.\n\
         - **CPU** is user and system time of both engine processes with all their threads, from `/proc/PID/stat` \
         ({tick} ms resolution), for each 10⁹ bytes of payload that arrived. A kernel engine has no process: its cost \
         is not seen here.\n\
         - **Loss at half rate** is of UDP at half of what the same engine delivered at overload in the same round.\n\
         - **Ping** is the average of 500 echo requests, 2 ms apart.\n\
         - **Idle CPU** is the busier of the two processes while the tunnel is up and nothing is sent, from the \
         scheduler's nanoseconds.\n\
         - **Peak memory** is the larger `VmHWM` of the two processes after the loads.\n\
         - **veth** has no tunnel: it is what iperf3 and the cable can do here, which no engine can surpass.\n"
    ));
}

#[cfg(test)]
mod tests {
    use super::super::{measure::value, model::Problem, model::testing::report};
    use super::*;

    fn tcp() -> Report {
        let engines: [(&str, &[f64]); 3] =
            [("vestibule", &[6.0, 5.0, 7.0]), ("wireguard-go", &[3.0, 3.2, 2.9]), ("veth", &[18.0])];
        report(Test::Tcp1, value::GBPS, &engines)
    }

    #[test]
    fn cells_have_the_median_and_the_spread() {
        let text = render(&tcp());
        assert!(text.contains("| engine | TCP ×1, Gb/s |\n| --- | ---: |\n"), "{text}");
        assert!(text.contains("| vestibule | **6.00** (5.00–7.00) |"), "{text}");
        assert!(text.contains("| veth | 18.00 |"), "{text}");
        assert!(!text.contains("What it costs"), "{text}");
        assert!(text.contains("-- compare --engine 'a=b c'` at commit abc1234."), "{text}");
    }

    #[test]
    fn targets_say_ratio_and_verdict() {
        let text = render(&tcp());
        assert!(text.contains("## Targets: 1 of 1 met"), "{text}");
        let row = "| TCP ×1 | 6.00 Gb/s | wireguard-go 3.00 Gb/s | 2.00 × | ≥ 2 × | met |";
        assert!(text.contains(row), "{text}");
        let engines: [(&str, &[f64]); 2] = [("vestibule", &[5.0]), ("wireguard-go", &[3.0])];
        let text = render(&report(Test::Tcp1, value::GBPS, &engines));
        assert!(text.contains("**Not judged**") && text.contains("; TCP ×1 of vestibule against gotatun; "), "{text}");
        assert!(text.contains("1.67 × | ≥ 2 × | **not met** |"), "{text}");
    }

    #[test]
    fn rules_and_swaps_have_a_table_and_a_target() {
        let mut product = tcp();
        product.product = Some(super::super::product::testing::product(&[(2.0, 2.2), (2.0, 2.06), (2.0, 2.04)]));
        let text = render(&product);
        assert!(text.contains("| 1000 more rules, 10.0 swaps/s (10 asked for) | **4.00** (4.00–4.00) |"), "{text}");
        assert!(text.contains("| 2.06 s/GB | without 2.00 s/GB | 1.03 × | ≤ 1.05 × | met |"), "{text}");
        assert!(text.contains("## Targets: 2 of 2 met"), "{text}");
    }

    #[test]
    fn a_busy_machine_is_said_first() {
        let mut busy = tcp();
        assert!(!render(&busy).contains("Not idle"));
        busy.neighbours.others_percent = 40.0;
        busy.neighbours.busiest = vec![("rustc".to_owned(), 38.5)];
        let text = render(&busy);
        assert!(
            text.contains("> **Not idle.** Other processes used 40.0 %") && text.contains("rustc 38.5 %"),
            "{text}"
        );
    }

    #[test]
    fn what_was_not_measured_is_said() {
        let mut broken = tcp();
        let what = "no ping\nlog".to_owned();
        broken.problems.push(Problem { round: 2, engine: "gotatun".to_owned(), test: Some(Test::Rtt), what });
        let text = render(&broken);
        assert!(text.contains("- round 2, gotatun, rtt: no ping\n      log"), "{text}");
    }
}
