//! Device profiles: the API, which one a device gets, and how it learns of it.

use crate::gateway::testing::{Directory, TestDevice, TestGateway};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

async fn refused(gateway: &TestGateway, method: Method, path: &str, body: Value) -> String {
    let (status, answer) = gateway.admin(method, path, Some(body)).await;
    assert!(status == StatusCode::BAD_REQUEST || status == StatusCode::CONFLICT, "{status} {answer}");
    answer["errors"][0]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_new_profile_is_a_copy_of_the_default_and_goes_before_it() {
    let directory = Directory::new("profiles");
    let gateway = TestGateway::start(&directory).await;
    let default = gateway.did(Method::GET, "/devices/policy", None).await;
    assert_eq!(
        (&default["default"], &default["name"], &default["exclude"]),
        (&json!(true), &json!("Default"), &json!([]))
    );
    assert_eq!((&default["captive_portal"], &default["switch_locked"]), (&json!(180), &json!(false)));
    let edit = json!({ "captive_portal": 60.0, "support_url": "https://help.example.com", "auto_connect": 120 });
    gateway.did(Method::PATCH, "/devices/policy", Some(edit)).await;

    let new = json!({
        "name": "Before login",
        "match": "identity.email in {\"non_identity@mycompany.cloudflareaccess.com\"}",
        "precedence": 10,
        "switch_locked": true,
    });
    let made = gateway.did(Method::POST, "/devices/policy", Some(new)).await;
    assert_eq!((&made["captive_portal"], &made["auto_connect"]), (&json!(60), &json!(120)));
    assert_eq!((&made["switch_locked"], &made["default"]), (&json!(true), &json!(false)));
    let second = json!({ "name": "Second", "match": "identity.email == \"ada@example.com\"" });
    let second = gateway.did(Method::POST, "/devices/policy", Some(second)).await;
    assert_eq!(second["precedence"], 110, "after the last one");
    let listed = gateway.did(Method::GET, "/devices/policies", None).await;
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["Before login", "Second"]);

    let path = format!("/devices/policy/{}", made["policy_id"].as_str().unwrap());
    let edited = gateway.did(Method::PATCH, &path, Some(json!({ "switch_locked": false }))).await;
    assert_eq!((&edited["switch_locked"], &edited["captive_portal"]), (&json!(false), &json!(60)));
    let left = gateway.did(Method::DELETE, &path, None).await;
    assert_eq!((left.as_array().unwrap().len(), &left[0]["name"]), (1, &json!("Second")));
    assert_eq!(gateway.admin(Method::GET, &path, None).await.0, StatusCode::NOT_FOUND);
    let default_id = format!("/devices/policy/{}", default["policy_id"].as_str().unwrap());
    assert_eq!(gateway.admin(Method::DELETE, &default_id, None).await.0, StatusCode::NOT_FOUND, "it stays");
}

