//! `vestibule demo` from outside: its verdict, its exit status, and that nothing of it stays.
#![cfg(target_os = "linux")]

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use vestibule_tests::{required, vestibule};

/// The environment variable by which a demo's processes are told from all others.
const MARK: &str = "VESTIBULE_DEMO_TEST";

/// A demo under way, with a mark that all its processes inherit.
struct Demo {
    child: Child,
    mark: String,
    json: PathBuf,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let json = std::env::temp_dir().join(format!("vestibule-demo-{mark}.json"));
        let mut command = Command::new(vestibule());
        command.arg("demo").args(arguments).arg("--json").arg(&json).env(MARK, &mark);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Self { child: child.unwrap(), mark, json }
    }

    /// Its processes, wherever they are.
    fn processes(&self) -> Vec<PathBuf> {
        let wanted = format!("{MARK}={}", self.mark);
        let ours = |path: &PathBuf| {
            let environment = fs::read(path.join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
        };
        let all = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
        all.filter(ours).collect()
    }

    /// The network namespaces that its processes are in, other than our own.
    fn namespaces(&self) -> BTreeSet<PathBuf> {
        namespaces_of(&self.processes())
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Fails unless all its processes and namespaces are gone, which the kernel may take a moment for.
    fn assert_gone(&self, namespaces: &BTreeSet<PathBuf>) {
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let processes = self.processes();
            let everything: Vec<PathBuf> =
                fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path())).collect();
            let still: Vec<_> = namespaces_of(&everything).intersection(namespaces).cloned().collect();
            if processes.is_empty() && still.is_empty() {
                break;
            }
            assert!(Instant::now() < until, "left behind: {processes:?} {still:?}");
            thread::sleep(Duration::from_millis(20));
        }
        for interface in ["underlay0", "intranet0", "vestibule0", "unplugged0"] {
            assert!(!Path::new("/sys/class/net").join(interface).exists(), "{interface} is left behind");
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.json);
    }
}

fn namespaces_of(processes: &[PathBuf]) -> BTreeSet<PathBuf> {
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let of = |path: &PathBuf| fs::read_link(path.join("ns/net")).ok();
    processes.iter().filter_map(of).filter(|namespace| *namespace != own).collect()
}

/// Runs a demo to its end; gives its exit code, its verdict and what it printed.
fn run(arguments: &[&str]) -> (Option<i32>, Value, String) {
    let mut demo = Demo::start(arguments);
    let (out, err) = (demo.child.stdout.take().unwrap(), demo.child.stderr.take().unwrap());
    let reader = thread::spawn(move || std::io::read_to_string(err).unwrap());
    let printed = std::io::read_to_string(out).unwrap();
    let status = demo.child.wait().unwrap();
    let printed = printed + &reader.join().unwrap();
    let json = fs::read(&demo.json).unwrap_or_default();
    let verdict = serde_json::from_slice(&json).unwrap_or(Value::Null);
    (status.code(), verdict, printed)
}

/// What every demo must come to, however much load it has.
fn assert_lossless(verdict: &Value, printed: &str) {
    assert_eq!(verdict["checks_failed"], 0, "{printed}");
    assert_nothing_lost(verdict, printed);
}

fn assert_nothing_lost(verdict: &Value, printed: &str) {
    for zero in ["udp_lost", "udp_duplicated", "udp_reordered", "tcp_resets", "tcp_bytes_mismatched"] {
        assert_eq!(verdict[zero], 0, "{zero}\n{printed}");
    }
    assert!(verdict["udp_sent"].as_u64().unwrap_or(0) > 1000, "{printed}");
    assert_eq!(verdict["inner_address_kept"], true, "{printed}");
    assert!(verdict["denied_before_login_ms"].as_f64().unwrap_or(f64::MAX) < 500.0, "{printed}");
    for number in ["swap_gap_us_p50", "swap_gap_us_p99", "swap_gap_us_p999", "swap_gap_us_max", "control_gap_us_max"] {
        assert!(verdict[number].as_u64().is_some(), "no {number}\n{printed}");
    }
}

/// A load that an unoptimised build carries on a busy machine.
const GENTLE: [&str; 8] = ["--rate", "500", "--tcp-rate", "5", "--control", "2", "--spacing", "150"];

#[test]
fn the_walk_and_the_swaps_lose_nothing() {
    if !required("the_walk_and_the_swaps_lose_nothing") {
        return;
    }
    let (code, verdict, printed) = run(&[&GENTLE[..], &["--swaps", "20"]].concat());
    assert_eq!(code, Some(0), "{printed}");
    assert_lossless(&verdict, &printed);
    assert_eq!(verdict["swaps"], 20, "{printed}");
    assert_eq!(verdict["swaps_audited"], 20, "{printed}");
    assert_eq!(verdict["handshakes_on_the_wire"], 20, "{printed}");
}

