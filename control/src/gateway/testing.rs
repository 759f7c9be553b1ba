//! What the gateway's tests share: a gateway in this process on memory twins, an administrator, and devices.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::store::Store;
use super::{DataPlaneKind, Gateway, Options};
use crate::api::device::{
    ASSERTION_HEADER, CLIENT_ID_HEADER, CLIENT_SECRET_HEADER, DeviceFacts, EnrolRequest, EnrolResponse, Nonce,
    SwapRequest, enrol_message, swap_message,
};
use crate::api::pin::http_client;
use crate::api::profile::TunnelProtocol;
use crate::crypto::random;
use crate::rules::Person;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use uuid::Uuid;
use vestibule_engine::generation::PrivateKey;
use vestibule_platform::adapter::memory::{MemoryHost, pair};
use vestibule_platform::runtime::Worker;
use vestibule_platform::socket::memory::Hub;

/// A directory that goes with its owner.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vestibule-{name}-{}", Uuid::new_v4()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Where the gateway's tunnel ends in the memory network.
pub(crate) const TUNNEL: &str = "192.0.2.1:51820";

/// A gateway in this process.
pub(crate) struct TestGateway {
    pub(crate) gateway: Gateway,
    pub(crate) http: Client,
    pub(crate) network: Hub,
    /// Its host's end of the adapter.
    pub(crate) host: MemoryHost,
    pub(crate) admin_token: String,
    pub(crate) url: String,
    account: String,
}

impl TestGateway {
    pub(crate) async fn start(directory: &Directory) -> Self {
        Self::start_on(directory, Hub::new(), |_| {}).await
    }

    /// On a network that others are on already, with other options.
    pub(crate) async fn start_on(directory: &Directory, network: Hub, change: impl FnOnce(&mut Options)) -> Self {
        let (adapter, host) = pair(256, 1420);
        let socket = network.bind(TUNNEL.parse().unwrap()).unwrap();
        let mut options = Options::new(directory.path().to_owned());
        options.https = SocketAddr::from(([127, 0, 0, 1], 0));
        options.tunnel = TUNNEL.parse().unwrap();
        options.data_plane =
            DataPlaneKind::Worker(Box::new(move |engine| Worker::spawn(engine, adapter, socket, "gateway")));
        change(&mut options);
        let gateway = Gateway::start(options).await.unwrap();
        let facts = gateway.facts().clone();
        let http = http_client(facts.certificate_sha256, Duration::from_secs(30)).unwrap();
        let admin_token = std::fs::read_to_string(&facts.admin_token_file).unwrap().trim().to_owned();
        Self { gateway, http, network, host, admin_token, url: facts.url, account: facts.account_id }
    }

    /// Ends it as an operator does.
    pub(crate) async fn stop(self) {
        self.gateway.shutdown().await;
    }

