//! The long poll.

use crate::gateway::testing::{Directory, TestDevice, TestGateway};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// By far less than a poll waits when nothing happens.
const AT_ONCE: Duration = Duration::from_secs(12);

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
async fn news_ends_a_poll_that_waits() {
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

/// What was answered is in force, however many calls were published together.
#[tokio::test]
async fn calls_that_come_together_are_all_in_force_when_they_are_answered() {
    let directory = Directory::new("together");
    let gateway = TestGateway::start(&directory).await;
    let token = gateway.enrolling_token().await;
    let enrolled = TestDevice::new().enrol(&gateway, &token).await;
    let (gateway, bearer) = (std::rc::Rc::new(gateway), enrolled.token);
    let answered = std::rc::Rc::new(std::cell::Cell::new(0));
    let together = tokio::task::LocalSet::new();
    for number in 0..24u32 {
        let (gateway, bearer, answered) = (std::rc::Rc::clone(&gateway), bearer.clone(), std::rc::Rc::clone(&answered));
        together.spawn_local(async move {
            let name = format!("rule {number}");
            let rule = json!({ "name": name, "action": "block", "traffic": format!("net.dst.port == {number}") });
            gateway.did(Method::POST, "/gateway/rules", Some(rule)).await;
            let (_, now) = gateway.changes(&bearer, 0).await;
            let rules = now["policy"]["rules"].as_array().unwrap();
            assert!(rules.iter().any(|rule| rule["name"] == name.as_str()), "{name} is not in force: {now}");
            answered.set(answered.get() + 1);
        });
    }
    together.await;
    assert_eq!(answered.get(), 24);
}

/// `cargo test -p vestibule-control --lib one_after_the_other -- --ignored --nocapture`
#[tokio::test]
#[ignore = "measures"]
async fn a_thousand_rules_one_after_the_other() {
    let directory = Directory::new("thousand");
    let gateway = TestGateway::start(&directory).await;
    let token = gateway.enrolling_token().await;
    let device = TestDevice::new();
    let enrolled = device.enrol(&gateway, &token).await;
    device.order(&gateway, &enrolled, 1).await;
    let begun = Instant::now();
    for number in 0..1000u32 {
        let traffic = format!("net.dst.ip == 10.0.{}.{} and net.dst.port == 443", number / 250, number % 250);
        let rule = json!({ "name": format!("rule {number}"), "action": "block", "traffic": traffic });
        gateway.did(Method::POST, "/gateway/rules", Some(rule)).await;
    }
    println!("a thousand rules in {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(60));
}
