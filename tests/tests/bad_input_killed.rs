//! SIGKILL at moments that a seed chooses, at the gateway under administrators' writes and at the daemon under identity
//! swaps: what was acknowledged is there after the restart, and the host's network is as it should be.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use reqwest::Method;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use vestibule_control::daemon::ipc::{State, Status};
use vestibule_tests::admin::Admin;
use vestibule_tests::device::{Device, mdm};
use vestibule_tests::flood::Numbers;
use vestibule_tests::house::House;
use vestibule_tests::login::sign_in;

const LIMIT: Duration = Duration::from_secs(30);
const ROUNDS: usize = 8;
const EMAIL: &str = "alice@mycompany.example";
const PASSWORD: &str = "correct horse battery staple";

/// What an administrator was told.
#[derive(Debug, Default)]
struct Told {
    made: BTreeSet<String>,
    deleted: BTreeSet<String>,
    /// Asked for and not answered: may have happened or not.
    open: BTreeSet<String>,
}

/// Makes rules, and deletes every third, until the gateway does not answer any longer.
fn write(admin: &Admin, round: usize) -> Told {
    let mut told = Told::default();
    for number in 0.. {
        let name = format!("Rule {round}.{number}");
        let rule = json!({ "name": name, "action": "block", "traffic": format!("net.dst.port == {}", 1 + number) });
        let Ok(reply) = admin.send(Method::POST, "gateway/rules", Some(rule.to_string().into_bytes())) else {
            told.open.insert(name);
            break;
        };
        assert!(reply.done(), "{reply:?}");
        told.made.insert(name.clone());
        if number % 3 == 0 {
            let id = reply.body["result"]["id"].as_str().unwrap();
            told.made.remove(&name);
            match admin.send(Method::DELETE, &format!("gateway/rules/{id}"), None) {
                Ok(reply) => {
                    assert!(reply.done(), "{reply:?}");
                    told.deleted.insert(name);
                }
                Err(_) => {
                    told.open.insert(name);
                    break;
                }
            }
        }
    }
    told
}

#[test]
fn a_gateway_killed_under_writes_finds_every_acknowledged_one() {
    if !vestibule_tests::required("a_gateway_killed_under_writes_finds_every_acknowledged_one") {
        return;
    }
    let mut house = House::new("kill-gateway");
    let mut numbers = Numbers(20_261_121);
    let token = house.admin.token("Devices", "1h");
    let mut device = house.device(&token);
    let first = device.until_connected(LIMIT);
    let mut expected: BTreeSet<String> = BTreeSet::from(["To 100.96.0.1".to_owned()]);
    let (mut writes, mut swap_seq) = (0, first.swap_seq);
    for round in 0..ROUNDS {
        let (admin, paths) = (house.admin.clone(), house.paths.clone());
        let writing = thread::spawn(move || write(&admin, round));
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        // Orders for fresh keys go on as well.
        let swapping = thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                let _ = (paths.verb(&["disconnect"]), paths.verb(&["connect"]));
            }
        });
        thread::sleep(Duration::from_millis(50 + numbers.draw() % 400));
        house.kill_gateway();
        let told = writing.join().unwrap();
        ended.store(true, Ordering::Relaxed);
        swapping.join().unwrap();
        house.restart_gateway();

        writes += told.made.len() + 2 * told.deleted.len();
        expected.extend(told.made);
        let rules = house.admin.get("gateway/rules");
        let mut found: BTreeSet<String> =
            rules.as_array().unwrap().iter().map(|rule| rule["name"].as_str().unwrap().to_owned()).collect();
        for open in &told.open {
            // It may have been written before the answer was lost; from now on it counts as what it is.
            if found.contains(open) {
                expected.insert(open.clone());
            }
        }
        assert_eq!(found, expected, "round {round}: not the rules that were acknowledged");
        assert_eq!(house.admin.get("access/service_tokens")[0]["id"], token.id.as_str());
        assert_eq!(house.admin.get("devices/registrations").as_array().unwrap().len(), 1, "round {round}");

        assert_eq!(house.paths.verb(&["connect"]).code, Some(0));
        let status = device.until_connected(LIMIT);
        assert_eq!((status.registration, &status.addresses), (first.registration, &first.addresses), "round {round}");
        assert!(status.swap_seq >= swap_seq, "round {round}: orders went back");
        swap_seq = status.swap_seq;
        let asked = Instant::now();
        while !house.carries() {
            assert!(asked.elapsed() < LIMIT, "round {round}: nothing is carried\n{}", device.said());
        }
        found.clear();
    }
    println!("{ROUNDS} rounds, {writes} acknowledged writes, orders {:?} to {swap_seq:?}", first.swap_seq);
}