#[test]
fn over_masque_the_walk_and_the_swaps_lose_nothing() {
    if !required("over_masque_the_walk_and_the_swaps_lose_nothing") {
        return;
    }
    let (_, verdict, printed) = run(&[&GENTLE[..], &["--transport", "masque", "--swaps", "20"]].concat());
    assert_nothing_lost(&verdict, &printed);
    assert_eq!(verdict["swaps"], 20, "{printed}");
    assert_eq!(verdict["swaps_audited"], 20, "{printed}");
}

#[test]
fn over_http2_the_walk_and_the_swaps_lose_nothing() {
    if !required("over_http2_the_walk_and_the_swaps_lose_nothing") {
        return;
    }
    let (_, verdict, printed) = run(&[&GENTLE[..], &["--transport", "h2", "--swaps", "20"]].concat());
    assert_nothing_lost(&verdict, &printed);
    assert_eq!((&verdict["swaps"], &verdict["swaps_audited"]), (&20.into(), &20.into()), "{printed}");
    assert_eq!(verdict["handshakes_on_the_wire"], 0, "no datagram: {printed}");
}

#[test]
fn the_instruments_lose_nothing_by_themselves() {
    if !required("the_instruments_lose_nothing_by_themselves") {
        return;
    }
    let (code, verdict, printed) = run(&["--bare", "--rate", "1000", "--tcp-rate", "20", "--control", "2"]);
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!((&verdict["udp_lost"], &verdict["checks_failed"]), (&0.into(), &0.into()), "{printed}");
}

#[test]
fn what_goes_wrong_is_told_and_costs_nothing_acknowledged() {
    if !required("what_goes_wrong_is_told_and_costs_nothing_acknowledged") {
        return;
    }
    let (code, verdict, printed) = run(&["--trouble", "--rate", "500", "--tcp-rate", "10"]);
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(verdict["checks_failed"], 0, "{printed}");
}

#[test]
fn without_root_it_walks_in_userspace() {
    let (code, verdict, printed) = run(&["--userspace", "--swaps", "20", "--rate", "500"]);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("userspace"), "{printed}");
    assert_lossless(&verdict, &printed);
    assert_eq!(verdict["swaps"], 20, "{printed}");
}

/// Kills the demo again and again, each time at another moment of its life.
fn leaves_nothing_behind(signal: &str, code: Option<i32>, moments: &[u64]) {
    for after in moments {
        let mut demo = Demo::start(&[&GENTLE[..], &["--swaps", "1000"]].concat());
        thread::sleep(Duration::from_millis(*after));
        let namespaces = demo.namespaces();
        if *after >= 2000 {
            assert!(namespaces.len() >= 3, "only {} namespaces after {after} ms", namespaces.len());
        }
        demo.signal(signal);
        assert_eq!(demo.child.wait().unwrap().code(), code, "SIG{signal} after {after} ms");
        demo.assert_gone(&namespaces);
    }
}

#[test]
fn killed_at_any_moment_it_leaves_nothing_behind() {
    if required("killed_at_any_moment_it_leaves_nothing_behind") {
        leaves_nothing_behind("KILL", None, &[5, 20, 60, 150, 400, 900, 2000, 5000, 9000]);
    }
}

#[test]
fn interrupted_it_leaves_nothing_behind() {
    if required("interrupted_it_leaves_nothing_behind") {
        leaves_nothing_behind("INT", Some(130), &[100, 700, 3000]);
        leaves_nothing_behind("TERM", Some(143), &[1500]);
    }
}

#[test]
fn without_root_it_says_what_is_missing_and_what_to_do() {
    if !required("without_root_it_says_what_is_missing_and_what_to_do") {
        return;
    }
    // A copy, since `nobody` may not read where we build.
    let copy = std::env::temp_dir().join(format!("vestibule-{}", std::process::id()));
    fs::copy(vestibule(), &copy).unwrap();
    let output = Command::new(&copy).arg("demo").uid(65_534).gid(65_534).current_dir("/").output();
    fs::remove_file(&copy).unwrap();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("CAP_SYS_ADMIN") && said.contains("/dev/net/tun") && said.contains("--userspace"), "{said}");
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_anything_runs() {
    let begun = Instant::now();
    let output = Command::new(vestibule()).args(["demo", "--json", "/nonexistent/result.json"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("/nonexistent/result.json"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(30));
}
