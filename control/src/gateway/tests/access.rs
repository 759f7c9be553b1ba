//! Enrolment policies, access groups, reusable policies and the application, over the API.

use crate::gateway::testing::{Credentials, Directory, TestDevice, TestGateway};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

async fn app_path(gateway: &TestGateway) -> String {
    let apps = gateway.did(Method::GET, "/access/apps", None).await;
    format!("/access/apps/{}", apps[0]["id"].as_str().unwrap())
}

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

async fn refused(gateway: &TestGateway, method: Method, path: &str, body: Value, status: StatusCode, named: &str) {
    let (got, answer) = gateway.admin(method, path, Some(body)).await;
    let message = answer["errors"][0]["message"].as_str().unwrap_or_default();
    assert!(got == status && message.contains(named), "{path}: {got} {answer}");
}

/// Whether the token's device may enrol now.
async fn enrols(gateway: &TestGateway, token: &Credentials) -> bool {
    let (status, answer) = TestDevice::new().try_enrol(gateway, token).await;
    assert!(status == StatusCode::OK || answer["code"] == "enrolment_denied", "{status} {answer}");
    status == StatusCode::OK
}

#[tokio::test]
async fn a_group_decides_wherever_it_is_named_and_cannot_go_while_it_is() {
    let directory = Directory::new("access-groups");
    let gateway = TestGateway::start(&directory).await;
    let (token_id, token) = gateway.token("1h").await;
    let nobody = json!({ "name": "machines", "include": [{ "ip": { "ip": "192.0.2.0/24" } }] });
    let group = id(&gateway.did(Method::POST, "/access/groups", Some(nobody)).await);
    let outer = json!({ "name": "outer", "include": [{ "group": { "id": group } }] });
    let outer = id(&gateway.did(Method::POST, "/access/groups", Some(outer)).await);
    gateway.policy("non_identity", json!([{ "group": { "id": outer } }])).await;
    assert!(!enrols(&gateway, &token).await);

    let path = format!("/access/groups/{group}");
    let list = json!({ "name": "loopback", "items": [{ "value": "127.0.0.0/8" }] });
    let list = id(&gateway.did(Method::POST, "/gateway/lists", Some(list)).await);
    let now = json!({
        "name": "machines", "include": [{ "service_token": { "token_id": token_id } }],
        "require": [{ "ip_list": { "id": list } }],
    });
    let changed = gateway.did(Method::PUT, &path, Some(now.clone())).await;
    assert_eq!((&changed["include"], &changed["require"]), (&now["include"], &now["require"]));
    assert!(enrols(&gateway, &token).await);

    let circle = json!({ "name": "machines", "include": [{ "group": { "id": outer } }] });
    refused(&gateway, Method::PUT, &path, circle, StatusCode::BAD_REQUEST, "leads back").await;
    for used in [path.clone(), format!("/access/service_tokens/{token_id}"), format!("/gateway/lists/{list}")] {
        refused(&gateway, Method::DELETE, &used, json!({}), StatusCode::CONFLICT, "uses this").await;
    }
    let same = json!({ "name": "outer", "include": [{ "everyone": {} }] });
    refused(&gateway, Method::POST, "/access/groups", same, StatusCode::CONFLICT, "taken").await;
    assert_eq!(gateway.did(Method::GET, "/access/groups", None).await.as_array().unwrap().len(), 2);
    assert_eq!(gateway.did(Method::GET, &path, None).await["name"], "machines");
}

