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
    /// PKCE challenge of the login under way.
    challenge: Mutex<String>,
}

impl Provider {
    async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let provider =
            Arc::new(Self { issuer, key, claims: Mutex::new(json!({})), challenge: Mutex::new(String::new()) });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/token", post(token))
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
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }))
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

#[tokio::test]
async fn a_sign_in_is_bound_to_its_browser() {
    let directory = Directory::new("oidc-browser");
    let (gateway, provider) = gateway_with_provider(&directory).await;
    let (sent_to, _) = to_the_provider(&gateway).await;
    let back = provider.sign_in(&sent_to, "ada@corp.example");
    assert_eq!(come_back(&gateway, &back, "other=1").await.status(), StatusCode::BAD_REQUEST);
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
