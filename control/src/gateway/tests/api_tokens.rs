//! API tokens: what they may do, and that they hand on no more.

use crate::gateway::testing::{Directory, TestGateway};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// An API token with these permissions, by the vendor's names.
async fn token(gateway: &TestGateway, permissions: &[&str], more: Value) -> (String, String) {
    let (status, answer) = try_token(gateway, &gateway.admin_token, permissions, more).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let text = |field: &str| answer["result"][field].as_str().unwrap().to_owned();
    (text("id"), text("value"))
}

async fn try_token(gateway: &TestGateway, bearer: &str, permissions: &[&str], more: Value) -> (StatusCode, Value) {
    let groups = gateway.did(Method::GET, "/tokens/permission_groups", None).await;
    let groups: Vec<Value> = groups
        .as_array()
        .unwrap()
        .iter()
        .filter(|group| permissions.contains(&group["name"].as_str().unwrap()))
        .map(|group| json!({ "id": group["id"] }))
        .collect();
    assert_eq!(groups.len(), permissions.len());
    let resources = json!({ format!("com.cloudflare.api.account.{}", gateway.gateway.facts().account_id): "*" });
    let policies = json!([{ "effect": "allow", "permission_groups": groups, "resources": resources }]);
    let mut body = json!({ "name": "CI", "policies": policies });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    let (status, answer, _) = gateway.admin_as(bearer, &[], Method::POST, "/tokens", Some(body)).await;
    (status, answer)
}

fn message(answer: &Value) -> &str {
    answer["errors"][0]["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_token_does_what_it_may_and_is_told_what_it_lacks() {
    let directory = Directory::new("scopes");
    let gateway = TestGateway::start(&directory).await;
    let (id, value) = token(&gateway, &["Access: Service Tokens Write", "Zero Trust Read"], json!({})).await;
    assert!(value.starts_with("cfat_") && value.len() == 53);
    let call = async |method: Method, path: &str, body: Option<Value>| {
        let (status, answer, _) = gateway.admin_as(&value, &[], method, path, body).await;
        (status, answer)
    };
    let (status, answer) = call(Method::GET, "/tokens/verify", None).await;
    assert_eq!(
        (status, &answer["result"]["id"], &answer["result"]["status"]),
        (StatusCode::OK, &json!(id), &json!("active"))
    );
    let (status, _) = call(Method::POST, "/access/service_tokens", Some(json!({ "name": "made by CI" }))).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(call(Method::GET, "/access/service_tokens", None).await.0, StatusCode::OK);
    assert_eq!(call(Method::GET, "/gateway/rules", None).await.0, StatusCode::OK);
    for (method, path, missing) in [
        (Method::POST, "/gateway/rules", "`Zero Trust Write`"),
        (Method::DELETE, "/devices/registrations?id=x", "`Zero Trust Write`"),
        (Method::GET, "/access/apps", "`Access: Apps and Policies Read`"),
        (Method::GET, "/vestibule/audit", "`Access: Audit Logs Read`"),
        (Method::POST, "/vestibule/users", "`Access: Organizations, Identity Providers, and Groups Write`"),
        (Method::GET, "/tokens", "`Account API Tokens Read`"),
    ] {
        let (status, answer) = call(method, path, None).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {answer}");
        assert!(message(&answer).contains(missing) && message(&answer).contains("`CI`"), "{answer}");
    }

    let changes = gateway.did(Method::GET, &format!("/vestibule/audit?actor={id}"), None).await;
    let changes = changes.as_array().unwrap();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!((&changes[0]["actor_name"], &changes[0]["after"]["name"]), (&json!("CI"), &json!("made by CI")));

    gateway.did(Method::DELETE, &format!("/tokens/{id}"), None).await;
    let (status, answer) = call(Method::GET, "/tokens/verify", None).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
}

#[tokio::test]
async fn a_token_hands_on_no_more_than_it_has() {
    let directory = Directory::new("escalation");
    let gateway = TestGateway::start(&directory).await;
    let (_, keeper) = token(&gateway, &["Account API Tokens Write", "Zero Trust Read"], json!({})).await;
    let (strong, _) = token(&gateway, &["Zero Trust Write"], json!({})).await;
    let (status, answer) = try_token(&gateway, &keeper, &["Zero Trust Write"], json!({})).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(message(&answer).contains("`Zero Trust Write`"), "{answer}");
    assert_eq!(try_token(&gateway, &keeper, &["Zero Trust Read"], json!({})).await.0, StatusCode::CREATED);
    let path = format!("/tokens/{strong}/value");
    let (status, answer, _) = gateway.admin_as(&keeper, &[], Method::PUT, &path, Some(json!({}))).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "a roll would hand it over: {answer}");
}

#[tokio::test]
async fn a_token_ends_when_it_is_rolled_disabled_expired_or_elsewhere() {
    let directory = Directory::new("ends");
    let gateway = TestGateway::start(&directory).await;
    let zero_trust = ["Zero Trust Read"];
    let verified = async |value: &str| {
        let (status, answer, _) = gateway.admin_as(value, &[], Method::GET, "/tokens/verify", None).await;
        (status, message(&answer).to_owned())
    };
    let (id, value) = token(&gateway, &zero_trust, json!({})).await;
    let rolled = gateway.did(Method::PUT, &format!("/tokens/{id}/value"), Some(json!({}))).await;
    assert_eq!(verified(&value).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(verified(rolled.as_str().unwrap()).await.0, StatusCode::OK);
    let mistyped = format!("{}x", &value[..value.len() - 1]);
    assert!(verified(&mistyped).await.1.contains("checksum"));

    let mut shown = gateway.did(Method::GET, &format!("/tokens/{id}"), None).await;
    assert!(shown.get("value").is_none(), "a secret is shown once");
    let body = json!({ "name": "off", "status": "disabled", "policies": shown["policies"].take() });
    gateway.did(Method::PUT, &format!("/tokens/{id}"), Some(body)).await;
    assert!(verified(rolled.as_str().unwrap()).await.1.contains("is disabled"));

    let (_, value) = token(&gateway, &zero_trust, json!({ "expires_on": "2001-01-01T00:00:00Z" })).await;
    assert!(verified(&value).await.1.contains("is expired"));
    let (_, value) = token(&gateway, &zero_trust, json!({ "not_before": "2999-01-01T00:00:00Z" })).await;
    assert!(verified(&value).await.1.contains("not valid yet"));
    let elsewhere = json!({ "condition": { "request_ip": { "in": ["192.0.2.0/24"] } } });
    let (_, value) = token(&gateway, &zero_trust, elsewhere).await;
    assert_eq!(verified(&value).await.0, StatusCode::FORBIDDEN);
    let here = json!({ "condition": { "request_ip": { "in": ["127.0.0.0/8"] } } });
    let (_, value) = token(&gateway, &zero_trust, here).await;
    assert_eq!(verified(&value).await.0, StatusCode::OK);

    let listed = gateway.did(Method::GET, "/tokens", None).await.as_array().unwrap().len();
    let all = gateway.did(Method::GET, "/tokens?include_expired=true", None).await.as_array().unwrap().len();
    assert_eq!(all, listed + 1);
}
