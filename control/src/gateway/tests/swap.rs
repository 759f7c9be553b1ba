//! Orders to swap.

use crate::api::device::SwapResponse;
use crate::gateway::testing::{Directory, TUNNEL, TestDevice, TestGateway};
use reqwest::{Method, StatusCode};
use serde_json::json;

#[tokio::test]
async fn an_order_is_answered_with_all_a_device_needs() {
    let directory = Directory::new("order");
    let gateway = TestGateway::start(&directory).await;
    let token = gateway.enrolling_token().await;
    let device = TestDevice::new();
    let enrolled = device.enrol(&gateway, &token).await;
    let (status, answer) = device.order(&gateway, &enrolled, 1).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let swap: SwapResponse = serde_json::from_value(answer).unwrap();
    assert_eq!(swap.endpoint, TUNNEL.parse().unwrap());
    assert_eq!(swap.addresses, enrolled.addresses);
    assert_eq!(swap.routes, ["100.96.0.0/12".parse().unwrap()]);
    assert_eq!(swap.mtu, 1420);
    assert!(!swap.policy.as_ref().unwrap().default_allow, "a service token may do nothing without a rule");
    assert_eq!(swap.gateway_public_key, gateway.gateway.facts().tunnel_public_key);
}

#[tokio::test]
async fn a_stale_order_is_409_with_the_highest_seen_also_after_a_restart() {
    let directory = Directory::new("stale");
    let mut gateway = TestGateway::start(&directory).await;
    let token = gateway.enrolling_token().await;
    let device = TestDevice::new();
    let enrolled = device.enrol(&gateway, &token).await;
    assert_eq!(device.order(&gateway, &enrolled, 5).await.0, StatusCode::OK);
    for _ in 0..2 {
        for stale in [4, 5] {
            let (status, answer) = device.order(&gateway, &enrolled, stale).await;
            assert_eq!((status, answer["code"].as_str()), (StatusCode::CONFLICT, Some("swap_seq_stale")));
            assert_eq!(answer["swap_seq"], 5);
        }
        gateway.stop().await;
        gateway = TestGateway::start(&directory).await;
    }
    assert_eq!(device.order(&gateway, &enrolled, 6).await.0, StatusCode::OK);
}

#[tokio::test]
async fn an_order_needs_the_device_key_and_its_own_registration() {
    let directory = Directory::new("forged");
    let gateway = TestGateway::start(&directory).await;
    let token = gateway.enrolling_token().await;
    let (device, other) = (TestDevice::new(), TestDevice::new());
    let (enrolled, others) = (device.enrol(&gateway, &token).await, other.enrol(&gateway, &token).await);
    let id = enrolled.registration.id;
    let post = async |bearer: Option<&str>, body: serde_json::Value| {
        let (status, answer) = gateway.device("/swap", bearer, body).await;
        (status.as_u16(), answer["code"].as_str().unwrap_or_default().to_owned())
    };
    let is = |got: (u16, String), status, code: &str| assert_eq!(got, (status, code.to_owned()));

    is(post(None, json!(device.swap_request(id, 1, [9; 32]))).await, 401, "registration_unknown");
    is(post(Some("guess"), json!(device.swap_request(id, 1, [9; 32]))).await, 401, "registration_unknown");
    is(post(Some(&enrolled.token), json!(other.swap_request(id, 1, [9; 32]))).await, 401, "signature_invalid");
    is(post(Some(&others.token), json!(device.swap_request(id, 1, [9; 32]))).await, 400, "registration_mismatch");
    let mut replayed = device.swap_request(id, 1, [9; 32]);
    replayed.swap_seq = 2;
    is(post(Some(&enrolled.token), json!(replayed)).await, 401, "signature_invalid");
    is(post(Some(&enrolled.token), json!(device.swap_request(id, 0, [9; 32]))).await, 400, "malformed");
    is(post(Some(&enrolled.token), json!(device.swap_request(id, u64::MAX, [9; 32]))).await, 400, "malformed");
    is(post(Some(&enrolled.token), json!(device.swap_request(id, 1, [9; 32]))).await, 200, "");
    let others_id = others.registration.id;
    is(post(Some(&others.token), json!(other.swap_request(others_id, 1, [9; 32]))).await, 409, "tunnel_key_in_use");
}

#[tokio::test]
async fn a_registration_that_ended_orders_nothing() {
    let directory = Directory::new("ended");
    let gateway = TestGateway::start(&directory).await;
    let token = gateway.enrolling_token().await;
    let device = TestDevice::new();
    let enrolled = device.enrol(&gateway, &token).await;
    let revoke = json!({ "ids": [enrolled.registration.id] });
    gateway.did(Method::POST, "/devices/registrations/revoke", Some(revoke)).await;
    let (status, answer) = device.order(&gateway, &enrolled, 1).await;
    assert_eq!((status, answer["code"].as_str()), (StatusCode::FORBIDDEN, Some("registration_revoked")));
    let path = format!("/devices/registrations/unrevoke?id={}", enrolled.registration.id);
    gateway.did(Method::POST, &path, None).await;
    assert_eq!(device.order(&gateway, &enrolled, 1).await.0, StatusCode::OK);
    let url = format!("{}/vestibule/v1/registrations/{}", gateway.url, enrolled.registration.id);
    let deleted = gateway.http.delete(&url).bearer_auth(&enrolled.token).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::OK);
    let (status, answer) = device.order(&gateway, &enrolled, 2).await;
    assert_eq!((status, answer["code"].as_str()), (StatusCode::GONE, Some("registration_deleted")));
    assert!(gateway.did(Method::GET, "/devices/registrations", None).await.as_array().unwrap().is_empty());
    let all = gateway.did(Method::GET, "/devices/registrations?status=all", None).await;
    assert!(all[0]["deleted_at"].is_string());
}

#[tokio::test]
async fn rules_that_the_device_holds_are_not_sent_again() {
    let directory = Directory::new("held");
    let gateway = TestGateway::start(&directory).await;
    let token = gateway.enrolling_token().await;
    let device = TestDevice::new();
    let enrolled = device.enrol(&gateway, &token).await;
    let order = async |seq: u64, held: Option<String>| {
        let mut request = device.swap_request(enrolled.registration.id, seq, [seq as u8; 32]);
        request.policy_held = held;
        let (status, answer) = gateway.device("/swap", Some(&enrolled.token), json!(request)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        serde_json::from_value::<SwapResponse>(answer).unwrap()
    };
    let first = order(1, None).await;
    assert!(first.policy.is_some());
    let second = order(2, Some(first.policy_digest.clone())).await;
    assert_eq!((second.policy, &second.policy_digest), (None, &first.policy_digest));
    let third = order(3, Some("others".to_owned())).await;
    assert_eq!(third.policy, first.policy, "a digest of other rules holds none of these");
}
