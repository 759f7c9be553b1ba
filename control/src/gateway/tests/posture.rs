//! Posture: rules, reports, and what follows at once.

use crate::api::device::EnrolResponse;
use crate::gateway::testing::{Directory, TestDevice, TestGateway};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

fn rule(name: &str, version: &str) -> Value {
    json!({
        "name": name,
        "type": "os_version",
        "match": [{ "platform": "linux" }],
        "input": { "operating_system": "linux", "operator": ">=", "version": version },
    })
}

fn report(version: &str) -> Value {
    json!({ "os": "linux", "os_version": version, "os_distro_name": "debian", "os_distro_revision": "12" })
}

async fn polled(gateway: &TestGateway, enrolled: &EnrolResponse, held: &[(&str, String)]) -> Value {
    let url = format!("{}/vestibule/v1/changes", gateway.url);
    let answer = gateway.http.get(url).query(held).bearer_auth(&enrolled.token).send();
    tokio::time::timeout(Duration::from_secs(10), answer).await.expect("news").unwrap().json().await.unwrap()
}

/// What a device holds after an answer.
fn held(answer: &Value) -> Vec<(&'static str, String)> {
    let text = |field: &str| answer[field].as_str().unwrap().to_owned();
    vec![
        ("since", answer["version"].to_string()),
        ("policy", text("policy_digest")),
        ("profile", text("profile_digest")),
        ("posture", answer["posture"]["every"].as_u64().unwrap_or(0).to_string()),
    ]
}

