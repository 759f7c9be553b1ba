//! A device in a network that lets UDP through, but not to the gateway's port: the vendor's further ports are tried.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::time::Duration;
use vestibule_tests::house::{GATEWAY, House};
use vestibule_tests::masque::script;
use vestibule_tests::plain::block;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn wireguard_gets_through_at_another_of_the_vendor_s_ports() {
    if !vestibule_tests::required("wireguard_gets_through_at_another_of_the_vendor_s_ports") {
        return;
    }
    let house = House::new("ports");
    let mut command = house.inside.command("python3");
    command.arg("-B").arg(script("udp_forward.py")).args([GATEWAY, "4500", "51820"]);
    let mut forward = house.inside.start(command, house.room.0.join("forward.log"));
    let log = forward.log().to_owned();
    forward.wait_for("the router", LIMIT, || fs::read_to_string(&log).unwrap().contains("ready").then_some(()));
    block(&house.outside, GATEWAY, "51820", true);
    let token = house.admin.token("Devices", "1h");
    let mut device = house.device(&token);
    let status = device.until_connected(LIMIT);
    assert!(house.carries(), "{status:?}\n{}", device.said());
}