#[tokio::test]
async fn include_and_exclude_are_never_both_set_and_switching_forgets_the_other() {
    let directory = Directory::new("split");
    let gateway = TestGateway::start(&directory).await;
    let list = json!([{ "address": "10.5.0.7/16", "description": "lab" }, { "host": "*.Example.com" }]);
    let put = gateway.did(Method::PUT, "/devices/policy/exclude", Some(list)).await;
    assert_eq!(put[0], json!({ "address": "10.5.0.0/16", "description": "lab" }));
    assert_eq!(put[1], json!({ "host": "*.example.com" }));
    assert_eq!(gateway.did(Method::GET, "/devices/policy/include", None).await, json!([]));
    gateway.did(Method::PUT, "/devices/policy/include", Some(json!([{ "address": "192.0.2.1" }]))).await;
    assert_eq!(gateway.did(Method::GET, "/devices/policy/exclude", None).await, json!([]));
    let policy = gateway.did(Method::GET, "/devices/policy", None).await;
    assert_eq!((&policy["include"][0]["address"], &policy["exclude"]), (&json!("192.0.2.1/32"), &Value::Null));

    let both = json!({ "include": [{ "address": "10.0.0.0/8" }], "exclude": [{ "address": "10.0.0.0/8" }] });
    assert!(refused(&gateway, Method::PATCH, "/devices/policy", both).await.contains("cannot both be set"));
    let neither = json!([{ "description": "nothing" }]);
    assert!(refused(&gateway, Method::PUT, "/devices/policy/include", neither).await.contains("`address` or `host`"));
    let twice = json!([{ "address": "10.0.0.0/8" }, { "address": "10.1.0.0/8" }]);
    assert!(refused(&gateway, Method::PUT, "/devices/policy/include", twice).await.contains("twice"));

    let domains = json!([{ "suffix": "Corp.Example.com.", "dns_server": ["10.20.0.10", "fd00::10"] }]);
    let put = gateway.did(Method::PUT, "/devices/policy/fallback_domains", Some(domains)).await;
    assert_eq!(put, json!([{ "suffix": "corp.example.com", "dns_server": ["10.20.0.10", "fd00::10"] }]));
    let wrong = json!([{ "suffix": "corp.example.com", "dns_server": ["dc1"] }]);
    assert!(refused(&gateway, Method::PUT, "/devices/policy/fallback_domains", wrong).await.contains("dns_server"));
}

#[tokio::test]
async fn a_wrong_setting_is_named_and_changes_nothing() {
    let directory = Directory::new("wrong-setting");
    let gateway = TestGateway::start(&directory).await;
    let before = gateway.did(Method::GET, "/devices/policy", None).await;
    let suffixes: Vec<Value> = (0..26).map(|at| json!({ "suffix": format!("s{at}.example.com") })).collect();
    for (field, value) in [
        ("auto_connect", json!(86_401)),
        ("auto_connect", json!(1.5)),
        ("captive_portal", json!(-1)),
        ("lan_allow_minutes", json!(121)),
        ("lan_allow_subnet_size", json!(16)),
        ("tunnel_protocol", json!("ipsec")),
        ("service_mode_v2", json!({ "mode": "proxy" })),
        ("service_mode_v2", json!({ "mode": "warp", "port": 40_000 })),
        ("service_mode_v2", json!({ "mode": "vpn" })),
        ("support_url", json!("http://help.example.com")),
        ("dns_search_suffixes", json!(suffixes)),
        ("dns_search_suffixes", json!([{ "suffix": "two words" }])),
        ("virtual_networks", json!({ "allowed": [], "default": "6c1e8f5e-2a1f-4a5e-9d7e-3f6f5b0c7d11" })),
        ("global_acceleration", json!({ "enabled": true })),
        ("switch_locked", json!("yes")),
        ("swich_locked", json!(true)),
        ("precedence", json!(5)),
    ] {
        let message = refused(&gateway, Method::PATCH, "/devices/policy", json!({ field: value })).await;
        assert!(message.contains(&format!("`{field}")), "{field}: {message}");
    }
    assert_eq!(gateway.did(Method::GET, "/devices/policy", None).await, before);

    let new = |name: &str, matching: &str, precedence: i64| json!({ "name": name, "match": matching, "precedence": precedence });
    let ada = "identity.email == \"ada@example.com\"";
    gateway.did(Method::POST, "/devices/policy", Some(new("one", ada, 5))).await;
    let create = async |body| refused(&gateway, Method::POST, "/devices/policy", body).await;
    assert!(create(new("two", ada, 5)).await.contains("`precedence` 5"));
    assert!(create(new("ONE", ada, 6)).await.contains("taken"));
    assert!(create(new("three", "identity.email == ", 7)).await.contains("`match`, column"));
    assert!(create(json!({ "name": "four" })).await.contains("`match`"));
}

