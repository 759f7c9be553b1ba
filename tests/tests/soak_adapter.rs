//! `vestibule soak --userspace --adapter`: the device with a real TUN device and kernel sockets, the gateway in memory.
#![cfg(target_os = "linux")]

use std::path::Path;
use vestibule_tests::soak::{Outcome, Soak, assert_clean};
use vestibule_tests::{required, vestibule};

/// A soak on the adapter `probe<NUMBER>`, with addresses of its own.
fn start(number: u8, arguments: &[&str]) -> Soak {
    let (name, pool) = (format!("probe{number}"), number.to_string());
    Soak::start(&[&["--userspace", "--adapter", &name, "--pool", &pool], arguments].concat())
}

/// It ran on its adapter, and TCP ran with it.
fn assert_real(Outcome { report, err, .. }: &Outcome, number: u8) {
    let name = format!("probe{number}");
    assert_eq!(report["options"]["adapter"], name.as_str(), "{report}");
    assert_eq!(report["options"]["userspace"], true, "{report}");
    assert!(report["traffic"]["tcp_bytes"].as_u64().unwrap() > 500_000, "{report}{err}");
    for zero in ["tcp_mismatched", "tcp_resets", "errors"] {
        assert_eq!(report["traffic"][zero], 0, "{zero}: {report}{err}");
    }
    assert!(!on_this_machine(number), "{name} is left");
}

fn on_this_machine(number: u8) -> bool {
    Path::new("/sys/class/net").join(format!("probe{number}")).exists()
}

#[test]
fn two_adapters_at_a_time_swap_and_lose_nothing() {
    if !required("two_adapters_at_a_time_swap_and_lose_nothing") {
        return;
    }
    let soaks = [1, 2].map(|number| (number, start(number, &["--duration", "15s", "--swap-every", "1s"])));
    for _ in 0..50 {
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert!(![1, 2].into_iter().any(on_this_machine), "an adapter is on this machine's own network");
    }
    for (number, soak) in soaks {
        let outcome = soak.finish();
        assert_clean(&outcome, "wireguard");
        assert_real(&outcome, number);
    }
}

#[test]
fn masque_carries_kernel_sockets_too() {
    if !required("masque_carries_kernel_sockets_too") {
        return;
    }
    for (number, transport) in [(3, "masque"), (4, "h2")] {
        let words = ["--duration", "8s", "--swap-every", "1s", "--transport", transport];
        let outcome = start(number, &words).finish();
        assert_clean(&outcome, transport);
        assert_real(&outcome, number);
    }
}

#[test]
fn faults_cost_what_they_may_and_tcp_goes_on() {
    if !required("faults_cost_what_they_may_and_tcp_goes_on") {
        return;
    }
    let words = ["--duration", "16s", "--swap-every", "2s", "--faults", "loss=5s,suspend=9s,socket=4s,rekey=3s"];
    let outcome = start(5, &words).finish();
    let Outcome { code, report, out, err, .. } = &outcome;
    assert_eq!(*code, Some(0), "{out}{err}");
    assert_real(&outcome, 5);
    let made = |name: &str| report["faults"].as_array().unwrap().iter().any(|struck| struck["fault"] == name);
    for name in ["loss", "suspend", "socket", "rekey"] {
        assert!(made(name), "no {name}: {report}");
    }
    assert!(report["traffic"]["up"]["lost_by_faults"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["options"]["tcp_rate"], 3, "{report}");
}

#[test]
fn what_a_kernel_socket_sends_wrong_is_seen() {
    if !required("what_a_kernel_socket_sends_wrong_is_seen") {
        return;
    }
    let outcome = start(6, &["--duration", "3s", "--swap-every", "never", "--plant"]).finish();
    assert_eq!(outcome.code, Some(1), "{}{}", outcome.out, outcome.err);
    let expected = "soak FAILED: 1 packet lost from the device; 1 packet duplicated from the device; \
                    1 packet reordered from the device; wireguard over";
    assert!(outcome.out.starts_with(expected), "{}", outcome.out);
}

#[test]
fn a_fault_that_a_real_adapter_has_not_is_refused_with_the_reason() {
    let words = ["soak", "--userspace", "--adapter", "probe7", "--faults", "adapter"];
    let output = std::process::Command::new(vestibule()).args(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("leave out --adapter"), "{said}");
}
