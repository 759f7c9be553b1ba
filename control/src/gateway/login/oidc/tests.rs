//! Against a provider in this process, with its own keys.
#![allow(clippy::unwrap_used)]

use crate::api::device::TokenResponse;
use crate::crypto::sha256;
use crate::gateway::testing::{Credentials, Directory, TestDevice, TestGateway};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CALLBACK: &str = "http://127.0.0.1:4711/callback";

/// A provider with one user, and what it will say of them.
struct Provider {
    issuer: String,
    key: EcdsaKeyPair,
    claims: Mutex<Value>,
    /// What its page on the user says; `None` for no such page.
    page: Mutex<Option<Value>>,
    /// PKCE challenge of the login under way.
    challenge: Mutex<String>,
}

impl Provider {
    async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let provider = Arc::new(Self {
            issuer,
            key,
            claims: Mutex::default(),
            page: Mutex::default(),
            challenge: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .route("/me", get(me))
            .with_state(Arc::clone(&provider));
        tokio::spawn(async move { axum::serve(listener, router).await });
        provider
    }

    /// What the user does there: the address that the browser was sent to becomes the address that it is sent back to.
    fn sign_in(&self, sent_to: &Url, email: &str) -> String {
        let parameter = |name: &str| sent_to.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
        assert_eq!((parameter("response_type"), parameter("client_id")), ("code".to_owned(), "vestibule".to_owned()));
        assert!(parameter("scope").contains("email"));
        *self.challenge.lock().unwrap() = parameter("code_challenge");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        *self.claims.lock().unwrap() = json!({
            "iss": self.issuer, "aud": "vestibule", "sub": "1", "iat": now, "exp": now + 60,
            "nonce": parameter("nonce"), "email": email, "email_verified": true,
        });
        let back = [("code", "good".to_owned()), ("state", parameter("state"))];
        Url::parse_with_params(&parameter("redirect_uri"), back).unwrap().into()
    }

    fn change(&self, claim: &str, value: Value) {
        self.claims.lock().unwrap()[claim] = value;
    }
}

async fn discovery(State(provider): State<Arc<Provider>>) -> Json<Value> {
    let issuer = &provider.issuer;
    let page = provider.page.lock().unwrap().is_some().then(|| format!("{issuer}/me"));
    Json(json!({
        "userinfo_endpoint": page,
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }))
}

async fn me(State(provider): State<Arc<Provider>>) -> Json<Value> {
    Json(provider.page.lock().unwrap().clone().unwrap_or_default())
}

async fn keys(State(provider): State<Arc<Provider>>) -> Json<Value> {
    let point = provider.key.public_key().as_ref().to_vec();
    let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    Json(json!({ "keys": [{
        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "1",
        "x": coordinate(&point[1..33]), "y": coordinate(&point[33..]),
    }] }))
}

async fn token(State(provider): State<Arc<Provider>>, Form(form): Form<HashMap<String, String>>) -> Json<Value> {
    let challenge = URL_SAFE_NO_PAD.encode(sha256(form["code_verifier"].as_bytes()));
    if form["code"] != "good" || challenge != *provider.challenge.lock().unwrap() {
        return Json(json!({ "error": "invalid_grant" }));
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = provider.claims.lock().unwrap().clone();
    let signed = format!("{}.{}", part(&json!({ "alg": "ES256", "kid": "1", "typ": "JWT" })), part(&claims));
    let signature = provider.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    let id_token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    Json(json!({ "access_token": "a", "token_type": "Bearer", "id_token": id_token }))
}

/// A browser at the gateway's form, up to the provider: where it was sent, and its cookie.
async fn to_the_provider(gateway: &TestGateway) -> (Url, String) {
    let challenge = URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()));
    let parameters =
        [("redirect_uri", CALLBACK), ("state", "s"), ("code_challenge", &challenge), ("code_challenge_method", "S256")];
    let url = Url::parse_with_params(&format!("{}/warp", gateway.url), parameters).unwrap();
    let page = gateway.http.get(url).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("Continue with Corporate"), "{page}");
    let link =
        page.split("class=\"provider\" href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    let response = gateway.http.get(format!("{}{link}", gateway.url)).send().await.unwrap();
    let header = |name| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let cookie = header(SET_COOKIE);
    for attribute in ["__Host-", "Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    (Url::parse(&header(LOCATION)).unwrap(), cookie.split(';').next().unwrap().to_owned())
}

async fn come_back(gateway: &TestGateway, url: &str, cookie: &str) -> reqwest::Response {
    gateway.http.get(url).header(COOKIE, cookie).send().await.unwrap()
}

async fn gateway_with_provider(directory: &Directory) -> (TestGateway, Arc<Provider>) {
    let (gateway, provider) = (TestGateway::start(directory).await, Provider::start().await);
    let body = json!({
        "name": "Corporate", "issuer": provider.issuer, "client_id": "vestibule", "client_secret": "s3cret-of-the-client",
    });
    let made = gateway.did(Method::POST, "/vestibule/identity_providers", Some(body)).await;
    assert!(!made.to_string().contains("s3cret"), "{made}");
    (gateway, provider)
}

#[tokio::test]
async fn a_user_of_the_provider_enrols_under_their_mail_address() {
    let directory = Directory::new("oidc");
    let (gateway, provider) = gateway_with_provider(&directory).await;
    gateway.policy("allow", json!([{ "email_domain": { "domain": "corp.example" } }])).await;
    let (sent_to, cookie) = to_the_provider(&gateway).await;
    let back = provider.sign_in(&sent_to, "ada@corp.example");
    let response = come_back(&gateway, &back, &cookie).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER, "{}", response.text().await.unwrap());
    let location = Url::parse(response.headers()[LOCATION].to_str().unwrap()).unwrap();
    assert!(location.as_str().starts_with(CALLBACK));
    let code = location.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let body = json!({ "code": code, "code_verifier": VERIFIER, "redirect_uri": CALLBACK });
    let (_, answer) = gateway.device("/auth/token", None, body).await;
    let traded: TokenResponse = serde_json::from_value(answer).unwrap();
    assert_eq!(traded.email, "ada@corp.example");
    let enrolled = TestDevice::new().enrol(&gateway, &Credentials::Assertion(traded.assertion)).await;
    assert_eq!(enrolled.registration.email, "ada@corp.example");
    assert_eq!(come_back(&gateway, &back, &cookie).await.status(), StatusCode::BAD_REQUEST, "the state serves once");
}

