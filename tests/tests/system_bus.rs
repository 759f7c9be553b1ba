//! The system's services that the daemon talks to over D-Bus, played on a bus of the test's own: logind says who logs
//! on, systemd-resolved is told which names the tunnel answers for.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use nix::net::if_::if_nametoindex;
use reqwest::Method;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use vestibule_control::daemon::ipc::{DnsState, State, Status};
use vestibule_tests::bus::Bus;
use vestibule_tests::device::{Device, mdm};
use vestibule_tests::house::House;
use vestibule_tests::login::sign_in;
use vestibule_tests::login1::{Login1, Manager, Session};
use vestibule_tests::resolve1::{Link, Resolve1};

const LIMIT: Duration = Duration::from_secs(30);
const NON_IDENTITY: &str = "non_identity@mycompany.cloudflareaccess.com";
const ANNA: &str = "anna@mycompany.example";
const PASSWORD: &str = "correct horse battery staple";

fn as_whom(email: &'static str) -> impl Fn(&Status) -> bool {
    move |status| status.state == State::Connected && status.identity.as_deref() == Some(email)
}

/// A device whose system bus is `bus`.
fn device(house: &House, bus: &Bus) -> Device {
    let address = format!("DBUS_SYSTEM_BUS_ADDRESS={}", bus.address);
    Device::start(&house.outside, &house.paths, &house.gateway, &["env", &address])
}

#[test]
fn a_login_that_logind_tells_leads_to_the_sign_in_and_the_swap_and_a_logout_back() {
    if !vestibule_tests::required("a_login_that_logind_tells_leads_to_the_sign_in_and_the_swap_and_a_logout_back") {
        return;
    }
    let mut house = House::new("logind");
    let token = house.admin.token("Devices", "1h");
    house.admin.user(ANNA, PASSWORD);
    house.paths.deploy(mdm(&token).replacen("<dict>\n", "<dict>\n  <key>multi_user</key>\n  <true/>\n", 1));
    house.paths.sessions = PathBuf::from("logind");
    let bus = Bus::start(&house.room.0.join("bus"));
    let mut login1 = Login1::start(&bus, Manager::default());
    login1.login("c1", "gdm", |session| Session { class: "greeter", active: true, ..session });
    let mut device = device(&house, &bus);
    let before = device.until("connected before login", LIMIT, as_whom(NON_IDENTITY));
    assert!(house.carries());

    // Anna logs on at the greeter, and then at the identity provider.
    login1.login("2", "anna", |session| session);
    login1.show("2");
    let prompting = device.until("the prompt", LIMIT, |status| status.auth_url.is_some());
    assert!(as_whom(NON_IDENTITY)(&prompting), "held until she has signed in: {prompting:?}");
    sign_in(&house.outside, &house.gateway, &prompting.auth_url.unwrap(), ANNA, PASSWORD);
    let signed_in = device.until("connected as anna", LIMIT, as_whom(ANNA));
    assert_eq!(signed_in.addresses, before.addresses);
    assert!(signed_in.generation > before.generation, "{signed_in:?}");
    assert!(house.carries());

    // She logs off: the greeter is shown again.
    login1.end("2");
    login1.show("c1");
    let after = device.until("connected before login again", LIMIT, as_whom(NON_IDENTITY));
    assert_eq!(after.registration, before.registration);
    assert!(house.carries());

    // And on again: no prompt, her registration is kept.
    login1.login("3", "anna", |session| session);
    login1.show("3");
    let again = device.until("connected as anna again", LIMIT, as_whom(ANNA));
    assert_eq!((again.registration, again.auth_url), (signed_in.registration, None));

    let why = house.paths.verb(&["why", "--last", "200"]).out;
    for told in ["anna", "M7", "M4", "M6", "D2"] {
        assert!(why.contains(told), "`{told}` is not in:\n{why}");
    }
}

#[test]
fn resolved_is_told_of_the_directory_s_names_until_the_tunnel_ends_or_is_killed() {
    if !vestibule_tests::required("resolved_is_told_of_the_directory_s_names_until_the_tunnel_ends_or_is_killed") {
        return;
    }
    let house = House::new("resolved");
    let token = house.admin.token("Devices", "1h");
    let domains = json!([{ "suffix": "corp.mycompany.example", "dns_server": ["100.96.200.10"] }]);
    let _ = house.admin.call(Method::PUT, "devices/policy/fallback_domains", Some(domains));
    let stub = "nameserver 127.0.0.53\noptions edns0 trust-ad\n";
    let resolv_conf = house.outside.resolve_by(stub);
    let bus = Bus::start(&house.room.0.join("bus"));
    let resolved = Resolve1::start(&bus, &["192.0.2.53".parse().unwrap()]);
    house.paths.deploy(mdm(&token));

    let expected = |status: &Status| Link {
        servers: vec![status.dns.address.unwrap().ip()],
        domains: vec![("corp.mycompany.example".to_owned(), true)],
        default_route: Some(false),
    };
    let index = || {
        let inside = house.outside.thread(|| if_nametoindex("vestibule0").unwrap());
        i32::try_from(inside.join().unwrap()).unwrap()
    };
    let mut first = device(&house, &bus);
    let on = |status: &Status| status.dns.state == DnsState::On;
    let status = first.until("names of the directory", LIMIT, on);
    assert_eq!(status.dns.keeper.as_deref(), Some("systemd-resolved"));
    assert_eq!(status.dns.system_servers, ["192.0.2.53".parse::<std::net::IpAddr>().unwrap()]);
    let killed = index();
    assert_eq!(resolved.links(), BTreeMap::from([(killed, expected(&status))]));

    // Killed: the kernel takes the link away, and with it what systemd-resolved knows of it.
    first.kill();
    let gone = house.outside.command("ip").args(["link", "show", "vestibule0"]).output().unwrap();
    assert!(!gone.status.success(), "the link outlived its process");
    resolved.gone(killed);
    let mut second = device(&house, &bus);
    let status = second.until("names of the directory again", LIMIT, on);
    assert_eq!(resolved.links(), BTreeMap::from([(index(), expected(&status))]));

    // Disconnected, connected, ended.
    assert_eq!(house.paths.verb(&["disconnect"]).code, Some(0));
    second.until("the names are given back", LIMIT, |status| status.dns.state == DnsState::Off);
    assert_eq!(resolved.links(), BTreeMap::new());
    assert_eq!(house.paths.verb(&["connect"]).code, Some(0));
    second.until("names of the directory once more", LIMIT, on);
    assert!(second.stop());
    assert_eq!(resolved.links(), BTreeMap::new());
    assert!(!resolved.was_open(), "the tunnel's link was asked for every name");
    assert_eq!(std::fs::read_to_string(resolv_conf).unwrap(), stub);
}
