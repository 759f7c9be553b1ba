//! Emergency disconnect by the file beside the MDM file, and by the administrator's switch at the gateway: the device
//! goes down whoever is connected, and comes back.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use reqwest::Method;
use serde_json::json;
use std::fs;
use std::time::{Duration, Instant};
use vestibule_control::daemon::ipc::State;
use vestibule_tests::device::mdm;
use vestibule_tests::house::House;

const LIMIT: Duration = Duration::from_secs(15);
/// The vendor's promise.
const REACTION: Duration = Duration::from_secs(30);

#[test]
fn an_emergency_disconnects_within_its_time_and_connects_again_when_it_is_over() {
    if !vestibule_tests::required("an_emergency_disconnects_within_its_time_and_connects_again_when_it_is_over") {
        return;
    }
    let house = House::new("emergency");
    let token = house.admin.token("Devices", "1h");
    let mut device = house.device(&token);
    let before = device.until_connected(LIMIT);
    let signal = house.paths.mdm.with_file_name("emergency_disconnect.json");

    fs::write(&signal, "{\"emergency_disconnect\": true}").unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(device.until_connected(LIMIT).generation, before.generation, "the MDM file does not ask for it");

    let watched = mdm(&token).replace(
        "<key>display_name</key>",
        "<key>local_emergency_signal_enabled</key><true/>\n<key>display_name</key>",
    );
    let start = Instant::now();
    house.paths.deploy(&watched);
    let down = device.until("down", REACTION, |status| status.state == State::Disconnected);
    assert!(down.summary.contains("emergency disconnect"), "{}", down.summary);
    assert!(down.identity.is_none() && down.routes.is_empty(), "{down:?}");
    println!("down {:?} after the file counted", start.elapsed());
    let refused = house.paths.verb(&["connect"]);
    assert_eq!(refused.code, Some(0), "{refused:?}");
    house.paths.session("logon anna s1").unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(device.until("still down", LIMIT, |_| true).state, State::Disconnected, "above every other rule");
    house.paths.session("logoff s1").unwrap();

    let start = Instant::now();
    fs::remove_file(&signal).unwrap();
    let after = device.until_connected(REACTION);
    println!("up {:?} after the file was gone", start.elapsed());
    assert_eq!((after.identity, after.registration), (before.identity, before.registration), "registrations untouched");
    let why = house.paths.verb(&["why", "--last", "200"]);
    assert!(why.out.contains("An emergency disconnect is in force"), "{}", why.out);
    assert!(why.out.contains("The emergency disconnect is over"), "{}", why.out);
}

#[test]
fn the_switch_at_the_gateway_disconnects_and_connects_again() {
    if !vestibule_tests::required("the_switch_at_the_gateway_disconnects_and_connects_again") {
        return;
    }
    let house = House::new("switch");
    let token = house.admin.token("Devices", "1h");
    let mut device = house.device(&token);
    let before = device.until_connected(LIMIT);
    let switch = |engaged: bool| {
        let settings = json!({ "emergency_disconnect": engaged });
        let told = house.admin.call(Method::PUT, "vestibule/settings", Some(settings));
        assert_eq!(told["emergency_disconnect"], engaged);
    };
    switch(true);
    assert_eq!(device.until_connected(LIMIT).generation, before.generation, "nobody asks for it yet");

    // Pushed to the device, which asks at once and from then on every 30 s.
    let signal = json!({
        "external_emergency_signal_enabled": true,
        "external_emergency_signal_url": format!("{}/vestibule/v1/emergency", house.gateway.fact("url")),
        "external_emergency_signal_fingerprint": house.gateway.fact("certificate_sha256"),
        "external_emergency_signal_interval": "30s",
    });
    let _ = house.admin.call(Method::PATCH, "devices/settings", Some(signal));
    let down = device.until("down", REACTION, |status| status.state == State::Disconnected);
    assert!(down.summary.contains("emergency disconnect"), "{}", down.summary);
    assert_eq!(house.paths.verb(&["connect"]).code, Some(0));
    assert_eq!(device.until("still down", LIMIT, |_| true).state, State::Disconnected, "above the user's switch");

    // A daemon that starts asks at once, too.
    device.kill();
    let mut device = house.device(&token);
    device.until("still down after a restart", LIMIT, |status| status.summary.contains("emergency disconnect"));
    switch(false);
    device.kill();
    let mut device = house.device(&token);
    let after = device.until_connected(LIMIT);
    assert_eq!((after.identity, after.registration), (before.identity, before.registration), "registrations untouched");
}