#[tokio::test]
async fn settings_of_the_organisation_are_replaced_and_patched() {
    let directory = Directory::new("organisation-settings");
    let gateway = TestGateway::start(&directory).await;
    let path = "/devices/settings";
    let patched = gateway.did(Method::PATCH, path, Some(json!({ "disable_for_time": 60 }))).await;
    assert_eq!((&patched["disable_for_time"], &patched["gateway_proxy_enabled"]), (&json!(60), &json!(true)));
    let signal = json!({
        "external_emergency_signal_enabled": true,
        "external_emergency_signal_url": "https://192.0.2.9/signal",
        "external_emergency_signal_interval": "90s",
    });
    let replaced = gateway.did(Method::PUT, path, Some(signal)).await;
    assert_eq!(
        (&replaced["disable_for_time"], &replaced["external_emergency_signal_interval"]),
        (&json!(0), &json!("90s"))
    );
    for (field, value) in [
        ("external_emergency_signal_interval", json!("10s")),
        ("external_emergency_signal_url", json!("https://signal.example.com")),
        ("external_emergency_signal_fingerprint", json!("abc")),
        ("use_zt_virtual_ip", json!(false)),
        ("disable_for_tim", json!(1)),
    ] {
        let message = refused(&gateway, Method::PATCH, path, json!({ field: value })).await;
        assert!(message.contains(&format!("`{field}")), "{field}: {message}");
    }
    assert_eq!(gateway.did(Method::GET, path, None).await, replaced);
}

#[tokio::test]
async fn a_device_gets_its_profile_with_a_swap_and_is_told_of_changes_by_name() {
    let directory = Directory::new("pushed");
    let gateway = TestGateway::start(&directory).await;
    let token = gateway.enrolling_token().await;
    let device = TestDevice::new();
    let enrolled = device.enrol(&gateway, &token).await;
    let (_, swapped) = device.order(&gateway, &enrolled, 1).await;
    assert_eq!(swapped["profile"]["default"], true);
    let (policy, profile) = (swapped["policy_digest"].as_str().unwrap(), swapped["profile_digest"].as_str().unwrap());
    let version = swapped["policy_version"].as_u64().unwrap();

    let poll = async |version: u64, policy: &str, profile: &str| {
        let url = format!("{}/vestibule/v1/changes", gateway.url);
        let query = [("since", version.to_string()), ("policy", policy.to_owned()), ("profile", profile.to_owned())];
        let answer = gateway.http.get(url).query(&query).bearer_auth(&enrolled.token).send().await.unwrap();
        answer.json::<Value>().await.unwrap()
    };
    let new = json!({
        "name": "Before login",
        "match": "identity.email in {\"non_identity@mycompany.cloudflareaccess.com\"}",
        "fallback_domains": [{ "suffix": "corp.example.com", "dns_server": ["10.20.0.10"] }],
    });
    let (answer, ()) = tokio::join!(poll(version, policy, profile), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        gateway.did(Method::POST, "/devices/policy", Some(new)).await;
    });
    assert_eq!((&answer["policy"], &answer["policy_digest"]), (&Value::Null, &json!(policy)), "only what changed");
    assert_eq!(answer["profile"]["name"], "Before login");
    assert_eq!(answer["profile"]["settings"]["fallback_domains"][0]["suffix"], "corp.example.com");

    // Away while it was deleted again: the next poll is answered at once, whatever the version.
    let held = answer["profile_digest"].as_str().unwrap();
    let list = gateway.did(Method::GET, "/devices/policies", None).await;
    let path = format!("/devices/policy/{}", list[0]["policy_id"].as_str().unwrap());
    gateway.did(Method::DELETE, &path, None).await;
    let answer = tokio::time::timeout(Duration::from_secs(2), poll(version, policy, held)).await.unwrap();
    assert_eq!((&answer["profile"]["default"], &answer["profile_digest"]), (&json!(true), &json!(profile)));
}