#[tokio::test]
async fn a_rule_must_name_what_there_is() {
    let directory = Directory::new("access-references");
    let gateway = TestGateway::start(&directory).await;
    let path = format!("{}/policies", app_path(&gateway).await);
    let list = json!({ "name": "nets", "items": [{ "value": "192.0.2.0/24" }] });
    let list = id(&gateway.did(Method::POST, "/gateway/lists", Some(list)).await);
    for (rule, named) in [
        (json!({ "group": { "id": "gone" } }), "group.id"),
        (json!({ "service_token": { "token_id": "gone" } }), "service_token.token_id"),
        (json!({ "ip_list": { "id": "gone" } }), "ip_list.id"),
        (json!({ "email_list": { "id": list } }), "email_list.id"),
        (json!({ "login_method": { "id": "gone" } }), "login_method.id"),
        (
            json!({ "oidc": { "identity_provider_id": "local", "claim_name": "a", "claim_value": "b" } }),
            "oidc.identity",
        ),
        (json!({ "device_posture": { "integration_uid": "x" } }), "posture only runs after enrolment"),
        (json!({ "geo": { "country_code": "DE" } }), "`require[0]`: `geo` cannot be judged"),
    ] {
        let body = json!({ "name": "x", "decision": "allow", "include": [{ "everyone": {} }], "require": [rule] });
        refused(&gateway, Method::POST, &path, body, StatusCode::BAD_REQUEST, named).await;
    }
    let body = json!({ "name": "x", "decision": "perhaps", "include": [{ "everyone": {} }] });
    refused(&gateway, Method::POST, &path, body, StatusCode::BAD_REQUEST, "decision").await;
    let body = json!({ "name": "x", "decision": "allow", "include": [] });
    refused(&gateway, Method::POST, &path, body, StatusCode::BAD_REQUEST, "include").await;
    assert_eq!(gateway.did(Method::GET, &path, None).await, json!([]));
}

#[tokio::test]
async fn a_reusable_policy_decides_while_the_application_names_it() {
    let directory = Directory::new("access-reusable");
    let gateway = TestGateway::start(&directory).await;
    let (_, token) = gateway.token("1h").await;
    let app = app_path(&gateway).await;
    let body = json!({
        "name": "machines", "decision": "non_identity", "include": [{ "any_valid_service_token": {} }],
        "session_duration": "24h",
    });
    let made = gateway.did(Method::POST, "/access/policies", Some(body)).await;
    assert_eq!(
        (&made["reusable"], &made["app_count"], &made["session_duration"]),
        (&json!(true), &json!(0), &json!("24h"))
    );
    assert!(!enrols(&gateway, &token).await, "it is not attached");

    let own = gateway.policy("deny", json!([{ "everyone": {} }])).await;
    let links = json!({ "type": "warp", "policies": [{ "id": made["id"], "precedence": 7 }] });
    let shown = gateway.did(Method::PUT, &app, Some(links)).await;
    assert_eq!(shown["policies"].as_array().unwrap().len(), 1, "the application's own is gone: {shown}");
    assert_eq!((&shown["policies"][0]["id"], &shown["policies"][0]["precedence"]), (&made["id"], &json!(7)));
    assert!(enrols(&gateway, &token).await);
    let gone = gateway.admin(Method::GET, &format!("{app}/policies/{}", id(&own)), None).await;
    assert_eq!(gone.0, StatusCode::NOT_FOUND);

    let path = format!("/access/policies/{}", id(&made));
    refused(&gateway, Method::DELETE, &path, json!({}), StatusCode::CONFLICT, "uses this policy").await;
    let through = format!("{app}/policies/{}", id(&made));
    refused(&gateway, Method::DELETE, &through, json!({}), StatusCode::CONFLICT, "reusable").await;
    let narrower =
        json!({ "name": "machines", "decision": "non_identity", "include": [{ "ip": { "ip": "192.0.2.1" } }] });
    gateway.did(Method::PUT, &path, Some(narrower)).await;
    assert!(!enrols(&gateway, &token).await);
    for wrong in [json!(["gone"]), json!([made["id"], made["id"]]), json!([{ "name": "inline" }]), json!([7])] {
        let body = json!({ "type": "warp", "policies": wrong });
        refused(&gateway, Method::PUT, &app, body, StatusCode::BAD_REQUEST, "polic").await;
    }
    gateway.did(Method::PUT, &app, Some(json!({ "type": "warp", "policies": [] }))).await;
    gateway.did(Method::DELETE, &path, None).await;
    assert_eq!(gateway.did(Method::GET, "/access/policies", None).await, json!([]));
}

