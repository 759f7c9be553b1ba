//! The long poll.

use crate::gateway::testing::{Directory, TestDevice, TestGateway};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const AT_ONCE: Duration = Duration::from_millis(900);

/// Polls, does `act` once the poll waits, and gives the answer and how long it took after the act.
async fn woken(gateway: &TestGateway, bearer: &str, since: u64, act: impl Future<Output = ()>) -> (Value, Duration) {
    let poll = async {
        let (_, answer) = gateway.changes(bearer, since).await;
        (answer, Instant::now())
    };
    let acting = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let began = Instant::now();
        act.await;
        began
    };
    let ((answer, woken), began) = tokio::join!(poll, acting);
    (answer, woken.checked_duration_since(began).expect("the poll waited"))
}

#[tokio::test]
async fn news_arrives_in_under_a_second() {
    let directory = Directory::new("poll");
    let gateway = TestGateway::start(&directory).await;
    let token = gateway.enrolling_token().await;
    let device = TestDevice::new();
    let enrolled = device.enrol(&gateway, &token).await;
    let (_, first) = gateway.changes(&enrolled.token, 0).await;
    let version = first["version"].as_u64().unwrap();
    assert!(first["policy"]["rules"].as_array().unwrap().is_empty());

    let rule = json!({
        "name": "directory",
        "action": "allow",
        "traffic": "net.dst.ip in {10.20.0.10}",
        "identity": "identity.email in {\"non_identity@mycompany.cloudflareaccess.com\"}",
    });
    let (answer, took) = woken(&gateway, &enrolled.token, version, async {
        gateway.did(Method::POST, "/gateway/rules", Some(rule)).await;
    })
    .await;
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(answer["registration"], "active");
    assert_eq!(answer["policy"]["rules"][0]["clauses"][0]["destinations"]["nets"], json!(["10.20.0.10/32"]));
    let version = answer["version"].as_u64().unwrap();

    let path = format!("/devices/registrations/revoke?id={}", enrolled.registration.id);
    let (answer, took) = woken(&gateway, &enrolled.token, version, async {
        gateway.did(Method::POST, &path, None).await;
    })
    .await;
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(answer["registration"], "revoked");
    let path = format!("/devices/registrations/unrevoke?id={}", enrolled.registration.id);
    gateway.did(Method::POST, &path, None).await;

    let path = format!("/devices/registrations/{}", enrolled.registration.id);
    let (answer, took) = woken(&gateway, &enrolled.token, version, async {
        gateway.did(Method::DELETE, &path, None).await;
    })
    .await;
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(answer["registration"], "deleted");
}

#[tokio::test]
async fn a_version_that_we_never_gave_is_answered_with_the_rules() {
    let directory = Directory::new("future");
    let gateway = TestGateway::start(&directory).await;
    let token = gateway.enrolling_token().await;
    let enrolled = TestDevice::new().enrol(&gateway, &token).await;
    let url = format!("{}/vestibule/v1/changes?since=soon", gateway.url);
    let malformed = gateway.http.get(url).bearer_auth(&enrolled.token).send().await.unwrap();
    assert_eq!(malformed.json::<Value>().await.unwrap()["code"], "malformed");
    let (_, answer) = gateway.changes(&enrolled.token, 1_000_000).await;
    assert!(answer["policy"].is_object(), "a restored backup must not leave devices with newer rules: {answer}");
}
