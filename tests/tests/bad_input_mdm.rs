//! A broken `mdm.xml`, deployed to a device that is connected: the last good one stays in force, whoever asks is told
//! what is wrong with the file, and a good one is taken up at once.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};
use vestibule_control::daemon::ipc::{MdmState, State};
use vestibule_tests::device::mdm;
use vestibule_tests::house::House;

const LIMIT: Duration = Duration::from_secs(15);
/// The log writes file names and errors as they are; a secret must be nowhere in it.
const WRONG_KEY: &str = "  <key>multi_user</key>\n  <string>perhaps</string>\n";

#[test]
fn a_broken_mdm_file_leaves_the_last_good_one_in_force_and_is_named() {
    if !vestibule_tests::required("a_broken_mdm_file_leaves_the_last_good_one_in_force_and_is_named") {
        return;
    }
    let house = House::new("mdm");
    let token = house.admin.token("Devices", "1h");
    let good = mdm(&token);
    let mut device = house.device(&token);
    let before = device.until_connected(LIMIT);

    let half = good[..good.find("</string>\n  </dict>").unwrap()].to_owned();
    let wrong = good.replacen("<dict>\n", &format!("<dict>\n{WRONG_KEY}"), 1);
    let huge = format!("{good}<!--{}-->", "x".repeat(10 << 20));
    // What it is, the file's content, and what every message about it must name besides the file.
    let broken: [(&str, String, &[&str]); 5] = [
        ("not XML", "this is no property list <".to_owned(), &["line 1", "expected"]),
        ("empty", String::new(), &["the file is empty: expected a <dict>"]),
        (
            "half-written",
            half,
            &["line 9", "`pre_login.auth_client_secret`", "ends inside <string> of line 9", "half-written"],
        ),
        ("10 MB", huge, &["larger than 1048576 bytes"]),
        ("a wrong value", wrong, &["line 3", "`multi_user`", "expected", "got"]),
    ];
    for (what, content, named) in &broken {
        house.paths.deploy(content);
        let status = device.until(what, LIMIT, |status| {
            status.mdm.error.as_ref().is_some_and(|error| named.iter().all(|name| error.contains(name)))
        });
        let error = status.mdm.error.clone().unwrap();
        assert!(error.contains(house.paths.mdm.to_str().unwrap()), "{what}: no file named: {error}");
        assert_eq!((status.mdm.state, status.state), (MdmState::LastGood, State::Connected), "{what}");
        assert_eq!(status.generation, before.generation, "{what}: the tunnel is the same one");
        assert_eq!(status.last_error.as_ref().map(|error| &error.message), Some(&error), "{what}");
        assert_eq!(status.mdm.pre_login.as_deref(), Some("mycompany"), "{what}");

        let refresh = house.paths.verb(&["mdm", "refresh"]);
        assert_eq!(refresh.code, Some(1), "{what}: {refresh:?}");
        assert!(refresh.out.is_empty(), "{what}: {refresh:?}");
        let line = refresh.error.strip_prefix("error: ").unwrap().strip_suffix('\n').unwrap();
        assert_eq!(line, error, "{what}: one line, the same words");
        let configs = house.paths.verb(&["mdm", "get-configs"]);
        assert_eq!(configs.code, Some(0), "{what}: {configs:?}");
        assert!(configs.out.contains(&error) && configs.out.contains("last good one stays in force"), "{configs:?}");
        assert!(device.said().contains(&error), "{what}: the log does not tell");
        assert!(house.carries(), "{what}: the tunnel stopped");
    }
    assert!(!device.said().contains(&token.secret), "the log tells the secret");

    house.paths.deploy(good.replace("Default", "Headquarters"));
    let deployed = Instant::now();
    let status = device.until("the good file", LIMIT, |status| status.mdm.state == MdmState::Loaded);
    println!("a good file was in force {:?} after it was deployed", deployed.elapsed());
    assert_eq!(status.mdm.configs[0].display_name.as_deref(), Some("Headquarters"));
    assert_eq!((status.mdm.error, status.last_error), (None, None));
    assert_eq!(status.generation, before.generation, "the tunnel is the same one");
    let refresh = house.paths.verb(&["mdm", "refresh"]);
    assert_eq!(refresh.code, Some(0), "{refresh:?}");
}

#[test]
fn a_device_that_never_had_a_good_mdm_file_says_so_and_takes_the_first_good_one() {
    if !vestibule_tests::required("a_device_that_never_had_a_good_mdm_file_says_so_and_takes_the_first_good_one") {
        return;
    }
    let house = House::new("mdm-first");
    let token = house.admin.token("Devices", "1h");
    house.paths.deploy(&mdm(&token)[..100]);
    let mut device = vestibule_tests::device::Device::start(&house.outside, &house.paths, &house.gateway, &[]);
    let status = device.until("broken", LIMIT, |status| status.mdm.state == MdmState::Broken);
    assert_eq!(status.state, State::Disconnected);
    assert!(status.summary.contains("half-written"), "{}", status.summary);
    let shown = house.paths.verb(&["status"]);
    assert!(shown.out.contains("broken: nothing is in force") && shown.out.contains("line "), "{shown:?}");

    house.paths.deploy(mdm(&token));
    let deployed = Instant::now();
    device.until_connected(LIMIT);
    println!("connected {:?} after the first good file", deployed.elapsed());
    assert!(house.carries());
}
