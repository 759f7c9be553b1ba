//! A gateway that is not there: when the device starts, and when it is killed under a tunnel.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use reqwest::Method;
use serde_json::{Value, json};
use std::thread::sleep;
use std::time::{Duration, Instant};
use vestibule_tests::house::{GATEWAY, House};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_device_that_starts_without_its_gateway_connects_when_it_is_back() {
    if !vestibule_tests::required("a_device_that_starts_without_its_gateway_connects_when_it_is_back") {
        return;
    }
    let mut house = House::new("boot");
    let token = house.admin.token("Devices", "1h");
    house.kill_gateway();
    let mut device = house.device(&token);
    let status = device.until("an error that names the gateway", LIMIT, |status| {
        let named = format!("cannot reach the gateway at https://{GATEWAY}:8443");
        status.last_error.as_ref().is_some_and(|error| error.message.contains(&named))
    });
    assert!(status.identity.is_none());
    sleep(Duration::from_secs(3));
    let attempts = device.said().matches("WARN enrolment failed").count();
    assert!((1..=4).contains(&attempts), "{attempts} attempts in 3 s");

    let restarted = Instant::now();
    house.restart_gateway();
    let up = restarted.elapsed();
    let status = device.until_connected(LIMIT);
    println!("the gateway was back after {up:?}, the device connected after {:?}", restarted.elapsed());
    assert_eq!(status.last_error, None);
    assert!(house.carries());
}

#[test]
fn a_gateway_killed_under_a_tunnel_carries_it_again_as_it_was() {
    if !vestibule_tests::required("a_gateway_killed_under_a_tunnel_carries_it_again_as_it_was") {
        return;
    }
    let mut house = House::new("under");
    let token = house.admin.token("Devices", "1h");
    let list = json!({ "name": "List", "type": "IP", "items": [{ "value": "10.0.0.0/8" }] });
    let _ = house.admin.call(Method::POST, "gateway/lists", Some(list));
    let mut device = house.device(&token);
    let before = device.until_connected(LIMIT);
    assert!(house.carries());
    // What may change by itself is when something was last seen.
    let everything = |house: &House| -> Vec<Value> {
        let paths = ["access/service_tokens", "access/apps", "gateway/rules", "gateway/lists", "devices/registrations"];
        let mut all: Vec<Value> = paths.iter().map(|path| house.admin.get(path)).collect();
        all.iter_mut().for_each(forget_when_seen);
        all
    };
    let stored = everything(&house);

    let mut seconds = Vec::new();
    for round in 0..2 {
        house.kill_gateway();
        sleep(Duration::from_secs(2));
        assert!(!house.carries(), "a killed gateway answers");
        let restarted = Instant::now();
        house.restart_gateway();
        let up = restarted.elapsed();
        while !house.carries() {
            assert!(restarted.elapsed() < LIMIT, "round {round}: nothing is carried again\n{}", device.said());
        }
        seconds.push((up, restarted.elapsed()));
        let status = device.until_connected(LIMIT);
        assert_eq!(status.registration, before.registration, "a new registration was needed");
        assert_eq!(status.addresses, before.addresses);
        assert_eq!(everything(&house), stored, "something acknowledged is lost");
    }
    println!("(gateway up, tunnel carries) after the restart: {seconds:?}");
}

fn forget_when_seen(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !name.contains("last_seen") && !name.contains("updated_at"));
            fields.values_mut().for_each(forget_when_seen);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_when_seen),
        _ => {}
    }
}
