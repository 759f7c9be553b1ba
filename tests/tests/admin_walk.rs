//! The administrator's walk of the vendor's guide for connecting before Windows login, step by step: curl for what the
//! administrator does, a device with a scripted desktop for what is seen. (`api_sdk.rs` is the same by SDK;
//! `directory.rs` validates real domain credentials through the tunnel.)

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use vestibule_control::daemon::ipc::client::call;
use vestibule_control::daemon::ipc::{MdmView, Request, State, Status};
use vestibule_tests::admin::Token;
use vestibule_tests::device::{Device, mdm};
use vestibule_tests::house::{House, INNER};
use vestibule_tests::login::sign_in;

const LIMIT: Duration = Duration::from_secs(30);
const TEAM: &str = "mycompany.cloudflareaccess.com";
const ALICE: &str = "alice@mycompany.example";
const BOB: &str = "bob@mycompany.example";
const PASSWORD: &str = "correct horse battery staple";
/// The directory server: an address behind the gateway.
const DIRECTORY: &str = "100.96.200.10";

/// What the guide's reader types; the `result`.
fn curl(house: &House, method: &str, path: &str, body: Option<Value>) -> Value {
    let token = std::fs::read_to_string(house.gateway.fact("admin_token_file")).unwrap();
    let url = format!("{}/client/v4/accounts/{}/{path}", house.gateway.fact("url"), house.gateway.fact("account_id"));
    let certificate = house.room.0.join("gateway/tls/cert.pem");
    let bearer = format!("Authorization: Bearer {}", token.trim());
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let mut words = vec!["-fsS", "--cacert", certificate.to_str().unwrap(), "-X", method, &url, "-H", &bearer];
    if !body.is_empty() {
        words.extend(["-H", "Content-Type: application/json", "--data", &body]);
    }
    let answer: Value = serde_json::from_str(&house.inside.run("curl", &words)).unwrap();
    assert_eq!((&answer["success"], &answer["errors"]), (&json!(true), &json!([])), "{answer}");
    answer["result"].clone()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn non_identity() -> String {
    format!("non_identity@{TEAM}")
}

fn as_whom(status: &Status, email: &str) -> bool {
    status.state == State::Connected && status.identity.as_deref() == Some(email)
}

/// Whether an address answers the device within two seconds.
fn reaches(house: &House, address: &str) -> bool {
    let ping = house.outside.command("ping").args(["-n", "-q", "-c", "1", "-W", "2", address]).output();
    ping.is_ok_and(|ping| ping.status.success())
}

/// The mail addresses of the registrations in force.
fn registered(house: &House) -> Vec<String> {
    let listed = curl(house, "GET", "devices/registrations", None);
    let mut emails: Vec<String> = listed.as_array().unwrap().iter().map(|one| text(&one["user"]["email"])).collect();
    emails.sort();
    emails
}

/// Steps 1 and 2, and the users: a token that may enrol, and who may log in.
fn configured(house: &House) -> Token {
    // The directory server and, as the rest of the network, the gateway's own inner address.
    house.inside.run("ip", &["address", "add", &format!("{DIRECTORY}/32"), "dev", "lo"]);
    for rule in curl(house, "GET", "gateway/rules", None).as_array().unwrap() {
        curl(house, "DELETE", &format!("gateway/rules/{}", text(&rule["id"])), None);
    }

    // 1: a service token.
    let made =
        curl(house, "POST", "access/service_tokens", Some(json!({ "name": "CI/CD token", "duration": "8760h" })));
    let token =
        Token { id: text(&made["id"]), client_id: text(&made["client_id"]), secret: text(&made["client_secret"]) };
    let (hex, suffix) = token.client_id.split_at(32);
    assert!(hex.bytes().all(|byte| byte.is_ascii_hexdigit()) && suffix == ".access", "{}", token.client_id);
    assert_eq!((&made["name"], &made["duration"]), (&json!("CI/CD token"), &json!("8760h")));
    assert_eq!(made["client_secret_version"], 1);
    for time in ["created_at", "updated_at", "expires_at"] {
        assert!(text(&made[time]).contains('T'), "{made}");
    }
    let shown = curl(house, "GET", &format!("access/service_tokens/{}", token.id), None);
    assert!(shown.get("client_secret").is_none(), "shown twice");

    // 2: an enrolment policy, Service Auth.
    let apps = curl(house, "GET", "access/apps", None);
    let app = apps.as_array().unwrap().iter().find(|app| app["type"] == "warp").unwrap();
    assert_eq!(app["domain"], format!("{TEAM}/warp"));
    let policies = format!("access/apps/{}/policies", text(&app["id"]));
    let service_auth = json!({ "name": "devices", "decision": "non_identity",
        "include": [{ "service_token": { "token_id": token.id } }] });
    curl(house, "POST", &policies, Some(service_auth));
    let staff = json!({ "name": "staff", "decision": "allow", "include": [{ "email_domain": { "domain": "mycompany.example" } }] });
    curl(house, "POST", &policies, Some(staff));
    for email in [ALICE, BOB] {
        curl(house, "POST", "vestibule/users", Some(json!({ "email": email, "password": PASSWORD })));
    }

    // 3: a device profile for before the login.
    let profile = json!({ "name": "Before login", "precedence": 10, "switch_locked": true,
        "match": format!("identity.email in {{\"{}\"}} and os.name == \"linux\"", non_identity()) });
    curl(house, "POST", "devices/policy", Some(profile));

    // 4: before the login only the directory servers, and only from a system that is recent enough.
    let recent = json!({ "name": "Linux 3 or higher (OS version)", "type": "os_version", "schedule": "5m",
        "match": [{ "platform": "linux" }],
        "input": { "operating_system": "linux", "operator": ">=", "version": "3.0.0" } });
    let recent = text(&curl(house, "POST", "devices/posture", Some(recent))["id"]);
    let servers = json!({ "name": "Active Directory servers", "type": "IP", "items": [{ "value": DIRECTORY }] });
    let servers = text(&curl(house, "POST", "gateway/lists", Some(servers))["id"]);
    let rule = json!({ "name": "directory before login", "action": "allow", "filters": ["l4"],
        "traffic": format!("net.dst.ip in ${servers}"),
        "identity": format!("identity.email in {{\"{}\"}}", non_identity()),
        "device_posture": format!("any(device_posture.checks.passed[*] in {{\"{recent}\"}})") });
    curl(house, "POST", "gateway/rules", Some(rule));
    token
}

/// Somebody logs in at the desktop, and then at the identity provider.
fn log_in(house: &House, device: &mut Device, event: &str, email: &str) -> Status {
    house.paths.session(event).unwrap();
    let prompting = device.until("the prompt", LIMIT, |status| status.auth_url.is_some());
    sign_in(&house.outside, &house.gateway, &prompting.auth_url.unwrap(), email, PASSWORD);
    device.until("connected as the user", LIMIT, |status| as_whom(status, email))
}

#[test]
fn the_walk_of_the_guide_steps_1_to_10() {
    if !vestibule_tests::required("the_walk_of_the_guide_steps_1_to_10") {
        return;
    }
    let house = House::new("walk");
    let token = configured(&house);

    // 5: the MDM file is deployed, and picked up at once by a device that is up already.
    let mut device = Device::start(&house.outside, &house.paths, &house.gateway, &[]);
    let deployed = Instant::now();
    house.paths.deploy(mdm(&token));

    // 6: nobody has logged in: the pre-login configuration applies.
    let first = device.until("connected before login", LIMIT, |status| as_whom(status, &non_identity()));
    println!("connected {:?} after the file was deployed", deployed.elapsed());
    assert_eq!(registered(&house), [non_identity()]);
    let listed = curl(&house, "GET", "devices/physical-devices", None);
    assert_eq!(listed[0]["last_seen_user"]["email"], non_identity(), "{listed}");
    let settings = house.paths.verb(&["settings", "--json"]);
    assert!(settings.out.contains("Before login") || settings.out.contains("switch_locked"), "{settings:?}");

    // 7: the directory answers through the tunnel, and nothing else does.
    assert!(reaches(&house, DIRECTORY), "{}", device.said());
    assert!(!reaches(&house, INNER), "more than the directory is open before the login");

    // 4, the other way round: a system that is not recent enough reaches not even the directory.
    let posture = |version: &str| {
        json!({ "name": "Linux 3 or higher (OS version)", "type": "os_version", "schedule": "5m",
            "match": [{ "platform": "linux" }],
            "input": { "operating_system": "linux", "operator": ">=", "version": version } })
    };
    let rules = curl(&house, "GET", "devices/posture", None);
    let rule = format!("devices/posture/{}", text(&rules[0]["id"]));
    curl(&house, "PUT", &rule, Some(posture("900.0.0")));
    assert!(!reaches(&house, DIRECTORY), "a system that does not pass reaches the directory");
    curl(&house, "PUT", &rule, Some(posture("3.0.0")));
    assert!(reaches(&house, DIRECTORY), "{}", device.said());

    // 8: after the login the client prompts for the identity provider, and registers anew as the user.
    house.paths.session("logon alice 1").unwrap();
    let prompting = device.until("the prompt", LIMIT, |status| status.auth_url.is_some());
    assert_eq!(prompting.identity, Some(non_identity()), "the pre-login connection is held until the login is done");
    assert!(reaches(&house, DIRECTORY), "logon scripts meet a gap");
    sign_in(&house.outside, &house.gateway, &prompting.auth_url.unwrap(), ALICE, PASSWORD);
    let user = device.until("connected as the user", LIMIT, |status| as_whom(status, ALICE));
    assert_eq!(user.addresses, first.addresses, "the inner address changed");
    assert_ne!(user.registration, first.registration);
    assert_eq!(registered(&house), [ALICE.to_owned(), non_identity()], "a new entry beside the old");
    assert!(reaches(&house, INNER), "{}", device.said());

    // 9: multi-user off. After a log-off and another's login it is still the first user's; after a reboot too, before
    // anybody logs in.
    house.paths.session("logoff 1").unwrap();
    house.paths.session("logon bob 2").unwrap();
    assert!(as_whom(&device.until_connected(LIMIT), ALICE));
    house.paths.session("logoff 2").unwrap();
    assert!(device.stop());
    let mut device = Device::start(&house.outside, &house.paths, &house.gateway, &[]);
    let again = device.until("connected after the reboot", LIMIT, |status| as_whom(status, ALICE));
    assert_eq!(again.registration, user.registration);

    // 10: the user's registration is deleted; at the next log-off the device is on the pre-login configuration.
    house.paths.session("logon alice 3").unwrap();
    curl(&house, "DELETE", &format!("devices/registrations/{}", user.registration.unwrap()), None);
    device.until("told of the deletion", LIMIT, |status| !as_whom(status, ALICE));
    house.paths.session("logoff 3").unwrap();
    device.until("back before login", LIMIT, |status| as_whom(status, &non_identity()));
    assert!(reaches(&house, DIRECTORY) && !reaches(&house, INNER));
    let audit = curl(&house, "GET", "vestibule/audit?kind=delete", None);
    assert_eq!(audit[0]["email"], ALICE, "{audit}");
}

#[test]
fn the_walk_of_the_guide_step_11_one_registration_per_user() {
    if !vestibule_tests::required("the_walk_of_the_guide_step_11_one_registration_per_user") {
        return;
    }
    let house = House::new("walk-multi");
    let token = configured(&house);
    let multi = mdm(&token).replacen("<dict>\n", "<dict>\n  <key>multi_user</key>\n  <true/>\n", 1);
    house.paths.deploy(&multi);
    let mut device = Device::start(&house.outside, &house.paths, &house.gateway, &[]);
    let machine = device.until("connected before login", LIMIT, |status| as_whom(status, &non_identity()));

    // M1, M2: whoever logs in is prompted; M4: logging out of Windows goes back to the pre-login registration.
    let alice = log_in(&house, &mut device, "logon alice 1", ALICE);
    // M3: while the next one is prompted, the desktop goes back to who has a registration.
    house.paths.session("logon bob 2").unwrap();
    device.until("the other's prompt", LIMIT, |status| status.auth_url.is_some() && !as_whom(status, ALICE));
    house.paths.session("activated 1").unwrap();
    let kept = device.until("alice as before", LIMIT, |status| as_whom(status, ALICE) && status.auth_url.is_none());
    assert_eq!(kept.registration, alice.registration);
    house.paths.session("logoff 1").unwrap();
    let back = device.until("back before login", LIMIT, |status| as_whom(status, &non_identity()));
    assert_eq!(back.registration, machine.registration, "a registration was made anew");
    // M7: another user is prompted; M6: who has a registration is switched to it without a prompt.
    let bob = log_in(&house, &mut device, "activated 2", BOB);
    assert_ne!(bob.registration, alice.registration);
    house.paths.session("logoff 2").unwrap();
    device.until("back before login", LIMIT, |status| as_whom(status, &non_identity()));
    house.paths.session("logon alice 3").unwrap();
    let again = device.until("alice again", LIMIT, |status| as_whom(status, ALICE));
    assert_eq!((again.registration, &again.addresses), (alice.registration, &machine.addresses));
    assert_eq!(registered(&house), [ALICE.to_owned(), BOB.to_owned(), non_identity()]);

    // M5: without a configuration for before the login, the login screen keeps the previous user.
    let (head, rest) = multi.split_once("  <key>pre_login</key>\n").unwrap();
    house.paths.deploy(format!("{head}{}", rest.split_once("  </dict>\n").unwrap().1));
    let read = call::<MdmView>(&house.paths.control, &Request::MdmRefresh).unwrap();
    assert_eq!((read.pre_login, read.error), (None, None));
    house.paths.session("logoff 3").unwrap();
    let waiting = Instant::now();
    while !house.paths.verb(&["why"]).out.contains("M5") {
        assert!(waiting.elapsed() < LIMIT, "{:?}", house.paths.verb(&["why"]));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(as_whom(&device.until_connected(LIMIT), ALICE));
}
