//! A device that changes network under a tunnel over MASQUE.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use reqwest::Method;
use serde_json::json;
use std::thread::sleep;
use std::time::{Duration, Instant};
use vestibule_tests::house::{DEVICE, House, INNER};
use vestibule_tests::kernel::Counters;
use vestibule_tests::load::Transfer;

const LIMIT: Duration = Duration::from_secs(60);
/// What the daemon says of it.
const SEEN: &str = "the way to the gateway has changed";

/// The device's address outside is another one, three times in the middle of a transfer; inside nobody notices.
#[test]
fn a_transfer_lives_through_changes_of_the_device_s_network() {
    if !vestibule_tests::required("a_transfer_lives_through_changes_of_the_device_s_network") {
        return;
    }
    let house = House::new("moves");
    let token = house.admin.token("Devices", "1h");
    let _ = house.admin.call(Method::PATCH, "devices/policy", Some(json!({ "tunnel_protocol": "masque" })));
    let mut device = house.device(&token);
    let before = device.until_connected(LIMIT);
    assert!(house.carries());

    let noticed = device.said().matches(SEEN).count();
    let resets = || Counters::of(&house.outside).get("TcpOutRsts") + Counters::of(&house.inside).get("TcpOutRsts");
    let resets_before = resets();
    let transfer = Transfer::start(&house.outside, &house.inside, format!("{INNER}:7000").parse().unwrap(), 400 << 20);
    let mut address = DEVICE.to_owned();
    for (move_number, next) in ["192.0.2.77", "192.0.2.78", DEVICE].into_iter().enumerate() {
        house.outside.run("ip", &["address", "del", &format!("{address}/24"), "dev", "wire0"]);
        house.outside.run("ip", &["address", "add", &format!("{next}/24"), "dev", "wire0"]);
        next.clone_into(&mut address);
        let moved = Instant::now();
        while device.said().matches(SEEN).count() < noticed + move_number + 1 {
            assert!(moved.elapsed() < LIMIT, "the daemon has not noticed\n{}", device.said());
            sleep(Duration::from_millis(20));
        }
        while !house.carries() {
            assert!(moved.elapsed() < LIMIT, "nothing is carried\n{}", device.said());
        }
        println!("noticed and carried on after {:?}", moved.elapsed());
    }
    transfer.finish("through three moves");
    assert_eq!(resets(), resets_before, "a connection was reset");
    let after = device.until_connected(LIMIT);
    assert_eq!((after.registration, after.addresses), (before.registration, before.addresses));
    let handshakes = after.counters.get("engine.handshakes").copied();
    assert_eq!(handshakes, before.counters.get("engine.handshakes").copied(), "the connection moved, none was made");
}
