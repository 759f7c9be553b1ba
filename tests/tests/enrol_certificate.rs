//! Enrolment by client certificate: a real device with a real file, and the administrator with curl and openssl.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use reqwest::Method;
use serde_json::json;
use std::fs;
use std::time::{Duration, Instant};
use vestibule_tests::authority::Authority;
use vestibule_tests::device::{Device, mdm};
use vestibule_tests::house::House;

const LIMIT: Duration = Duration::from_secs(30);
const TEAM: &str = "mycompany.cloudflareaccess.com";

/// What curl says of the login page: its handshake and its status.
fn login_page(house: &House, more: &[&str]) -> String {
    let url = format!("{}/warp", house.gateway.fact("url"));
    let mut command = house.outside.command("curl");
    command.args(["-svk", "-o", "/dev/null", "-w", "status %{http_code}", &url]).args(more);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout))
}

/// Starts the device with this file as its client certificate.
fn start(house: &House, certificate: Option<&str>) -> Device {
    let file = house.paths.state().join("client.pem");
    match certificate {
        Some(certificate) => fs::write(&file, certificate).unwrap(),
        None => assert!(!file.exists()),
    }
    Device::start(&house.outside, &house.paths, &house.gateway, &[])
}

#[test]
fn a_device_enrols_by_its_certificate_and_by_no_other() {
    if !vestibule_tests::required("a_device_enrols_by_its_certificate_and_by_no_other") {
        return;
    }
    let house = House::new("certificate");
    let (trusted, stranger) = (Authority::new(&house.room.0, "devices"), Authority::new(&house.room.0, "strangers"));
    assert!(!login_page(&house, &[]).contains("Request CERT"), "nobody is asked while no authority counts");
    let authority = json!({ "name": "Devices", "certificate": trusted.certificate(), "associated_hostnames": [TEAM] });
    let _ = house.admin.call(Method::POST, "access/certificates", Some(authority));
    let mine = house.room.0.join("mine.pem");
    fs::write(&mine, stranger.client("curl", None)).unwrap();
    for more in [&[][..], &["--cert", mine.to_str().unwrap()]] {
        let page = login_page(&house, more);
        assert!(page.contains("Request CERT") && page.ends_with("status 400"), "asked for, not demanded: {page}");
    }

    let token = house.admin.token_alone("laptops", "1h");
    let policy = json!({
        "name": "laptops", "decision": "non_identity", "include": [{ "service_token": { "token_id": token.id } }],
        "require": [{ "common_name": { "common_name": "laptop-7" } }],
    });
    house.admin.enrolment_policy(&policy);
    house.paths.deploy(mdm(&token));
    fs::create_dir(house.paths.state()).unwrap();
    for (certificate, why) in [
        (None, "no client certificate was presented"),
        (Some(stranger.client("laptop-7", None)), "UnknownIssuer"),
        (Some(trusted.client("laptop-7", Some("2020-01-01 12:00:00"))), "certificate expired"),
        (Some(trusted.client("laptop-8", None)), "no enrolment policy lets it in: ask"),
    ] {
        let mut device = start(&house, certificate.as_deref());
        let begun = Instant::now();
        while !device.said().contains(why) {
            assert!(begun.elapsed() < LIMIT, "not refused by `{why}`: {}", device.said());
            std::thread::sleep(Duration::from_millis(50));
        }
        device.kill();
        assert_eq!(house.admin.get("devices/registrations"), json!([]), "{why}");
    }
    let mut device = start(&house, Some(&trusted.client("laptop-7", None)));
    device.until_connected(LIMIT);
    assert!(house.carries(), "{}", device.said());
}
