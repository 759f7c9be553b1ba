//! Service tokens that are wrong, expired, disabled or deleted: the refusal says which and why, never the secret; the
//! device keeps trying at growing intervals, and enrols as soon as a good token is deployed.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use reqwest::Method;
use serde_json::json;
use std::thread::sleep;
use std::time::{Duration, Instant};
use vestibule_control::daemon::ipc::State;
use vestibule_tests::admin::Token;
use vestibule_tests::device::mdm;
use vestibule_tests::house::House;

const LIMIT: Duration = Duration::from_secs(15);
/// Pauses of 1, 2 and 4 s less their jitter fit four attempts into this.
const WATCHED: Duration = Duration::from_secs(6);
const ATTEMPTS: usize = 4;

#[test]
fn a_refused_token_is_named_and_a_good_one_taken_up() {
    if !vestibule_tests::required("a_refused_token_is_named_and_a_good_one_taken_up") {
        return;
    }
    let house = House::new("token");
    let admin = &house.admin;
    let path = |token: &Token| format!("access/service_tokens/{}", token.id);
    let good = admin.token("Good", "1h");
    let expired = admin.token("Expired", "1s");
    let disabled = admin.token("Disabled", "1h");
    let _ = admin.call(Method::PUT, &path(&disabled), Some(json!({ "enabled": false })));
    let deleted = admin.token("Deleted", "1h");
    let app = admin.get("access/apps")[0]["id"].as_str().unwrap().to_owned();
    let named = |policy: &serde_json::Value| policy["name"] == "Deleted";
    let policies = admin.get(&format!("access/apps/{app}/policies"));
    let policy = policies.as_array().unwrap().iter().find(|policy| named(policy)).unwrap()["id"].as_str().unwrap();
    let _ = admin.call(Method::DELETE, &format!("access/apps/{app}/policies/{policy}"), None);
    let _ = admin.call(Method::DELETE, &path(&deleted), None);
    let rotated = admin.token("Rotated", "1h");
    let _ = admin.call(Method::POST, &format!("{}/rotate", path(&rotated)), None);
    let unknown = Token { client_id: "0123456789abcdef.access".to_owned(), ..good.clone() };
    let halves = Token { secret: deleted.secret.clone(), ..good.clone() };
    let stranger = {
        let made = admin.call(Method::POST, "access/service_tokens", Some(json!({ "name": "Not in any policy" })));
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        Token { id: text("id"), client_id: text("client_id"), secret: text("client_secret") }
    };
    sleep(Duration::from_millis(1_100));

    // What it is, the token, the refusal's stable word, and what the sentence names.
    let refused: [(&str, &Token, &str, &str); 7] = [
        ("unknown", &unknown, "token_unknown", "auth_client_id"),
        ("wrong secret", &halves, "token_secret_wrong", "auth_client_secret"),
        ("rotated away", &rotated, "token_secret_wrong", "auth_client_secret"),
        ("expired", &expired, "token_expired", &expired.client_id),
        ("disabled", &disabled, "token_disabled", &disabled.client_id),
        ("deleted", &deleted, "token_unknown", "auth_client_id"),
        ("in no policy", &stranger, "enrolment_denied", "no enrolment policy"),
    ];
    let mut device = house.device(refused[0].1);
    for (what, token, code, named) in refused {
        house.paths.deploy(mdm(token));
        let status = device.until(what, LIMIT, |status| {
            let error = status.last_error.as_ref();
            error.is_some_and(|error| error.message.contains(&format!("({code})")) && error.message.contains(named))
        });
        assert!(status.identity.is_none(), "{what}: connected all the same");
        let shown = house.paths.verb(&["status"]);
        assert!(shown.out.contains(code) && shown.out.contains(named), "{what}: {}", shown.out);
        for told in [serde_json::to_string(&status).unwrap(), shown.out, device.said(), house.gateway.said()] {
            assert!(!told.contains(&token.secret), "{what}: the secret is told");
        }
    }

    // The gateway logs every attempt with a wrong secret.
    let attempts = || house.gateway.said().matches("presented with a wrong secret").count();
    let before = attempts();
    house.paths.deploy(mdm(&halves));
    sleep(WATCHED);
    let made = attempts() - before;
    assert!((2..=ATTEMPTS).contains(&made), "{made} attempts in {WATCHED:?}");
    let registrations = admin.get("devices/registrations");
    assert_eq!(registrations, json!([]), "a refused token made a registration");

    house.paths.deploy(mdm(&good));
    let deployed = Instant::now();
    let status = device.until_connected(LIMIT);
    println!("{made} attempts in {WATCHED:?}; connected {:?} after a good token was deployed", deployed.elapsed());
    assert_eq!(status.last_error, None);
    assert!(house.carries());

    // A registration stands by itself: its token's end is not its own.
    let _ = admin.call(Method::PUT, &path(&good), Some(json!({ "enabled": false })));
    sleep(Duration::from_secs(1));
    assert_eq!(device.status().unwrap().state, State::Connected);
    assert!(house.carries());
}