    /// An administrator's call under the account's path.
    pub(crate) async fn admin(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let url = format!("{}/client/v4/accounts/{}{path}", self.url, self.account);
        let mut request = self.http.request(method, url).bearer_auth(&self.admin_token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        (status, response.json().await.unwrap())
    }

    /// As [`Self::admin`], with another bearer token and headers; the `ETag` too.
    pub(crate) async fn admin_as(
        &self,
        bearer: &str,
        headers: &[(&str, &str)],
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value, Option<String>) {
        let url = format!("{}/client/v4/accounts/{}{path}", self.url, self.account);
        let mut request = self.http.request(method, url).bearer_auth(bearer);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let version = response.headers().get("etag").map(|value| value.to_str().unwrap().to_owned());
        (response.status(), response.json().await.unwrap(), version)
    }

    /// As [`Self::admin`], and it must succeed; its `result`.
    pub(crate) async fn did(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.admin(method, path, body).await;
        assert!(status.is_success() && answer["success"] == true, "{path}: {status} {answer}");
        answer["result"].clone()
    }

    /// What is known of a registration's person.
    pub(crate) async fn person(&self, directory: &Directory, registration: Uuid) -> Person {
        let store = Store::open(&directory.path().join("vestibule.db")).await.unwrap();
        let subject = store.subject(&registration, super::clock::now()).await.unwrap().unwrap();
        store.close().await;
        subject.person
    }

    pub(crate) async fn status(&self) -> Value {
        self.did(Method::GET, "/vestibule/status", None).await
    }

    /// A new service token: (its id, what presents it).
    pub(crate) async fn token(&self, duration: &str) -> (String, Credentials) {
        let body = json!({ "name": "CI/CD token", "duration": duration });
        let made = self.did(Method::POST, "/access/service_tokens", Some(body)).await;
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        (text("id"), Credentials::Token { id: text("client_id"), secret: text("client_secret") })
    }

    /// An enrolment policy on the application that is there from the start.
    pub(crate) async fn policy(&self, decision: &str, include: Value) -> Value {
        let apps = self.did(Method::GET, "/access/apps", None).await;
        let path = format!("/access/apps/{}/policies", apps[0]["id"].as_str().unwrap());
        let body = json!({ "name": "enrolment", "decision": decision, "include": include });
        self.did(Method::POST, &path, Some(body)).await
    }

    /// A token that may enrol.
    pub(crate) async fn enrolling_token(&self) -> Credentials {
        let (id, credentials) = self.token("8760h").await;
        self.policy("non_identity", json!([{ "service_token": { "token_id": id } }])).await;
        credentials
    }

    /// A call of the device API.
    pub(crate) async fn device(&self, path: &str, bearer: Option<&str>, body: Value) -> (StatusCode, Value) {
        let mut request = self.http.post(format!("{}/vestibule/v1{path}", self.url)).json(&body);
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    /// A call of `GET /changes`.
    pub(crate) async fn changes(&self, bearer: &str, since: u64) -> (StatusCode, Value) {
        let url = format!("{}/vestibule/v1/changes?since={since}", self.url);
        let response = self.http.get(url).bearer_auth(bearer).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }
}

/// What an enrolment presents.
#[derive(Clone)]
pub(crate) enum Credentials {
    None,
    Token { id: String, secret: String },
    Assertion(String),
}

/// A device: its key, and tunnel keys as they come.
pub(crate) struct TestDevice(EcdsaKeyPair);

impl TestDevice {
    pub(crate) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> String {
        STANDARD.encode(self.0.sign(&SystemRandom::new(), message).unwrap())
    }

    /// An enrolment for a fresh nonce.
    pub(crate) async fn enrol_request(&self, gateway: &TestGateway) -> EnrolRequest {
        let (_, nonce) = gateway.device("/nonce", None, json!({})).await;
        let nonce: Nonce = serde_json::from_value(nonce).unwrap();
        let tunnel = PrivateKey::new(random().unwrap()).public().0;
        let signed = enrol_message(&STANDARD.decode(&nonce.nonce).unwrap(), &tunnel);
        EnrolRequest {
            organization: "MyCompany".to_owned(),
            nonce: nonce.nonce,
            device_public_key: STANDARD.encode(self.0.public_key().as_ref()),
            tunnel_public_key: STANDARD.encode(tunnel),
            signature: self.sign(&signed),
            device: DeviceFacts { name: "laptop".to_owned(), os: "linux".to_owned(), ..DeviceFacts::default() },
        }
    }

    pub(crate) async fn try_enrol(&self, gateway: &TestGateway, credentials: &Credentials) -> (StatusCode, Value) {
        let request = self.enrol_request(gateway).await;
        post_enrolment(gateway, credentials, json!(request)).await
    }

    pub(crate) async fn enrol(&self, gateway: &TestGateway, credentials: &Credentials) -> EnrolResponse {
        let (status, answer) = self.try_enrol(gateway, credentials).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        serde_json::from_value(answer).unwrap()
    }

    pub(crate) fn swap_request(&self, registration: Uuid, swap_seq: u64, tunnel: [u8; 32]) -> SwapRequest {
        self.swap_request_over(registration, swap_seq, (tunnel, TunnelProtocol::Wireguard))
    }

    pub(crate) fn swap_request_over(
        &self,
        registration: Uuid,
        swap_seq: u64,
        (tunnel, tunnel_protocol): ([u8; 32], TunnelProtocol),
    ) -> SwapRequest {
        let signature = self.sign(&swap_message(swap_seq, &registration, &tunnel, tunnel_protocol));
        SwapRequest {
            swap_seq,
            registration,
            tunnel_public_key: STANDARD.encode(tunnel),
            tunnel_protocol,
            signature,
            policy_held: None,
            profile_held: None,
            posture: None,
        }
    }

    /// An order with fresh keys.
    pub(crate) async fn order(
        &self,
        gateway: &TestGateway,
        enrolled: &EnrolResponse,
        swap_seq: u64,
    ) -> (StatusCode, Value) {
        let tunnel = PrivateKey::new(random().unwrap()).public().0;
        let request = self.swap_request(enrolled.registration.id, swap_seq, tunnel);
        gateway.device("/swap", Some(&enrolled.token), json!(request)).await
    }
}

pub(crate) async fn post_enrolment(
    gateway: &TestGateway,
    credentials: &Credentials,
    body: Value,
) -> (StatusCode, Value) {
    post_enrolment_by(&gateway.http, gateway, credentials, body).await
}

/// As [`post_enrolment`], by another client.
pub(crate) async fn post_enrolment_by(
    http: &Client,
    gateway: &TestGateway,
    credentials: &Credentials,
    body: Value,
) -> (StatusCode, Value) {
    let mut request = http.post(format!("{}/vestibule/v1/registrations", gateway.url)).json(&body);
    request = match credentials {
        Credentials::None => request,
        Credentials::Token { id, secret } => request.header(CLIENT_ID_HEADER, id).header(CLIENT_SECRET_HEADER, secret),
        Credentials::Assertion(assertion) => request.header(ASSERTION_HEADER, assertion),
    };
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}
