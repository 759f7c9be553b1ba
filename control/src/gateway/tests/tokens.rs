//! A service token's life.

use crate::gateway::secret::plain;
use crate::gateway::store::Store;
use crate::gateway::testing::{Credentials, Directory, TestDevice, TestGateway};
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::time::Duration;

async fn code(gateway: &TestGateway, credentials: &Credentials) -> (StatusCode, String) {
    let (status, answer) = TestDevice::new().try_enrol(gateway, credentials).await;
    (status, answer["code"].as_str().unwrap_or_default().to_owned())
}

const OK: (StatusCode, &str) = (StatusCode::OK, "");

fn is(got: (StatusCode, String), expected: (StatusCode, &str)) {
    assert_eq!((got.0, got.1.as_str()), expected);
}

#[tokio::test]
async fn the_guides_first_step_gives_what_the_guide_says() {
    let directory = Directory::new("guide");
    let gateway = TestGateway::start(&directory).await;
    let body = json!({ "name": "CI/CD token", "duration": "8760h" });
    let made = gateway.did(Method::POST, "/access/service_tokens", Some(body)).await;
    let client_id = made["client_id"].as_str().unwrap();
    let (hex, suffix) = client_id.split_at(32);
    assert!(hex.bytes().all(|b| b.is_ascii_hexdigit()) && suffix == ".access", "{client_id}");
    let secret = made["client_secret"].as_str().unwrap();
    assert!(secret.len() == 54 && secret.starts_with("cfast_"), "{secret}");
    assert_eq!(
        (&made["client_secret_version"], &made["name"], &made["duration"]),
        (&json!(1), &json!("CI/CD token"), &json!("8760h"))
    );
    for field in ["id", "created_at", "updated_at", "expires_at"] {
        assert!(made[field].is_string(), "{field} is missing: {made}");
    }
    let path = format!("/access/service_tokens/{}", made["id"].as_str().unwrap());
    let shown = gateway.did(Method::GET, &path, None).await;
    assert!(shown.get("client_secret").is_none(), "the secret is shown once");
    let database = std::fs::read(directory.path().join("vestibule.db")).unwrap();
    let log = std::fs::read(directory.path().join("vestibule.db-wal")).unwrap();
    for stored in [database, log] {
        assert!(!stored.windows(secret.len()).any(|window| window == secret.as_bytes()), "the secret is on disk");
    }
}

#[tokio::test]
async fn a_token_that_does_not_authenticate_is_401_with_its_reason() {
    let directory = Directory::new("401");
    let gateway = TestGateway::start(&directory).await;
    let (id, token) = gateway.token("8760h").await;
    let Credentials::Token { id: client_id, secret } = token.clone() else { unreachable!() };
    let with = |id: &str, secret: &str| Credentials::Token { id: id.to_owned(), secret: secret.to_owned() };

    is(code(&gateway, &Credentials::None).await, (StatusCode::UNAUTHORIZED, "credentials_missing"));
    is(code(&gateway, &with("ffff.access", &secret)).await, (StatusCode::UNAUTHORIZED, "token_unknown"));
    is(code(&gateway, &with(&client_id, "00")).await, (StatusCode::UNAUTHORIZED, "token_secret_wrong"));
    is(code(&gateway, &token).await, (StatusCode::FORBIDDEN, "enrolment_denied"));
    gateway.policy("allow", json!([{ "everyone": {} }])).await;
    is(code(&gateway, &token).await, (StatusCode::FORBIDDEN, "enrolment_denied"));
    gateway.policy("non_identity", json!([{ "service_token": { "token_id": id } }])).await;
    is(code(&gateway, &token).await, OK);

    let path = format!("/access/service_tokens/{id}");
    gateway.did(Method::PUT, &path, Some(json!({ "enabled": false }))).await;
    is(code(&gateway, &token).await, (StatusCode::UNAUTHORIZED, "token_disabled"));
    is(code(&gateway, &with(&client_id, "00")).await, (StatusCode::UNAUTHORIZED, "token_secret_wrong"));
    gateway.did(Method::PUT, &path, Some(json!({ "enabled": true, "duration": "1s" }))).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    is(code(&gateway, &token).await, (StatusCode::UNAUTHORIZED, "token_expired"));
    gateway.did(Method::POST, &format!("{path}/refresh"), None).await;
    is(code(&gateway, &token).await, OK);
    assert!(gateway.did(Method::GET, &path, None).await["last_seen_at"].is_string());
}

