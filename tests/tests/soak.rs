//! `vestibule soak` from outside: its verdict, its report and its exit status.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use vestibule_tests::soak::{Outcome, Soak, assert_clean};
use vestibule_tests::{required, vestibule};

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