#[tokio::test]
async fn a_rule_is_checked_word_by_word() {
    let directory = Directory::new("posture-rules");
    let gateway = TestGateway::start(&directory).await;
    let made = gateway.did(Method::POST, "/devices/posture", Some(rule("Linux 6", "6.1.0"))).await;
    assert_eq!((&made["schedule"], &made["expiration"], &made["enabled"]), (&json!("5m"), &json!(""), &json!(true)));
    let path = format!("/devices/posture/{}", made["id"].as_str().unwrap());
    let mut other = rule("Linux 5", "5.10");
    other["schedule"] = "1m".into();
    other["expiration"] = "3m".into();
    let put = gateway.did(Method::PUT, &path, Some(other.clone())).await;
    assert_eq!((&put["id"], &put["input"]["version"], &put["expiration"]), (&made["id"], &json!("5.10"), &json!("3m")));
    for (pointer, value, said) in [
        ("/type", json!("firewall"), "`type` `firewall` is not evaluated"),
        ("/type", json!("magic"), "`type` `magic`"),
        ("/schedule", json!("30s"), "`schedule`"),
        ("/expiration", json!("30s"), "`expiration`"),
        ("/input/version", json!("6.x"), "`input.version`"),
        ("/input/operator", json!("~"), "`input`"),
        ("/input/operating_system", json!("beos"), "`input.operating_system`"),
        ("/input/operating_system", json!("windows"), "`match`"),
        ("/name", json!(""), "`name`"),
    ] {
        let mut wrong = other.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        let (status, answer) = gateway.admin(Method::PUT, &path, Some(wrong)).await;
        let message = answer["errors"][0]["message"].as_str().unwrap();
        assert!(status == StatusCode::BAD_REQUEST && message.contains(said), "{pointer}: {message}");
    }
    assert_eq!(gateway.did(Method::GET, "/devices/posture", None).await, json!([put]));
    let naming = format!("any(device_posture.checks.failed[*] in {{\"{}\"}})", made["id"].as_str().unwrap());
    let naming = json!({ "name": "Old kernels", "action": "block", "device_posture": naming });
    let rule = gateway.did(Method::POST, "/gateway/rules", Some(naming)).await;
    let (status, answer) = gateway.admin(Method::DELETE, &path, None).await;
    let message = answer["errors"][0]["message"].as_str().unwrap();
    assert!(status == StatusCode::CONFLICT && message.contains("`Old kernels`"), "{message}");
    gateway.did(Method::DELETE, &format!("/gateway/rules/{}", rule["id"].as_str().unwrap()), None).await;
    assert_eq!(gateway.did(Method::DELETE, &path, None).await, json!({ "id": made["id"] }));
    assert_eq!(gateway.admin(Method::GET, &path, None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_report_is_judged_at_once_and_a_result_expires_by_itself() {
    let directory = Directory::new("posture");
    let gateway = TestGateway::start(&directory).await;
    let token = gateway.enrolling_token().await;
    let enrolled = TestDevice::new().enrol(&gateway, &token).await;
    // The system's own version decides about the profile: what can be seen from outside of a changed subject.
    let profile = json!({ "name": "New kernels", "match": "os.version == \"6.12.0\"" });
    gateway.did(Method::POST, "/devices/policy", Some(profile)).await;
    let first = polled(&gateway, &enrolled, &[]).await;
    assert_eq!(first["profile"]["default"], true);
    assert_eq!(first["posture"], json!({}), "nothing is asked for without a rule");

    let making = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        gateway.did(Method::POST, "/devices/posture", Some(rule("Linux 6", "6.1.0"))).await
    };
    let has = held(&first);
    let (asked, made) = tokio::join!(polled(&gateway, &enrolled, &has), making);
    assert_eq!(asked["posture"]["every"], 300);
    let reporting = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        gateway.device("/posture", Some(&enrolled.token), report("6.12.0")).await
    };
    let has = held(&asked);
    let (told, (status, schedule)) = tokio::join!(polled(&gateway, &enrolled, &has), reporting);
    assert_eq!((status, &schedule["every"]), (StatusCode::OK, &json!(300)));
    assert_eq!(told["profile"]["name"], "New kernels");

    let store = &gateway.gateway.app().store;
    let subject =
        async || store.subject(&enrolled.registration.id, crate::gateway::clock::now()).await.unwrap().unwrap();
    let id = made["id"].as_str().unwrap();
    assert!(subject().await.posture_passed.contains(id));
    gateway.device("/posture", Some(&enrolled.token), report("5.10.1")).await;
    assert!(subject().await.posture_failed.contains(id));

    // Another rule judges the last report; its result is valid from the report on.
    let mut looser = rule("Linux 6", "5.0.0");
    (looser["schedule"], looser["expiration"]) = ("1m".into(), "1m".into());
    gateway.did(Method::PUT, &format!("/devices/posture/{id}"), Some(looser)).await;
    assert!(subject().await.posture_passed.contains(id));
    store.age_posture(57_000).await.unwrap();
    gateway.gateway.app().posture_timer.notify_one();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(store.next_expiry().await.unwrap().is_some(), "not yet");
    for _ in 0..80 {
        if store.next_expiry().await.unwrap().is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(store.next_expiry().await.unwrap(), None, "the timer took it back");
    let after = subject().await;
    assert!(after.posture_passed.is_empty() && after.posture_failed.is_empty());

    let (status, error) = gateway.device("/posture", Some("guess"), report("6.1.0")).await;
    assert_eq!((status, &error["code"]), (StatusCode::UNAUTHORIZED, &json!("registration_unknown")));
    let (status, error) = gateway.device("/posture", Some(&enrolled.token), report(&"9".repeat(300))).await;
    assert_eq!((status, &error["code"]), (StatusCode::BAD_REQUEST, &json!("malformed")));
}

#[tokio::test]
async fn before_login_and_on_windows_is_a_profile_of_its_own() {
    let directory = Directory::new("walkthrough-3");
    let gateway = TestGateway::start(&directory).await;
    let token = gateway.enrolling_token().await;
    let enrolled = TestDevice::new().enrol(&gateway, &token).await;
    let profile = json!({
        "name": "Before login on Windows",
        "match": "identity.email in {\"non_identity@mycompany.cloudflareaccess.com\"} and os.name == \"windows\"",
        "switch_locked": true,
    });
    gateway.did(Method::POST, "/devices/policy", Some(profile)).await;
    gateway.did(Method::POST, "/devices/posture", Some(rule("any", "1.0.0"))).await;
    let first = polled(&gateway, &enrolled, &[]).await;
    assert_eq!(first["profile"]["default"], true, "its system is another one");
    let windows = json!({ "os": "windows", "os_version": "10.0.19045" });
    gateway.device("/posture", Some(&enrolled.token), windows).await;
    let then = polled(&gateway, &enrolled, &held(&first)).await;
    assert_eq!(then["profile"]["settings"]["switch_locked"], true);
}
