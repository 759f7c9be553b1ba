//! A revoked registration is cut while packets flow.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use reqwest::Method;
use serde_json::json;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use vestibule_tests::house::{House, INNER};

const LIMIT: Duration = Duration::from_secs(30);

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

#[test]
fn a_revoked_registration_is_cut_within_a_second_while_packets_flow() {
    if !vestibule_tests::required("a_revoked_registration_is_cut_within_a_second_while_packets_flow") {
        return;
    }
    let house = House::new("revoke");
    let token = house.admin.token("Devices", "1h");
    let mut device = house.device(&token);
    let registration = device.until_connected(LIMIT).registration.unwrap();
    assert!(house.carries());
    // Its token is off: the device cannot come back by itself.
    let _ = house.admin.call(
        Method::PUT,
        &format!("access/service_tokens/{}", token.id),
        Some(json!({ "enabled": false })),
    );
    // Fifty echo requests a second; each answer is printed with its time.
    let mut ping = house.outside.command("ping");
    ping.args(["-n", "-D", "-i", "0.02", "-w", "5", INNER]).stdout(Stdio::piped()).stderr(Stdio::null());
    let ping = ping.spawn().unwrap();
    sleep(Duration::from_millis(1_500));
    let asked = now();
    let _ = house.admin.call(Method::POST, &format!("devices/registrations/revoke?id={registration}"), None);
    let answered = now();
    let printed = ping.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&printed.stdout);
    let replies: Vec<f64> = printed
        .lines()
        .filter(|line| line.contains("bytes from"))
        .filter_map(|line| line.strip_prefix('[')?.split_once(']')?.0.parse().ok())
        .collect();
    let before = replies.iter().filter(|at| **at < asked).count();
    assert!(before > 30, "the packets did not flow: {printed}");
    let last = replies.iter().copied().fold(0.0, f64::max);
    assert!(asked - last < 0.5, "they had stopped before: {printed}");
    let (cut, answer) = ((last - asked) * 1000.0, (answered - asked) * 1000.0);
    println!("{before} answers before; the call took {answer:.0} ms; the last answer came {cut:.0} ms after it began");
    assert!(cut < 1000.0, "answers came for {cut:.0} ms");
    assert!(!house.carries(), "it is connected again");
    let entries = house.admin.get("vestibule/audit?kind=revoke");
    assert_eq!(entries[0]["registration_id"], registration.to_string(), "{entries}");
}
