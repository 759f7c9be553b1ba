//! Clocks that are off by a year, at the device or at the gateway: the certificate's dates and the handshake's
//! timestamps stop nobody, and whether a token has expired is the gateway's judgement.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use vestibule_control::daemon::ipc::{State, Status};
use vestibule_tests::device::{Device, mdm};
use vestibule_tests::gateway::Gateway;
use vestibule_tests::house::{GATEWAY, House};

const LIMIT: Duration = Duration::from_secs(20);
/// Of the Gregorian calendar, in seconds.
const YEAR: i64 = 31_556_952;

/// The words before a command whose wall clock is off; its monotonic clock is right.
fn off(by: &str) -> Vec<String> {
    let library = std::fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path());
    let library = library.map(|path| path.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    let library = library.expect("Debian's package `faketime`: run tests/setup");
    let preload = format!("LD_PRELOAD={}", library.display());
    ["env", &preload, &format!("FAKETIME={by}"), "FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_NO_CACHE=1"]
        .map(str::to_owned)
        .to_vec()
}

fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// How far a time that a process told is from now, in seconds, give or take a few days.
fn distance(text: &str) -> i64 {
    let number = |part: &str| part.parse::<i64>().unwrap();
    let day = (number(&text[5..7]) - 1) * 30 + number(&text[8..10]);
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    (number(&text[..4]) - 1970) * YEAR + day * 86_400 - now
}

/// Off and on again: a new order, fresh keys, a new handshake.
fn swap(house: &House, device: &mut Device, before: &Status) -> Status {
    assert_eq!(house.paths.verb(&["disconnect"]).code, Some(0));
    assert_eq!(house.paths.verb(&["connect"]).code, Some(0));
    let after =
        device.until("swapped", LIMIT, |status| status.state == State::Connected && status.swap_seq > before.swap_seq);
    assert_eq!((after.registration, &after.addresses), (before.registration, &before.addresses));
    assert!(house.carries());
    after
}

#[test]
fn a_device_whose_clock_is_off_by_a_year_connects_and_swaps() {
    if !vestibule_tests::required("a_device_whose_clock_is_off_by_a_year_connects_and_swaps") {
        return;
    }
    let house = House::new("clock-device");
    let expired = house.admin.token("Expired", "1s");
    let good = house.admin.token("Good", "1h");
    std::thread::sleep(Duration::from_millis(1_100));
    let mut registration = None;
    for by in ["-1y", "+1y"] {
        let wrapper = off(by);
        house.paths.deploy(mdm(if registration.is_none() { &expired } else { &good }));
        let mut device = Device::start(&house.outside, &house.paths, &house.gateway, &words(&wrapper));
        if registration.is_none() {
            // A year ago this token was still to be made; it is expired all the same.
            let status = device.until("refused", LIMIT, |status| {
                status.last_error.as_ref().is_some_and(|error| error.message.contains("token_expired"))
            });
            let at = distance(&status.last_error.unwrap().at);
            assert!((at + YEAR).abs() < 10 * 86_400, "the device's clock is off by {at} s, not by a year");
            house.paths.deploy(mdm(&good));
        }
        let first = device.until_connected(LIMIT);
        assert!(house.carries(), "{by}");
        assert_eq!(*registration.get_or_insert(first.registration), first.registration, "{by}: enrolled anew");
        let last = swap(&house, &mut device, &first);
        println!("{by}: connected and swapped, {:?} to {:?}", first.swap_seq, last.swap_seq);
        device.kill();
    }
}

#[test]
fn a_gateway_whose_clock_is_off_by_a_year_serves_and_judges_by_it() {
    if !vestibule_tests::required("a_gateway_whose_clock_is_off_by_a_year_serves_and_judges_by_it") {
        return;
    }
    let (ahead, behind) = (off("+1y"), off("-1y"));
    let mut house = House::under("clock-gateway", &words(&ahead));
    let token = house.admin.token("Devices", "1h");
    let made = house.admin.get("access/service_tokens")[0]["created_at"].as_str().unwrap().to_owned();
    assert!((distance(&made) - YEAR).abs() < 10 * 86_400, "the gateway's clock is not a year ahead: {made}");
    let mut device = house.device(&token);
    let first = device.until_connected(LIMIT);
    assert!(house.carries());
    let second = swap(&house, &mut device, &first);

    // Two years back in time, with everything that was written in the future.
    house.kill_gateway();
    house.gateway = Gateway::start_under(&house.inside, &words(&behind), &house.room.0, GATEWAY, &[]);
    let started = std::time::Instant::now();
    while !house.carries() {
        assert!(started.elapsed() < LIMIT, "nothing is carried again\n{}", device.said());
    }
    println!("a clock set back by two years: carried again {:?} after the start", started.elapsed());
    let status = device.until_connected(LIMIT);
    assert_eq!((status.registration, &status.addresses), (first.registration, &first.addresses));
    let third = swap(&house, &mut device, &second);

    // And two years forward again: a token of one hour that was made now has expired for this gateway alone.
    let late = house.admin.token("Made a year ago", "1h");
    house.kill_gateway();
    house.gateway = Gateway::start_under(&house.inside, &words(&ahead), &house.room.0, GATEWAY, &[]);
    let status = device.until_connected(LIMIT);
    let _ = swap(&house, &mut device, if status.swap_seq > third.swap_seq { &status } else { &third });
    let deleted = house.paths.verb(&["registration", "delete"]);
    assert_eq!(deleted.code, Some(0), "{deleted:?}");
    house.paths.deploy(mdm(&late));
    device.until("refused", LIMIT, |status| {
        status.last_error.as_ref().is_some_and(|error| error.message.contains("token_expired"))
    });
}
