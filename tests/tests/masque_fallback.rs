//! A device over MASQUE in a network that lets no UDP through: from the beginning, in the middle, and no longer.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use reqwest::Method;
use serde_json::json;
use std::thread::sleep;
use std::time::{Duration, Instant};
use vestibule_tests::house::{GATEWAY, House, INNER};
use vestibule_tests::kernel::Counters;
use vestibule_tests::load::Transfer;

const LIMIT: Duration = Duration::from_secs(60);
/// Whatever is sent by UDP to the other end goes nowhere, as in a firewall.
const RULE: [&str; 7] = ["pref", "10", "ipproto", "udp", "to", GATEWAY, "blackhole"];

fn block(house: &House, block: bool) {
    let what = if block { "add" } else { "del" };
    house.outside.run("ip", &[&["rule", what][..], &RULE].concat());
}

#[test]
fn a_transfer_lives_through_the_loss_of_udp() {
    if !vestibule_tests::required("a_transfer_lives_through_the_loss_of_udp") {
        return;
    }
    let house = House::new("fallback");
    let token = house.admin.token("Devices", "1h");
    let _ = house.admin.call(Method::PATCH, "devices/policy", Some(json!({ "tunnel_protocol": "masque" })));
    let mut device = house.device(&token);
    let before = device.until_connected(LIMIT);
    assert!(house.carries());

    let resets = || Counters::of(&house.outside).get("TcpOutRsts") + Counters::of(&house.inside).get("TcpOutRsts");
    let resets_before = resets();
    let transfer = Transfer::start(&house.outside, &house.inside, format!("{INNER}:7000").parse().unwrap(), 400 << 20);
    sleep(Duration::from_millis(200));
    block(&house, true);
    let blocked = Instant::now();
    while !house.carries() {
        assert!(blocked.elapsed() < LIMIT, "nothing is carried\n{}", device.said());
    }
    println!("carried on without UDP after {:?}", blocked.elapsed());
    transfer.finish("over HTTP/2");
    assert_eq!(resets(), resets_before, "a connection was reset");
    let after = device.until_connected(LIMIT);
    assert_eq!((after.registration, after.addresses), (before.registration, before.addresses));
}

#[test]
fn a_device_comes_in_where_udp_was_never_let_through() {
    if !vestibule_tests::required("a_device_comes_in_where_udp_was_never_let_through") {
        return;
    }
    let house = House::new("no-udp");
    let token = house.admin.token("Devices", "1h");
    let _ = house.admin.call(Method::PATCH, "devices/policy", Some(json!({ "tunnel_protocol": "masque" })));
    block(&house, true);
    let mut device = house.device(&token);
    let _ = device.until_connected(LIMIT);
    assert!(house.carries());
    Transfer::start(&house.outside, &house.inside, format!("{INNER}:7000").parse().unwrap(), 20 << 20)
        .finish("over HTTP/2");
}