#[tokio::test]
async fn rotation_ends_the_old_secret_at_once_or_after_its_grace() {
    let directory = Directory::new("rotate");
    let gateway = TestGateway::start(&directory).await;
    let (id, old) = gateway.token("8760h").await;
    gateway.policy("non_identity", json!([{ "any_valid_service_token": {} }])).await;
    let path = format!("/access/service_tokens/{id}");
    let rotate = format!("{path}/rotate");

    let body = json!({ "previous_client_secret_expires_at": "2999-01-01T00:00:00Z" });
    let rotated = gateway.did(Method::POST, &rotate, Some(body)).await;
    assert_eq!(rotated["client_secret_version"], 2);
    let Credentials::Token { id: client_id, .. } = &old else { unreachable!() };
    assert_eq!(rotated["client_id"].as_str(), Some(client_id.as_str()));
    let secret = rotated["client_secret"].as_str().unwrap().to_owned();
    let new = Credentials::Token { id: client_id.clone(), secret };
    is(code(&gateway, &old).await, OK);
    is(code(&gateway, &new).await, OK);

    let body = json!({ "previous_client_secret_expires_at": "2001-01-01T00:00:00Z" });
    gateway.did(Method::PUT, &path, Some(body)).await;
    is(code(&gateway, &old).await, (StatusCode::UNAUTHORIZED, "token_secret_wrong"));
    gateway.did(Method::POST, &rotate, None).await;
    is(code(&gateway, &new).await, (StatusCode::UNAUTHORIZED, "token_secret_wrong"));
}

