//! The login form, and what its code is worth.

use super::certificates;
use crate::crypto::sha256;
use crate::gateway::testing::{Credentials, Directory, TestDevice, TestGateway};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CALLBACK: &str = "http://127.0.0.1:4711/callback";

fn parameters() -> Vec<(&'static str, String)> {
    vec![
        ("organization", "mycompany".to_owned()),
        ("redirect_uri", CALLBACK.to_owned()),
        ("state", "s\"<1>".to_owned()),
        ("code_challenge", URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()))),
        ("code_challenge_method", "S256".to_owned()),
    ]
}

async fn add_user(gateway: &TestGateway) {
    let user = json!({ "email": "Ada@mycompany.example", "name": "Ada", "password": "correct horse" });
    gateway.did(Method::POST, "/vestibule/users", Some(user)).await;
}

async fn submit(gateway: &TestGateway, email: &str, password: &str) -> Response {
    let mut form = parameters();
    form.extend([("email", email.to_owned()), ("password", password.to_owned())]);
    gateway.http.post(format!("{}/warp/login", gateway.url)).form(&form).send().await.unwrap()
}

/// The code that a login gave.
fn code(response: &Response) -> String {
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let location = reqwest::Url::parse(response.headers()["location"].to_str().unwrap()).unwrap();
    assert!(location.as_str().starts_with(CALLBACK));
    let find = |name: &str| location.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    assert_eq!(find("state"), "s\"<1>");
    find("code")
}

async fn trade(gateway: &TestGateway, code: &str, verifier: &str, redirect_uri: &str) -> (StatusCode, Value) {
    let body = json!({ "code": code, "code_verifier": verifier, "redirect_uri": redirect_uri });
    gateway.device("/auth/token", None, body).await
}

#[tokio::test]
async fn a_user_logs_in_and_enrols_if_a_policy_allows() {
    let directory = Directory::new("login");
    let gateway = TestGateway::start(&directory).await;
    add_user(&gateway).await;
    let login = async || {
        let code = code(&submit(&gateway, "ada@MYCOMPANY.example", "correct horse").await);
        let (status, answer) = trade(&gateway, &code, VERIFIER, CALLBACK).await;
        assert_eq!((status, &answer["email"]), (StatusCode::OK, &json!("Ada@mycompany.example")), "{answer}");
        let again = trade(&gateway, &code, VERIFIER, CALLBACK).await;
        assert_eq!((again.0, again.1["code"].as_str()), (StatusCode::BAD_REQUEST, Some("invalid_grant")));
        Credentials::Assertion(answer["assertion"].as_str().unwrap().to_owned())
    };
    let (status, answer) = TestDevice::new().try_enrol(&gateway, &login().await).await;
    assert_eq!((status, answer["code"].as_str()), (StatusCode::FORBIDDEN, Some("enrolment_denied")));

    gateway.policy("allow", json!([{ "email_domain": { "domain": "mycompany.example" } }])).await;
    let (device, assertion) = (TestDevice::new(), login().await);
    let token = gateway.enrolling_token().await;
    let before = device.enrol(&gateway, &token).await;
    let enrolled = device.enrol(&gateway, &assertion).await;
    assert_eq!(enrolled.registration.email, "Ada@mycompany.example");
    assert!(!enrolled.registration.service_token);
    assert_eq!(enrolled.addresses, before.addresses, "the device owns its address, not the registration");
    let (status, answer) = TestDevice::new().try_enrol(&gateway, &assertion).await;
    assert_eq!((status, answer["code"].as_str()), (StatusCode::UNAUTHORIZED, Some("assertion_invalid")));
    let listed = gateway.did(Method::GET, "/devices/registrations", None).await;
    assert_eq!(listed.as_array().unwrap().len(), 2, "the user's is a new entry beside the token's");
}