/// Signs in at the provider's and enrols.
async fn enrol(gateway: &TestGateway, back: &str, cookie: &str) -> (StatusCode, Value) {
    let response = come_back(gateway, back, cookie).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER, "{}", response.text().await.unwrap());
    let location = Url::parse(response.headers()[LOCATION].to_str().unwrap()).unwrap();
    let code = location.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let body = json!({ "code": code, "code_verifier": VERIFIER, "redirect_uri": CALLBACK });
    let (_, answer) = gateway.device("/auth/token", None, body).await;
    let traded: TokenResponse = serde_json::from_value(answer).unwrap();
    TestDevice::new().try_enrol(gateway, &Credentials::Assertion(traded.assertion)).await
}

#[tokio::test]
async fn groups_and_claims_decide_at_enrolment_and_stay_with_the_registration() {
    let directory = Directory::new("oidc-groups");
    let (gateway, provider) = gateway_with_provider(&directory).await;
    let id = gateway.did(Method::GET, "/access/identity_providers", None).await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/access/identity_providers/{id}");
    let config = json!({
        "client_id": "vestibule", "client_secret": "s", "issuer_url": provider.issuer, "claims": ["department"],
    });
    let by_discovery = json!({ "name": "Corporate", "type": "oidc", "config": config });
    gateway.did(Method::PUT, &path, Some(by_discovery)).await;
    let claim = json!({ "identity_provider_id": id, "claim_name": "department", "claim_value": "research" });
    gateway.policy("allow", json!([{ "oidc": claim }])).await;

    let (sent_to, cookie) = to_the_provider(&gateway).await;
    let back = provider.sign_in(&sent_to, "ada@corp.example");
    provider.change("department", json!("sales"));
    let (status, answer) = enrol(&gateway, &back, &cookie).await;
    assert_eq!((status, answer["code"].as_str()), (StatusCode::FORBIDDEN, Some("enrolment_denied")));

    // In the token, and then on the provider's page on the user.
    let said = json!({ "sub": "1", "name": "Ada", "department": ["research"], "groups": ["admins", { "id": "7", "name": "Dev" }] });
    for on_the_page in [false, true] {
        *provider.page.lock().unwrap() = on_the_page.then(|| said.clone());
        let (sent_to, cookie) = to_the_provider(&gateway).await;
        let back = provider.sign_in(&sent_to, "ada@corp.example");
        for claim in ["name", "department", "groups"].iter().filter(|_| !on_the_page) {
            provider.change(claim, said[*claim].clone());
        }
        let (status, answer) = enrol(&gateway, &back, &cookie).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let registration = answer["registration"]["id"].as_str().unwrap().parse().unwrap();
        let person = gateway.person(&directory, registration).await;
        assert_eq!((person.email.as_str(), person.name.as_str()), ("ada@corp.example", "Ada"));
        assert_eq!(person.attributes["department"], ["research"]);
        assert_eq!(person.groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(), ["admins", "Dev"]);
    }
    // Another user's page is not this one's.
    *provider.page.lock().unwrap() = Some(json!({ "sub": "2", "department": "research" }));
    let (sent_to, cookie) = to_the_provider(&gateway).await;
    let back = provider.sign_in(&sent_to, "ada@corp.example");
    assert_eq!(come_back(&gateway, &back, &cookie).await.status(), StatusCode::BAD_GATEWAY);

    // By three addresses instead of the issuer's.
    *provider.page.lock().unwrap() = None;
    let issuer = &provider.issuer;
    let by_hand = json!({ "name": "Corporate", "type": "oidc", "config": {
        "client_id": "vestibule", "client_secret": "s", "auth_url": format!("{issuer}/authorize"),
        "token_url": format!("{issuer}/token"), "certs_url": format!("{issuer}/keys"), "claims": ["department"],
    } });
    gateway.did(Method::PUT, &path, Some(by_hand)).await;
    let (sent_to, cookie) = to_the_provider(&gateway).await;
    let back = provider.sign_in(&sent_to, "ada@corp.example");
    provider.change("department", json!("research"));
    assert_eq!(enrol(&gateway, &back, &cookie).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_sign_in_is_bound_to_its_browser() {
    let directory = Directory::new("oidc-browser");
    let (gateway, provider) = gateway_with_provider(&directory).await;
    let (sent_to, _) = to_the_provider(&gateway).await;
    let back = provider.sign_in(&sent_to, "ada@corp.example");
    assert_eq!(come_back(&gateway, &back, "other=1").await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn who_cancels_at_the_provider_is_sent_back_to_the_device() {
    let directory = Directory::new("oidc-cancel");
    let (gateway, _provider) = gateway_with_provider(&directory).await;
    for (error, expected) in [("access_denied", StatusCode::SEE_OTHER), ("server_error", StatusCode::UNAUTHORIZED)] {
        let (sent_to, cookie) = to_the_provider(&gateway).await;
        let parameter = |name: &str| sent_to.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
        let back = [("error", error.to_owned()), ("state", parameter("state"))];
        let back = Url::parse_with_params(&parameter("redirect_uri"), back).unwrap();
        let response = come_back(&gateway, back.as_str(), &cookie).await;
        assert_eq!(response.status(), expected, "{error}");
        let told = response.headers().get(LOCATION).map(|location| location.to_str().unwrap().to_owned());
        assert_eq!(
            told.is_some_and(|told| told.starts_with(CALLBACK) && told.contains("error=access_denied")),
            error == "access_denied"
        );
    }
}

#[tokio::test]
async fn what_the_provider_does_not_vouch_for_is_refused() {
    let directory = Directory::new("oidc-claims");
    let (gateway, provider) = gateway_with_provider(&directory).await;
    for (claim, value, expected) in [
        ("nonce", json!("another"), StatusCode::BAD_GATEWAY),
        ("aud", json!("someone else"), StatusCode::BAD_GATEWAY),
        ("exp", json!(1), StatusCode::BAD_GATEWAY),
        ("email_verified", json!(false), StatusCode::FORBIDDEN),
        ("email", Value::Null, StatusCode::FORBIDDEN),
        ("email", json!("non_identity@mycompany.cloudflareaccess.com"), StatusCode::FORBIDDEN),
    ] {
        let (sent_to, cookie) = to_the_provider(&gateway).await;
        let back = provider.sign_in(&sent_to, "ada@corp.example");
        provider.change(claim, value);
        let response = come_back(&gateway, &back, &cookie).await;
        assert_eq!(response.status(), expected, "{claim}");
        assert!(response.headers().get(LOCATION).is_none());
    }
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_said_to_be() {
    let directory = Directory::new("oidc-gone");
    let gateway = TestGateway::start(&directory).await;
    let body = json!({ "name": "Gone", "issuer": "http://127.0.0.1:1", "client_id": "x", "client_secret": "y" });
    let id = gateway.did(Method::POST, "/vestibule/identity_providers", Some(body)).await["id"].clone();
    let challenge = URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()));
    let parameters = [
        ("provider", id.as_str().unwrap()),
        ("redirect_uri", CALLBACK),
        ("state", "s"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let url = Url::parse_with_params(&format!("{}/warp/oidc/start", gateway.url), parameters).unwrap();
    let response = gateway.http.get(url).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert!(response.text().await.unwrap().contains("cannot be reached"));
}
