use super::*;
use crate::soak::{
    books::Books,
    judge,
    report::{Asked, Gaps, SCHEMA, Struck, Swaps, Verdict},
    series::{Held, PROCESSES},
};
use crate::world::Transport;

fn report(minutes: u32, name: &str) -> Report {
    let second = |at: u32| Sample {
        at: f64::from(at) + 1.0,
        seconds: 1.0,
        packets: 2000,
        bytes: 3_000_000 + u64::from(at % 7) * 100_000,
        gap_up_us: 2000 + u64::from(at % 60) * 3000,
        gap_down_us: 1500,
        swaps: 1,
        lost: u64::from(at == 90),
        processes: [Held { resident: 40_000_000 + u64::from(at) * 20, handles: 31, cpu_ms: 120 }; PROCESSES],
        ..Sample::default()
    };
    let samples: Vec<Sample> = (0..minutes * 60).map(second).collect();
    let processes = [name, "device"].iter().enumerate().map(|(n, name)| judge::process(name, n, &samples)).collect();
    let mut traffic = Books::default();
    (traffic.up.received, traffic.down.received, traffic.tcp_bytes) = (1, 1, 1);
    let mut report = Report {
        schema: SCHEMA,
        version: "0.1.0".to_owned(),
        system: "linux".to_owned(),
        options: Asked {
            userspace: false,
            adapter: None,
            transport: Transport::Masque,
            duration_s: 60.0,
            swap_every_s: Some(1.0),
            rate: 1000,
            tcp_rate: 20,
            faults: Vec::new(),
        },
        began: "2026-01-02T03:04:05Z".to_owned(),
        seconds: f64::from(minutes * 60),
        end: End::Duration,
        verdict: Verdict::default(),
        traffic,
        swaps: Swaps::default(),
        gaps_us: Gaps { p50: 2000, p99: 170_000, largest: 179_000 },
        processes,
        faults: vec![Struck { fault: "loss".to_owned(), at: 30.0, seconds: 2.5 }],
        samples,
    };
    report.verdict = judge::verdict(&report);
    report
}

#[test]
fn the_page_is_one_file_and_every_plot_has_its_line() {
    let page = page(&report(20, "gateway"));
    for name in ["Throughput", "Largest gap", "Memory: gateway", "Memory: device", "Handles", "Processor"] {
        assert!(page.contains(&format!("<h2>{name}</h2>")), "no plot {name}");
    }
    assert_eq!(page.matches("<figure>").count(), page.matches("</figure>").count());
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    // One for throughput; two each for gaps, memory (with its fit), memory, handles and processor time.
    assert_eq!(page.matches("<polyline").count(), 1 + 2 * 5);
    for outside in ["http:", "https:", "src=", "<script", "@import", "url("] {
        assert!(!page.contains(outside), "{outside} in the page");
    }
    assert!(!page.contains("NaN") && !page.contains("inf"), "a number is none");
    assert!(page.contains("class=\"loss\"") && page.contains("class=\"swap\"") && page.contains("class=\"fault\""));
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("width=device-width"));
}

#[test]
fn its_size_is_bounded_and_its_text_is_text() {
    let long = page(&report(60, "<b>\"&"));
    assert!(long.len() < 200_000, "{} bytes", long.len());
    assert!(long.contains("&lt;b&gt;&quot;&amp;") && !long.contains("<b>"));
}

#[test]
fn a_real_adapter_is_named() {
    let mut report = report(20, "both ends and the load");
    report.options.adapter = Some("probe<0".to_owned());
    assert!(page(&report).contains("with the real adapter probe&lt;0; began"));
}

#[test]
fn a_run_without_a_sample_has_a_page() {
    let mut nothing = report(1, "gateway");
    (nothing.samples, nothing.faults) = (Vec::new(), Vec::new());
    nothing.processes = vec![judge::process("gateway", 0, &[])];
    let page = page(&nothing);
    assert!(page.contains("</html>") && !page.contains("NaN"), "{page}");
}

#[test]
fn numbers_are_grouped() {
    assert_eq!(grouped(0), "0");
    assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
    assert_eq!(milliseconds(1500), "1.5 ms");
    assert_eq!(milliseconds(250_000), "250 ms");
    assert_eq!(milliseconds(12_000_000), "12.0 s");
}