#[tokio::test]
async fn a_code_is_worth_nothing_without_its_verifier_and_address() {
    let directory = Directory::new("pkce");
    let gateway = TestGateway::start(&directory).await;
    add_user(&gateway).await;
    for (verifier, redirect) in [("wrong", CALLBACK), (VERIFIER, "http://127.0.0.1:4712/callback")] {
        let code = code(&submit(&gateway, "ada@mycompany.example", "correct horse").await);
        assert_eq!(trade(&gateway, &code, verifier, redirect).await.0, StatusCode::BAD_REQUEST);
        assert_eq!(
            trade(&gateway, &code, VERIFIER, CALLBACK).await.0,
            StatusCode::BAD_REQUEST,
            "used up by the attempt"
        );
    }
}

#[tokio::test]
async fn wrong_passwords_and_unknown_users_look_alike_and_run_into_a_limit() {
    let directory = Directory::new("guess");
    let gateway = TestGateway::start(&directory).await;
    add_user(&gateway).await;
    let wrong = submit(&gateway, "ada@mycompany.example", "guess").await;
    let unknown = submit(&gateway, "eve@mycompany.example", "guess").await;
    assert_eq!((wrong.status(), unknown.status()), (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED));
    let (wrong, unknown) = (wrong.text().await.unwrap(), unknown.text().await.unwrap());
    assert_eq!(wrong.replace("ada@", "eve@"), unknown);
    assert!(wrong.contains("role=\"alert\""));
    let focus = |field: &str| wrong.split("<input ").any(|input| input.contains(field) && input.contains(" autofocus"));
    assert!(focus("id=\"password\"") && !focus("id=\"email\""), "where to type next: {wrong}");
    for _ in 1..10 {
        submit(&gateway, "ada@mycompany.example", "guess").await;
    }
    let refused = submit(&gateway, "ada@mycompany.example", "correct horse").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn the_form_is_safe_to_show() {
    let directory = Directory::new("form");
    let gateway = TestGateway::start(&directory).await;
    let url = reqwest::Url::parse_with_params(&format!("{}/warp", gateway.url), parameters()).unwrap();
    let page = gateway.http.get(url).send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    assert!(policy.contains("form-action 'self' http://127.0.0.1:4711;"), "{policy}");
    assert_eq!(page.headers()["cache-control"], "no-store");
    let html = page.text().await.unwrap();
    assert!(html.contains("value=\"s&quot;&lt;1&gt;\"") && !html.contains("<script"), "{html}");
    for field in ["label for=\"email\"", "label for=\"password\"", "autocomplete=\"current-password\"", "lang=\"en\""] {
        assert!(html.contains(field), "{field} is missing");
    }
    let elsewhere = format!("{}/warp?redirect_uri=https://evil.example/callback", gateway.url);
    let refused = gateway.http.get(elsewhere).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert!(refused.headers().get("location").is_none());
}

#[tokio::test]
async fn what_is_known_of_a_local_account_is_known_of_its_registration() {
    let directory = Directory::new("login-person");
    let gateway = TestGateway::start(&directory).await;
    gateway.policy("allow", json!([{ "login_method": { "id": "local" } }])).await;
    let user = json!({ "email": "ada@mycompany.example", "name": "Ada", "password": "correct horse", "groups": ["x"] });
    let made = gateway.did(Method::POST, "/vestibule/users", Some(user)).await;
    let path = format!("/vestibule/users/{}", made["id"].as_str().unwrap());
    let change = json!({ "name": "Ada L.", "groups": ["admins", { "id": "7", "name": "Developers" }] });
    gateway.did(Method::PUT, &path, Some(change)).await;
    let wrong = gateway.admin(Method::PUT, &path, Some(json!({ "groups": "admins" }))).await;
    assert_eq!(wrong.0, StatusCode::BAD_REQUEST, "{}", wrong.1);

    let code = code(&submit(&gateway, "ada@mycompany.example", "correct horse").await);
    let (_, answer) = trade(&gateway, &code, VERIFIER, CALLBACK).await;
    let assertion = Credentials::Assertion(answer["assertion"].as_str().unwrap().to_owned());
    let enrolled = TestDevice::new().enrol(&gateway, &assertion).await;
    let person = gateway.person(&directory, enrolled.registration.id).await;
    assert_eq!((person.email.as_str(), person.name.as_str()), ("ada@mycompany.example", "Ada L."));
    let groups: Vec<_> = person.groups.iter().map(|group| (group.id.as_str(), group.name.as_str())).collect();
    assert_eq!(groups, [("admins", "admins"), ("7", "Developers")]);
}

#[tokio::test]
async fn the_login_page_offers_what_the_application_allows() {
    let directory = Directory::new("login-offers");
    let gateway = TestGateway::start(&directory).await;
    add_user(&gateway).await;
    let mut ids = Vec::new();
    for name in ["One", "Two"] {
        let body = json!({ "name": name, "issuer": "https://idp.example", "client_id": "v", "client_secret": "s" });
        ids.push(gateway.did(Method::POST, "/vestibule/identity_providers", Some(body)).await["id"].clone());
    }
    let apps = gateway.did(Method::GET, "/access/apps", None).await;
    let app = format!("/access/apps/{}", apps[0]["id"].as_str().unwrap());
    let allow = async |allowed: Value, at_once: bool| {
        let body = json!({ "type": "warp", "allowed_idps": allowed, "auto_redirect_to_identity": at_once });
        gateway.did(Method::PUT, &app, Some(body)).await;
    };
    let page = async || {
        let url = reqwest::Url::parse_with_params(&format!("{}/warp", gateway.url), parameters()).unwrap();
        gateway.http.get(url).send().await.unwrap()
    };
    let shown = async || {
        let html = page().await.text().await.unwrap();
        (html.contains("type=\"password\""), html.contains("Continue with One"), html.contains("Continue with Two"))
    };
    assert_eq!(shown().await, (true, true, true));
    allow(json!(["local", ids[0]]), false).await;
    assert_eq!(shown().await, (true, true, false));
    allow(json!([ids[1]]), false).await;
    assert_eq!(shown().await, (false, false, true));
    let refused = submit(&gateway, "ada@mycompany.example", "correct horse").await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN, "a form that is not offered is not taken either");
    let mut other = parameters();
    other.push(("provider", ids[0].as_str().unwrap().to_owned()));
    let url = reqwest::Url::parse_with_params(&format!("{}/warp/oidc/start", gateway.url), other).unwrap();
    assert_eq!(gateway.http.get(url).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    allow(json!([ids[1]]), true).await;
    let redirected = page().await;
    assert_eq!(redirected.status(), StatusCode::SEE_OTHER);
    let location = redirected.headers()["location"].to_str().unwrap();
    assert!(location.starts_with("/warp/oidc/start?") && location.contains(ids[1].as_str().unwrap()), "{location}");
}

#[tokio::test]
async fn the_browsers_certificate_goes_with_the_login() {
    let directory = Directory::new("login-certificate");
    let gateway = TestGateway::start(&directory).await;
    add_user(&gateway).await;
    gateway.policy("allow", json!([{ "common_name": { "common_name": "ada's laptop" } }])).await;
    let trusted = certificates::authority("Devices");
    certificates::add(&gateway, &trusted, certificates::ours()).await;
    let browser = certificates::client(&gateway, &trusted, "ada's laptop", |_| {});
    for (http, expected) in [(&browser, StatusCode::OK), (&gateway.http, StatusCode::FORBIDDEN)] {
        let mut form = parameters();
        form.extend([("email", "ada@mycompany.example".to_owned()), ("password", "correct horse".to_owned())]);
        let response = http.post(format!("{}/warp/login", gateway.url)).form(&form).send().await.unwrap();
        let answer = trade(&gateway, &code(&response), VERIFIER, CALLBACK).await.1;
        let assertion = Credentials::Assertion(answer["assertion"].as_str().unwrap().to_owned());
        let (status, answer) = TestDevice::new().try_enrol(&gateway, &assertion).await;
        assert_eq!(status, expected, "{answer}");
    }
}