#[tokio::test]
async fn a_token_in_use_by_a_policy_is_not_deleted() {
    let directory = Directory::new("in-use");
    let gateway = TestGateway::start(&directory).await;
    let (id, _) = gateway.token("8760h").await;
    let policy = gateway.policy("non_identity", json!([{ "service_token": { "token_id": id } }])).await;
    let path = format!("/access/service_tokens/{id}");
    let (status, answer) = gateway.admin(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("`enrolment` uses this service token"));
    let apps = gateway.did(Method::GET, "/access/apps", None).await;
    let policy =
        format!("/access/apps/{}/policies/{}", apps[0]["id"].as_str().unwrap(), policy["id"].as_str().unwrap());
    gateway.did(Method::DELETE, &policy, None).await;
    gateway.did(Method::DELETE, &path, None).await;
    assert_eq!(gateway.admin(Method::GET, &path, None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn half_and_double_credentials_are_refused() {
    let directory = Directory::new("strict");
    let gateway = TestGateway::start(&directory).await;
    let Credentials::Token { id, secret } = gateway.enrolling_token().await else { unreachable!() };
    let url = format!("{}/vestibule/v1/registrations", gateway.url);
    for (headers, expected) in [
        (vec![("CF-Access-Client-Id", &id)], "credentials_incomplete"),
        (vec![("CF-Access-Client-Secret", &secret)], "credentials_incomplete"),
        (
            vec![("CF-Access-Client-Id", &id), ("CF-Access-Client-Id", &id), ("CF-Access-Client-Secret", &secret)],
            "credentials_duplicate",
        ),
        (
            vec![("CF-Access-Client-Id", &id), ("CF-Access-Client-Secret", &secret), ("CF-Access-Jwt-Assertion", &id)],
            "credentials_ambiguous",
        ),
    ] {
        let body = TestDevice::new().enrol_request(&gateway).await;
        let mut request = gateway.http.post(&url).json(&body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.json::<serde_json::Value>().await.unwrap()["code"], expected);
    }
}

#[tokio::test]
async fn both_forms_of_secrets_authenticate_and_a_typing_error_is_told_as_one() {
    let directory = Directory::new("forms");
    let gateway = TestGateway::start(&directory).await;
    let (id, token) = gateway.token("8760h").await;
    gateway.policy("non_identity", json!([{ "service_token": { "token_id": id } }])).await;
    is(code(&gateway, &token).await, OK);
    let Credentials::Token { id: client_id, secret } = token else { unreachable!() };
    let cut = Credentials::Token { id: client_id.clone(), secret: secret[..50].to_owned() };
    let (status, answer) = TestDevice::new().try_enrol(&gateway, &cut).await;
    assert_eq!((status, &answer["code"]), (StatusCode::UNAUTHORIZED, &json!("token_secret_wrong")));
    assert!(answer["message"].as_str().unwrap().contains("checksum"), "{answer}");

    // As a gateway of before made it.
    let older = plain().unwrap();
    assert_eq!(older.expose().len(), 64);
    let store = Store::open(&directory.path().join("vestibule.db")).await.unwrap();
    let mut row = store.token(&id).await.unwrap().unwrap();
    row.secret_hash = older.hash();
    store.put_token(&row).await.unwrap();
    store.close().await;
    is(code(&gateway, &Credentials::Token { id: client_id, secret: older.expose().to_owned() }).await, OK);
}

#[tokio::test]
async fn there_are_no_more_tokens_than_the_limit() {
    let directory = Directory::new("limit");
    let gateway = TestGateway::start(&directory).await;
    let settings = gateway.did(Method::GET, "/vestibule/settings", None).await;
    assert_eq!(settings["service_token_limit"], 50);
    gateway.did(Method::PUT, "/vestibule/settings", Some(json!({ "service_token_limit": 2 }))).await;
    gateway.token("1h").await;
    let (id, _) = gateway.token("1h").await;
    let body = json!({ "name": "one too many" });
    let (status, answer) = gateway.admin(Method::POST, "/access/service_tokens", Some(body.clone())).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("service_token_limit"), "{answer}");
    gateway.did(Method::DELETE, &format!("/access/service_tokens/{id}"), None).await;
    gateway.did(Method::POST, "/access/service_tokens", Some(body)).await;
    let inactivity = json!({ "service_token_inactivity": { "enabled": true, "inactivity_threshold_days": 7 } });
    let (status, answer) = gateway.admin(Method::PUT, "/vestibule/settings", Some(inactivity)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("30 to 365"), "{answer}");
}

#[tokio::test]
async fn a_zone_is_refused_clearly() {
    let directory = Directory::new("zone");
    let gateway = TestGateway::start(&directory).await;
    let url = format!("{}/client/v4/zones/0123/access/service_tokens", gateway.url);
    let response = gateway.http.get(url).bearer_auth(&gateway.admin_token).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let answer: serde_json::Value = response.json().await.unwrap();
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("no zones"), "{answer}");
}

#[tokio::test]
async fn the_application_names_one_header_for_both_halves() {
    let directory = Directory::new("one-header");
    let gateway = TestGateway::start(&directory).await;
    let Credentials::Token { id, secret } = gateway.enrolling_token().await else { unreachable!() };
    let both = json!({ "cf-access-client-id": id, "cf-access-client-secret": secret }).to_string();
    let enrol = async |header: &str, value: &str| {
        let body = json!(TestDevice::new().enrol_request(&gateway).await);
        let url = format!("{}/vestibule/v1/registrations", gateway.url);
        let response = gateway.http.post(url).header(header, value).json(&body).send().await.unwrap();
        let (status, answer) = (response.status(), response.json::<serde_json::Value>().await.unwrap());
        (status, answer["code"].as_str().unwrap_or_default().to_owned())
    };
    is(enrol("Authorization", &both).await, (StatusCode::UNAUTHORIZED, "credentials_missing"));
    let app = gateway.did(Method::GET, "/access/apps", None).await[0]["id"].as_str().unwrap().to_owned();
    let set = json!({ "type": "warp", "read_service_tokens_from_header": "Authorization" });
    let shown = gateway.did(Method::PUT, &format!("/access/apps/{app}"), Some(set)).await;
    assert_eq!(shown["read_service_tokens_from_header"], "Authorization");
    is(enrol("Authorization", &both).await, OK);
    is(enrol("Authorization", "Bearer x").await, (StatusCode::UNAUTHORIZED, "credentials_malformed"));
    let wrong = json!({ "cf-access-client-id": id, "cf-access-client-secret": "00" }).to_string();
    is(enrol("Authorization", &wrong).await, (StatusCode::UNAUTHORIZED, "token_secret_wrong"));
    is(code(&gateway, &Credentials::Token { id, secret }).await, OK);
    for wrong in ["a b", "Host"] {
        let set = json!({ "type": "warp", "read_service_tokens_from_header": wrong });
        let (status, _) = gateway.admin(Method::PUT, &format!("/access/apps/{app}"), Some(set)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    let set = json!({ "type": "warp", "read_service_tokens_from_header": "" });
    gateway.did(Method::PUT, &format!("/access/apps/{app}"), Some(set)).await;
    is(enrol("Authorization", &both).await, (StatusCode::UNAUTHORIZED, "credentials_missing"));
}

#[tokio::test]
async fn a_week_before_a_token_expires_the_audit_log_says_so_once() {
    let directory = Directory::new("expiring");
    let gateway = TestGateway::start(&directory).await;
    let (soon, _) = gateway.token("100h").await;
    gateway.token("200h").await;
    gateway.stop().await;
    // At the start, and hourly; the second start has nothing to add.
    TestGateway::start(&directory).await.stop().await;
    let gateway = TestGateway::start(&directory).await;
    let alerts = gateway.did(Method::GET, "/vestibule/audit?kind=alert", None).await;
    assert_eq!(alerts.as_array().unwrap().len(), 1, "{alerts}");
    assert_eq!(alerts[0]["resource_id"], soon);
    assert!(alerts[0]["detail"].as_str().unwrap().contains("Expiring Access Service Token"), "{alerts}");
    gateway.did(Method::POST, &format!("/access/service_tokens/{soon}/refresh"), None).await;
    gateway.stop().await;
    let gateway = TestGateway::start(&directory).await;
    let alerts = gateway.did(Method::GET, "/vestibule/audit?kind=alert", None).await;
    assert_eq!(alerts.as_array().unwrap().len(), 1, "{alerts}");
}

#[tokio::test]
async fn registrations_outlive_their_token_unless_the_organisation_says_otherwise() {
    let directory = Directory::new("withtoken");
    let gateway = TestGateway::start(&directory).await;
    let settings = gateway.did(Method::GET, "/vestibule/settings", None).await;
    assert_eq!(settings["revoke_with_token"], false);
    let (kept, kept_token) = gateway.token("1h").await;
    let (ended, ended_token) = gateway.token("1h").await;
    let (brief, brief_token) = gateway.token("1h").await;
    gateway.policy("non_identity", json!([{ "any_valid_service_token": {} }])).await;
    let mut bearers = Vec::new();
    for token in [&kept_token, &ended_token, &brief_token] {
        bearers.push(TestDevice::new().enrol(&gateway, token).await.token);
    }
    let standing = async || {
        let mut all = Vec::new();
        for bearer in &bearers {
            all.push(gateway.changes(bearer, 0).await.1["registration"].as_str().unwrap_or("none").to_owned());
        }
        all
    };
    let disable = json!({ "enabled": false });
    gateway.did(Method::PUT, &format!("/access/service_tokens/{ended}"), Some(disable)).await;
    assert_eq!(standing().await, ["active"; 3], "the vendor's way");

    // Turned on, it holds for what has ended already, and for what ends from now on.
    let on = json!({ "revoke_with_token": true });
    let settings = gateway.did(Method::PUT, "/vestibule/settings", Some(on.clone())).await;
    assert_eq!((&settings["revoke_with_token"], &settings["service_token_limit"]), (&json!(true), &json!(50)));
    assert_eq!(standing().await[..2], ["active", "revoked"]);
    let shorter = json!({ "duration": "1s" });
    gateway.did(Method::PUT, &format!("/access/service_tokens/{brief}"), Some(shorter)).await;
    let expired = async {
        while standing().await[2] != "revoked" {
            tokio::time::sleep(Duration::from_millis(200)).await;
            gateway.did(Method::PUT, "/vestibule/settings", Some(on.clone())).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), expired).await.expect("an expired token's registration stays");
    gateway.did(Method::POST, &format!("/access/service_tokens/{kept}/rotate"), None).await;
    assert_eq!(standing().await[0], "active", "rotated: the token is the same");
    gateway.did(Method::DELETE, &format!("/access/service_tokens/{kept}"), None).await;
    assert_eq!(standing().await, ["revoked"; 3]);
}