#[tokio::test]
async fn the_application_keeps_what_it_is_told_and_stays_the_only_one() {
    let directory = Directory::new("access-app");
    let gateway = TestGateway::start(&directory).await;
    let app = app_path(&gateway).await;
    let provider = json!({ "name": "IdP", "issuer": "https://idp.example", "client_id": "v", "client_secret": "s" });
    let provider = id(&gateway.did(Method::POST, "/vestibule/identity_providers", Some(provider)).await);
    let told = json!({
        "type": "warp", "allowed_idps": [provider], "auto_redirect_to_identity": true, "app_launcher_visible": true,
        "session_duration": "24h",
    });
    let shown = gateway.did(Method::PUT, &app, Some(told.clone())).await;
    for field in ["allowed_idps", "auto_redirect_to_identity", "app_launcher_visible", "session_duration"] {
        assert_eq!(shown[field], told[field], "{field}");
    }
    let path = format!("/access/identity_providers/{provider}");
    refused(&gateway, Method::DELETE, &path, json!({}), StatusCode::CONFLICT, "allowed_idps").await;
    for (wrong, named) in [
        (json!({ "type": "warp", "allowed_idps": ["gone"] }), "allowed_idps"),
        (json!({ "type": "warp", "allowed_idps": [provider, "local"] }), "auto_redirect_to_identity"),
        (json!({ "type": "warp", "session_duration": "a day" }), "session_duration"),
        (json!({ "type": "warp", "custom_deny_url": "https://no.example" }), "custom_deny_url"),
        (json!({ "type": "self_hosted" }), "warp"),
    ] {
        refused(&gateway, Method::PUT, &app, wrong, StatusCode::BAD_REQUEST, named).await;
    }
    refused(&gateway, Method::POST, "/access/apps", json!({ "type": "warp" }), StatusCode::CONFLICT, "one application")
        .await;
    assert_eq!(gateway.did(Method::GET, "/access/apps", None).await.as_array().unwrap().len(), 1);
    assert_eq!(gateway.did(Method::GET, &app, None).await["app_launcher_visible"], true);
}

#[tokio::test]
async fn identity_providers_are_kept_in_the_vendors_form() {
    let directory = Directory::new("access-idp");
    let gateway = TestGateway::start(&directory).await;
    let body = json!({
        "name": "Corporate", "type": "oidc",
        "config": {
            "client_id": "vestibule", "client_secret": "s3cret", "auth_url": "https://idp.example/auth",
            "token_url": "https://idp.example/token", "certs_url": "https://idp.example/keys",
            "claims": ["department"], "scopes": ["openid", "email"], "email_claim_name": "mail", "pkce_enabled": true,
        },
    });
    let made = gateway.did(Method::POST, "/access/identity_providers", Some(body.clone())).await;
    assert!(!made.to_string().contains("s3cret"), "{made}");
    for field in ["client_id", "auth_url", "token_url", "certs_url", "claims", "scopes", "email_claim_name"] {
        assert_eq!(made["config"][field], body["config"][field], "{field}");
    }
    let path = format!("/access/identity_providers/{}", id(&made));
    // What was shown can be sent back: the secret stays.
    let back = json!({ "name": "Renamed", "type": "oidc", "config": {
        "client_id": "vestibule", "client_secret": made["config"]["client_secret"], "issuer_url": "https://idp.example",
        "groups_claim_name": "roles",
    } });
    let changed = gateway.did(Method::PUT, &path, Some(back)).await;
    assert_eq!(
        (&changed["name"], &changed["config"]["issuer_url"]),
        (&json!("Renamed"), &json!("https://idp.example"))
    );
    assert_eq!(gateway.did(Method::GET, "/vestibule/identity_providers", None).await[0]["id"], made["id"]);
    for (wrong, named) in [
        (json!({ "name": "Pin", "type": "onetimepin", "config": {} }), "onetimepin"),
        (json!({ "name": "S", "type": "saml", "config": {} }), "saml"),
        (json!({ "name": "S", "type": "oicd", "config": {} }), "must be `oidc`"),
        (json!({ "name": "S", "type": "oidc", "config": { "client_id": "x", "client_secret": "y" } }), "issuer_url"),
        (json!({ "name": "S", "issuer": "http://idp.example", "client_id": "x", "client_secret": "y" }), "issuer"),
        (json!({ "name": "S", "issuer": "https://idp.example", "client_id": "x" }), "client_secret"),
    ] {
        refused(&gateway, Method::POST, "/access/identity_providers", wrong, StatusCode::BAD_REQUEST, named).await;
    }
    gateway.did(Method::DELETE, &path, None).await;
    assert_eq!(gateway.did(Method::GET, "/access/identity_providers", None).await, json!([]));
}
