//! The system's own adapters: a TUN device on Linux, Wintun's on Windows (its library beside the test program). They want
//! an administrator, so that they are asked for by name: `cargo test -p vestibule-platform --test adapters -- --ignored`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    thread,
    time::{Duration, Instant},
};
use vestibule_platform::{
    adapter::{Adapter as _, Tun, TunConfig},
    netcfg::interface_index,
};

/// A name that no other test uses.
fn name(suffix: &str) -> String {
    format!("vt{}{suffix}", std::process::id() % 1_000_000)
}

/// Systems take adapters away when they get to it.
fn gone(name: &str) -> bool {
    let until = Instant::now() + Duration::from_secs(30);
    while interface_index(name).is_some() {
        if Instant::now() > until {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
    true
}

#[test]
#[ignore = "makes a network device fifty times: wants an administrator, and Wintun on Windows"]
fn fifty_adapters_come_and_go() {
    let name = name("f");
    for round in 0..50 {
        let tun = Tun::open(&TunConfig::new(&name)).unwrap_or_else(|error| panic!("round {round}: {error:?}"));
        assert!(interface_index(&name).is_some(), "round {round}: the system does not know it");
        assert_eq!(tun.mtu(), 1420);
        drop(tun);
        assert!(gone(&name), "round {round}: it is still there");
    }
}

#[test]
#[ignore = "makes two network devices: wants an administrator, and Wintun on Windows"]
fn two_adapters_live_beside_each_other() {
    let (left, right) = (name("l"), name("r"));
    let tun = Tun::open(&TunConfig::new(&left)).unwrap();
    let mut other = Tun::open(&TunConfig::new(&right)).unwrap();
    let indices = (interface_index(&left).unwrap(), interface_index(&right).unwrap());
    assert_ne!(indices.0, indices.1);
    drop(tun);
    assert!(gone(&left));
    assert_eq!(interface_index(&right), Some(indices.1), "the one that is left is not disturbed");
    drop(other.read().unwrap());
}

#[test]
#[ignore = "makes a network device: wants an administrator, and Wintun on Windows"]
fn a_name_that_is_taken_is_refused_by_name() {
    let name = name("t");
    let tun = Tun::open(&TunConfig::new(&name)).unwrap();
    let error = Tun::open(&TunConfig::new(&name)).expect_err("two adapters of one name").to_string();
    assert!(error.contains(&name), "{error}");
    drop(tun);
    assert!(gone(&name));
}
