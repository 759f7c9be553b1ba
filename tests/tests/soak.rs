//! `vestibule soak` from outside: its verdict, its report and its exit status.
#![cfg(target_os = "linux")]

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use vestibule_tests::{required, vestibule};

/// A load that an unoptimised build carries on a busy machine.
const GENTLE: [&str; 4] = ["--rate", "300", "--tcp-rate", "3"];

/// A soak under way, with files of its own.
struct Soak {
    child: Child,
    json: PathBuf,
    html: PathBuf,
}

/// What a soak left.
struct Outcome {
    code: Option<i32>,
    report: Value,
    page: String,
    /// The verdict's line, and what else is on stdout.
    out: String,
    err: String,
}

impl Soak {
    fn start(arguments: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("vestibule-soak-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let [json, html] = ["json", "html"].map(|kind| std::env::temp_dir().join(format!("{name}.{kind}")));
        let mut command = Command::new(vestibule());
        command.arg("soak").args(GENTLE).args(arguments).arg("--json").arg(&json).arg("--html").arg(&html);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Self { child: child.unwrap(), json, html }
    }

    fn finish(mut self) -> Outcome {
        let (out, err) = (self.child.stdout.take().unwrap(), self.child.stderr.take());
        let reader = thread::spawn(move || err.map(std::io::read_to_string).transpose().unwrap().unwrap_or_default());
        let out = std::io::read_to_string(out).unwrap();
        let code = self.child.wait().unwrap().code();
        let report = serde_json::from_slice(&fs::read(&self.json).unwrap_or_default()).unwrap_or(Value::Null);
        let page = fs::read_to_string(&self.html).unwrap_or_default();
        Outcome { code, report, page, out, err: reader.join().unwrap() }
    }
}

impl Drop for Soak {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.json);
        let _ = fs::remove_file(&self.html);
    }
}

/// It lost nothing, and its report and page say what it did.
fn assert_clean(outcome: &Outcome, transport: &str) {
    let Outcome { code, report, page, out, err } = outcome;
    assert_eq!(*code, Some(0), "{out}{err}");
    assert!(out.starts_with(&format!("soak PASSED: {transport} over ")) && out.lines().count() == 1, "{out}");
    assert_eq!(report["schema"], 1, "{report}");
    assert_eq!(report["verdict"]["passed"], true, "{report}");
    for way in ["up", "down"] {
        for zero in ["lost", "lost_by_faults", "duplicated", "reordered", "corrupted"] {
            assert_eq!(report["traffic"][way][zero], 0, "{way} {zero}: {report}");
        }
        assert!(report["traffic"][way]["received"].as_u64().unwrap() > 500, "{report}");
    }
    let samples = report["samples"].as_array().unwrap();
    assert!(samples.len() > 3, "{report}");
    for held in ["resident", "handles"] {
        assert!(samples.iter().all(|sample| sample["processes"][0][held].as_u64().unwrap() > 0), "{held}: {report}");
    }
    let swaps = &report["swaps"];
    assert!(swaps["done"].as_u64().unwrap() >= 3 && swaps["audited"] == swaps["done"], "{report}");
    assert!(page.contains("<h2>Throughput</h2>") && page.ends_with("</html>\n"), "{page}");
}

#[test]
fn in_namespaces_swaps_lose_nothing() {
    if !required("in_namespaces_swaps_lose_nothing") {
        return;
    }
    let outcome = Soak::start(&["--duration", "12s", "--swap-every", "1s"]).finish();
    assert_clean(&outcome, "wireguard");
    assert_eq!(outcome.report["end"], "duration", "{}", outcome.report);
    assert_eq!(outcome.report["processes"].as_array().unwrap().len(), 2, "gateway and device: {}", outcome.report);
    assert!(outcome.err.contains("swaps  "), "no progress is told: {}", outcome.err);
}

#[test]
fn in_userspace_swaps_lose_nothing() {
    let outcome = Soak::start(&["--userspace", "--duration", "8s", "--swap-every", "500ms", "--quiet"]).finish();
    assert_clean(&outcome, "wireguard");
    let told: Vec<_> = outcome.err.lines().filter(|line| !line.starts_with("not judged")).collect();
    assert!(told.is_empty(), "not quiet: {}", outcome.err);
}

#[test]
fn what_is_lost_doubled_or_late_fails_and_is_named() {
    let outcome = Soak::start(&["--userspace", "--duration", "3s", "--swap-every", "never", "--plant"]).finish();
    assert_eq!(outcome.code, Some(1), "{}{}", outcome.out, outcome.err);
    let expected = "soak FAILED: 1 packet lost from the device; 1 packet duplicated from the device; \
                    1 packet reordered from the device; wireguard over";
    assert!(outcome.out.starts_with(expected), "{}", outcome.out);
    assert_eq!(outcome.report["traffic"]["up"]["missing"][0][1], 1, "{}", outcome.report);
    assert_eq!(outcome.report["traffic"]["down"]["lost"], 0, "{}", outcome.report);
    assert!(outcome.page.contains("class=\"verdict failed\""));
}

/// Interrupts a soak when its traffic runs; it must end itself, with a report.
fn interrupted(arguments: &[&str]) -> Outcome {
    let mut soak = Soak::start(&[&["--duration", "1h", "--swap-every", "1s"], arguments].concat());
    let mut lines = BufReader::new(soak.child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("swaps  ")), "it ended before its traffic ran");
    // What is still told must have somewhere to go.
    thread::spawn(move || lines.for_each(drop));
    let status = Command::new("kill").args(["-INT", &soak.child.id().to_string()]).status();
    assert!(status.unwrap().success());
    let begun = Instant::now();
    let outcome = soak.finish();
    assert!(begun.elapsed() < Duration::from_secs(120), "it took {:?}", begun.elapsed());
    outcome
}

#[test]
fn interrupted_it_reports_what_it_saw() {
    if !required("interrupted_it_reports_what_it_saw") {
        return;
    }
    let mut cases = vec![vec!["--userspace"], vec![]];
    while let Some(arguments) = cases.pop() {
        let outcome = interrupted(&arguments);
        assert_clean(&outcome, "wireguard");
        assert_eq!(outcome.report["end"], "interrupted", "{}", outcome.report);
        assert!(outcome.out.contains("(ended early)"), "{}", outcome.out);
    }
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_anything_runs() {
    for option in ["--json", "--html"] {
        let output = Command::new(vestibule()).args(["soak", option, "/nonexistent/result"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("/nonexistent/result"), "{said}");
    }
}
