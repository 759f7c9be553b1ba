//! Enrolment: proof of the device key, identities, addresses.

use crate::gateway::testing::{Credentials, Directory, TestDevice, TestGateway, post_enrolment};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

#[tokio::test]
async fn a_device_appears_under_the_service_tokens_identity_and_keeps_its_address() {
    let directory = Directory::new("enrol");
    let gateway = TestGateway::start(&directory).await;
    let token = gateway.enrolling_token().await;
    let (one, two) = (TestDevice::new(), TestDevice::new());
    let first = one.enrol(&gateway, &token).await;
    assert_eq!(first.registration.email, "non_identity@mycompany.cloudflareaccess.com");
    assert!(first.registration.service_token);
    assert_eq!(first.addresses, ["100.96.0.2/32".parse().unwrap()], "the gateway has the pool's first host");
    assert_eq!(two.enrol(&gateway, &token).await.addresses, ["100.96.0.3/32".parse().unwrap()]);

    let again = one.enrol(&gateway, &token).await;
    assert_eq!(again.addresses, first.addresses);
    assert_ne!(again.registration.id, first.registration.id);
    assert_eq!(again.registration.device_id, first.registration.device_id);
    let listed = gateway.did(Method::GET, "/devices/registrations", None).await;
    assert_eq!(listed.as_array().unwrap().len(), 2, "the replaced one is gone: {listed}");
    let (status, changes) = gateway.changes(&first.token, 0).await;
    assert_eq!((status, &changes["registration"]), (StatusCode::OK, &json!("deleted")));

    let devices = gateway.did(Method::GET, "/devices/physical-devices", None).await;
    assert_eq!(devices.as_array().unwrap().len(), 2);
    assert_eq!(devices[0]["name"], "laptop");
}

#[tokio::test]
async fn only_a_fresh_signature_of_the_device_key_enrols() {
    let directory = Directory::new("proof");
    let gateway = TestGateway::start(&directory).await;
    let token = gateway.enrolling_token().await;
    let refused = async |body: Value, expected: &str| {
        let (status, answer) = post_enrolment(&gateway, &token, body).await;
        assert_eq!((status, answer["code"].as_str()), (StatusCode::UNAUTHORIZED, Some(expected)), "{answer}");
    };
    let (mine, other) = (TestDevice::new(), TestDevice::new());

    let mut stolen = mine.enrol_request(&gateway).await;
    stolen.signature = other.sign(b"anything");
    refused(json!(stolen), "signature_invalid").await;
    let mut swapped = mine.enrol_request(&gateway).await;
    swapped.tunnel_public_key = mine.enrol_request(&gateway).await.tunnel_public_key;
    refused(json!(swapped), "signature_invalid").await;
    let used = mine.enrol_request(&gateway).await;
    assert_eq!(post_enrolment(&gateway, &token, json!(used)).await.0, StatusCode::OK);
    refused(json!(used), "nonce_used").await;
}

#[tokio::test]
async fn bad_bodies_are_400_and_name_the_field() {
    let directory = Directory::new("bodies");
    let gateway = TestGateway::start(&directory).await;
    let token = gateway.enrolling_token().await;
    let good = json!(TestDevice::new().enrol_request(&gateway).await);
    for (field, value) in [
        ("nonce", json!("")),
        ("nonce", json!("not base64!")),
        ("device_public_key", json!("AAAA")),
        ("tunnel_public_key", json!(7)),
        ("signature", json!(null)),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let (status, answer) = post_enrolment(&gateway, &token, body).await;
        assert_eq!((status, answer["code"].as_str()), (StatusCode::BAD_REQUEST, Some("malformed")), "{answer}");
    }
    let mut elsewhere = good.clone();
    elsewhere["organization"] = "othercompany".into();
    let (status, answer) = post_enrolment(&gateway, &token, elsewhere).await;
    assert_eq!((status, answer["code"].as_str()), (StatusCode::NOT_FOUND, Some("organization_unknown")));

    let url = format!("{}/vestibule/v1/registrations", gateway.url);
    let broken = gateway.http.post(&url).body("{\"organization\": ").send().await.unwrap();
    assert_eq!(broken.status(), StatusCode::BAD_REQUEST);
    assert_eq!(broken.json::<Value>().await.unwrap()["code"], "malformed");
    let huge = gateway.http.post(&url).body("x".repeat(1 << 20)).send().await;
    assert!(huge.is_err() || huge.unwrap().status() == StatusCode::PAYLOAD_TOO_LARGE);

    let mut newer = json!(TestDevice::new().enrol_request(&gateway).await);
    newer["from_a_newer_client"] = true.into();
    assert_eq!(post_enrolment(&gateway, &token, newer).await.0, StatusCode::OK, "unknown fields are passed over");
}

#[tokio::test]
async fn a_pool_that_is_used_up_is_said_to_be() {
    let directory = Directory::new("pool");
    let gateway = TestGateway::start_on(&directory, Default::default(), |options| {
        options.addresses = "10.9.0.0/29".parse().unwrap();
    })
    .await;
    let token = gateway.enrolling_token().await;
    for host in 2..=6 {
        let enrolled = TestDevice::new().enrol(&gateway, &token).await;
        assert_eq!(enrolled.addresses[0].to_string(), format!("10.9.0.{host}/32"));
    }
    let (status, answer) = TestDevice::new().try_enrol(&gateway, &token).await;
    assert_eq!((status, answer["code"].as_str()), (StatusCode::INSUFFICIENT_STORAGE, Some("addresses_exhausted")));
}

#[tokio::test]
async fn another_pin_is_not_trusted() {
    let directory = Directory::new("pin");
    let gateway = TestGateway::start(&directory).await;
    let wrong = "00".repeat(32).parse().unwrap();
    let client = crate::api::pin::http_client(wrong, std::time::Duration::from_secs(5)).unwrap();
    assert!(client.post(format!("{}/vestibule/v1/nonce", gateway.url)).body("{}").send().await.is_err());
}

#[tokio::test]
async fn an_assertion_out_of_thin_air_is_refused() {
    let directory = Directory::new("assertion");
    let gateway = TestGateway::start(&directory).await;
    let made_up = Credentials::Assertion("0".repeat(64));
    let (status, answer) = TestDevice::new().try_enrol(&gateway, &made_up).await;
    assert_eq!((status, answer["code"].as_str()), (StatusCode::UNAUTHORIZED, Some("assertion_invalid")));
}