fn as_user(status: &Status) -> bool {
    status.state == State::Connected && status.identity.as_deref() == Some(EMAIL)
}

#[test]
fn a_daemon_killed_under_swaps_comes_back_as_who_it_was() {
    if !vestibule_tests::required("a_daemon_killed_under_swaps_comes_back_as_who_it_was") {
        return;
    }
    let house = House::new("kill-daemon");
    let mut numbers = Numbers(20_261_122);
    let token = house.admin.token("Devices", "1h");
    house.admin.user(EMAIL, PASSWORD);
    let bare = house.outside.network();
    house.paths.deploy(mdm(&token).replacen("<dict>\n", "<dict>\n  <key>multi_user</key>\n  <true/>\n", 1));
    let start = || Device::start(&house.outside, &house.paths, &house.gateway, &[]);
    let mut device = start();
    let first = device.until_connected(LIMIT);
    house.paths.session("logon alice 1").unwrap();
    let prompting = device.until("the address to sign in at", LIMIT, |status| status.auth_url.is_some());
    sign_in(&house.outside, &house.gateway, &prompting.auth_url.unwrap(), EMAIL, PASSWORD);
    let user = device.until("connected as the user", LIMIT, as_user);
    assert_eq!(user.addresses, first.addresses, "the inner address changed at the login");
    let connected = house.outside.network();
    let registrations = house.admin.get("devices/registrations").as_array().unwrap().len();

    let (mut swap_seq, mut slowest) = (user.swap_seq, Duration::ZERO);
    for round in 0..ROUNDS {
        let (ended, paths) = (Arc::new(AtomicBool::new(false)), house.paths.clone());
        let end = Arc::clone(&ended);
        let swapping = thread::spawn(move || {
            let mut events = ["logoff 1", "logon alice 1"].iter().cycle();
            while !end.load(Ordering::Relaxed) {
                let _ = events.next().map(|event| paths.session(event));
                thread::sleep(Duration::from_millis(30));
            }
        });
        thread::sleep(Duration::from_millis(50 + numbers.draw() % 400));
        device.kill();
        ended.store(true, Ordering::Relaxed);
        swapping.join().unwrap();

        let restarted = Instant::now();
        device = start();
        // She may be logged on as it is: the source of the sessions outlives the daemon, as a system's does.
        if let Err(error) = house.paths.session("logon alice 1") {
            assert!(error.to_string().contains("already"), "{error}");
        }
        let status = device.until("connected as the user again", LIMIT, as_user);
        slowest = slowest.max(restarted.elapsed());
        assert_eq!(status.device_id, first.device_id, "round {round}");
        assert_eq!((status.registration, &status.addresses), (user.registration, &first.addresses), "round {round}");
        assert!(status.swap_seq > swap_seq, "round {round}: orders went back, or none was needed");
        swap_seq = status.swap_seq;
        assert!(house.carries(), "round {round}");
        assert_eq!(house.outside.network(), connected, "round {round}: the host's network");
        let now = house.admin.get("devices/registrations").as_array().unwrap().len();
        assert_eq!(now, registrations, "round {round}: registrations were made anew");
    }
    println!("{ROUNDS} rounds, orders {:?} to {swap_seq:?}, connected again after at most {slowest:?}", user.swap_seq);
    assert!(device.stop(), "SIGTERM: {}", device.said());
    assert_eq!(house.outside.network(), bare, "a daemon that ended left something behind");
}
