//! A full disk for the gateway's store: writes are refused by name and leave nothing behind, packets go on, and when
//! there is room again everything works, with every acknowledged write there.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};
use vestibule_control::daemon::ipc::State;
use vestibule_tests::house::{House, Room};
use vestibule_tests::process::run;

const LIMIT: Duration = Duration::from_secs(20);

/// A small file system in memory; dropping it takes it away.
struct Small(PathBuf);

impl Small {
    fn mount(path: &Path) -> Self {
        std::fs::create_dir_all(path).unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "vestibule-test"]).arg(path));
        Self(path.to_owned())
    }

    /// Leaves not a byte.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        let block = vec![b'x'; 4096];
        while file.write_all(&block).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
        // The room around it could not go while this stood in it.
        let _ = std::fs::remove_dir(&self.0).and_then(|()| self.0.parent().map_or(Ok(()), std::fs::remove_dir));
    }
}

fn rule(number: usize) -> Value {
    // Big enough that a few of them outgrow what the write-ahead log has already.
    let ports: Vec<String> = (0..2_000).map(|port| port.to_string()).collect();
    let traffic = format!("net.dst.port in {{{}}}", ports.join(" "));
    json!({ "name": format!("Rule {number}"), "action": "block", "traffic": traffic })
}

fn names(rules: &Value) -> BTreeSet<String> {
    rules.as_array().unwrap().iter().map(|rule| rule["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_full_disk_refuses_writes_and_loses_nothing() {
    if !vestibule_tests::required("a_full_disk_refuses_writes_and_loses_nothing") {
        return;
    }
    let room = Room::new("disk");
    // What is declared later is dropped earlier: the gateway ends before its disk is taken away.
    let small = Small::mount(&room.0.join("gateway"));
    let mut house = House::in_room(room, &[]);
    let token = house.admin.token("Devices", "1h");
    let mut device = house.device(&token);
    let before = device.until_connected(LIMIT);
    let mut acknowledged = names(&house.admin.get("gateway/rules"));

    small.fill();
    let mut refusal = None;
    for number in 0..400 {
        let body = rule(number);
        let reply = house.admin.send(Method::POST, "gateway/rules", Some(body.to_string().into_bytes())).unwrap();
        if reply.done() {
            acknowledged.insert(format!("Rule {number}"));
            continue;
        }
        refusal = Some((number, reply));
        break;
    }
    let (number, reply) = refusal.expect("a disk without a free byte takes all");
    println!("full after {number} more rules: {} {}", reply.status, reply.refusal());
    assert_eq!(reply.status, 507, "{reply:?}");
    assert!(reply.refusal().contains("disk") && reply.refusal().contains("nothing was changed"), "{reply:?}");
    assert_eq!(names(&house.admin.get("gateway/rules")), acknowledged, "something half-written is shown");
    for _ in 0..5 {
        assert!(house.carries(), "packets stopped");
    }
    // A new connection needs a write: it is refused by name, and the device tries again.
    house.outside.run(vestibule_tests::vestibule().to_str().unwrap(), &verb(&house, "disconnect"));
    house.outside.run(vestibule_tests::vestibule().to_str().unwrap(), &verb(&house, "connect"));
    let status = device.until("refused or connected", LIMIT, |status| {
        let full = |message: &str| message.contains("disk") && message.contains("storage_full");
        status.state == State::Connected || status.last_error.as_ref().is_some_and(|error| full(&error.message))
    });
    println!("with a full disk a new connection is {:?}: {:?}", status.state, status.last_error);

    small.free();
    let after = device.until_connected(Duration::from_secs(30));
    assert_eq!(after.addresses, before.addresses);
    assert_eq!(after.registration, before.registration);
    let reply = house.admin.send(Method::POST, "gateway/rules", Some(rule(1_000).to_string().into_bytes())).unwrap();
    assert!(reply.done(), "with room again: {reply:?}");
    acknowledged.insert("Rule 1000".to_owned());
    assert!(house.carries());

    // The record of the swap that found no room is still to come.
    let swaps = || house.admin.get("vestibule/status")["swaps"].as_u64().unwrap();
    let recorded = Instant::now();
    while swaps() < after.swaps {
        assert!(recorded.elapsed() < LIMIT, "{} of {} swaps are recorded", swaps(), after.swaps);
        sleep(Duration::from_millis(100));
    }

    house.kill_gateway();
    house.restart_gateway();
    assert_eq!(names(&house.admin.get("gateway/rules")), acknowledged);
    assert!(house.admin.get("access/service_tokens")[0]["id"] == token.id.as_str());
    let registrations = house.admin.get("devices/registrations");
    assert_eq!(registrations.as_array().map(Vec::len), Some(1), "{registrations}");
    assert_eq!(house.admin.get("vestibule/status")["swaps"].as_u64(), Some(after.swaps));
}

fn verb<'a>(house: &'a House, word: &'a str) -> [&'a str; 3] {
    [word, "--control", house.paths.control.to_str().unwrap()]
}
