//! Client certificates at enrolment: what is asked for, and what one is worth.

use crate::api::pin::{client_config, client_config_with, https};
use crate::gateway::testing::{Credentials, Directory, TestDevice, TestGateway, post_enrolment_by};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) type Authority = CertifiedIssuer<'static, KeyPair>;

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn authority_params(common_name: &str) -> CertificateParams {
    let mut params = params(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

pub(super) fn authority(common_name: &str) -> Authority {
    CertifiedIssuer::self_signed(authority_params(common_name), KeyPair::generate().unwrap()).unwrap()
}

/// A client with a certificate of the authority, changed by `change`.
pub(super) fn client(
    gateway: &TestGateway,
    authority: &Authority,
    common_name: &str,
    change: impl FnOnce(&mut CertificateParams),
) -> Client {
    let (key, mut params) = (KeyPair::generate().unwrap(), params(common_name));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let certificate = params.signed_by(&key, authority).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let pin = gateway.gateway.facts().certificate_sha256;
    https(client_config_with(pin, vec![certificate.der().clone()], key).unwrap(), Duration::from_secs(30)).unwrap()
}

/// A client without, that has no connection yet.
fn bare(gateway: &TestGateway) -> Client {
    let pin = gateway.gateway.facts().certificate_sha256;
    https(client_config(pin).unwrap(), Duration::from_secs(30)).unwrap()
}

async fn enrol(gateway: &TestGateway, token: &Credentials, http: &Client) -> (StatusCode, String) {
    let body = json!(TestDevice::new().enrol_request(gateway).await);
    let (status, answer) = post_enrolment_by(http, gateway, token, body).await;
    (status, answer["message"].as_str().unwrap_or_default().to_owned())
}

async fn refused(gateway: &TestGateway, token: &Credentials, http: &Client, why: &str) {
    let (status, message) = enrol(gateway, token, http).await;
    assert!(status == StatusCode::FORBIDDEN && message.contains(why), "{status} {message}");
}

async fn passes(gateway: &TestGateway, token: &Credentials, http: &Client) {
    let (status, message) = enrol(gateway, token, http).await;
    assert_eq!(status, StatusCode::OK, "{message}");
}

pub(super) async fn add(gateway: &TestGateway, authority: &Authority, hostnames: Value) -> String {
    let body = json!({ "name": "Devices", "certificate": authority.pem(), "associated_hostnames": hostnames });
    let made = gateway.did(Method::POST, "/access/certificates", Some(body)).await;
    made["id"].as_str().unwrap().to_owned()
}

pub(super) fn ours() -> Value {
    json!(["mycompany.cloudflareaccess.com"])
}

#[tokio::test]
async fn a_certificate_of_a_stored_authority_enrols_and_no_other() {
    let directory = Directory::new("mtls");
    let gateway = TestGateway::start(&directory).await;
    let (_, token) = gateway.token("1h").await;
    gateway.policy("non_identity", json!([{ "certificate": {} }])).await;
    let (trusted, stranger) = (authority("Devices"), authority("Devices"));
    let good = client(&gateway, &trusted, "laptop-7", |_| {});
    refused(&gateway, &token, &good, "no enrolment policy lets it in: ask").await;

    let id = add(&gateway, &trusted, ours()).await;
    // Who is connected already was not asked.
    let good = client(&gateway, &trusted, "laptop-7", |_| {});
    passes(&gateway, &token, &good).await;
    refused(&gateway, &token, &bare(&gateway), "no client certificate was presented").await;
    let other = client(&gateway, &stranger, "laptop-7", |_| {});
    refused(&gateway, &token, &other, "BadSignature").await;
    let unknown = client(&gateway, &authority("Others"), "laptop-7", |_| {});
    refused(&gateway, &token, &unknown, "UnknownIssuer").await;
    let expired = client(&gateway, &trusted, "laptop-7", |params| params.not_after = date_time_ymd(2020, 1, 1));
    refused(&gateway, &token, &expired, "certificate expired").await;
    let early = client(&gateway, &trusted, "laptop-7", |params| params.not_before = date_time_ymd(4000, 1, 1));
    refused(&gateway, &token, &early, "certificate not valid yet").await;
    let server =
        |params: &mut CertificateParams| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    refused(&gateway, &token, &client(&gateway, &trusted, "laptop-7", server), "extended key usage").await;

    let path = format!("/access/certificates/{id}");
    gateway.did(Method::PUT, &path, Some(json!({ "associated_hostnames": ["wiki.example"] }))).await;
    refused(&gateway, &token, &good, "no certificate authority counts here").await;
    gateway.did(Method::PUT, &path, Some(json!({ "associated_hostnames": ours() }))).await;
    passes(&gateway, &token, &good).await;
}

#[tokio::test]
async fn a_common_name_is_asked_for_exactly_and_also_after_a_restart() {
    let directory = Directory::new("mtls-name");
    let gateway = TestGateway::start(&directory).await;
    let (_, token) = gateway.token("1h").await;
    let trusted = authority("Devices");
    add(&gateway, &trusted, ours()).await;
    gateway.policy("non_identity", json!([{ "common_name": { "common_name": "laptop-7" } }])).await;
    passes(&gateway, &token, &client(&gateway, &trusted, "laptop-7", |_| {})).await;
    refused(&gateway, &token, &client(&gateway, &trusted, "laptop-8", |_| {}), "lets it in: ask").await;
    let twice = |params: &mut CertificateParams| {
        params.distinguished_name.push(DnType::from_oid(&[2, 5, 4, 3]), "laptop-8");
    };
    refused(&gateway, &token, &client(&gateway, &trusted, "laptop-7", twice), "lets it in: ask").await;
    gateway.stop().await;
    let gateway = TestGateway::start(&directory).await;
    passes(&gateway, &token, &client(&gateway, &trusted, "laptop-7", |_| {})).await;
    refused(&gateway, &token, &bare(&gateway), "no client certificate").await;
}

#[tokio::test]
async fn authorities_are_kept_in_the_vendors_form() {
    let directory = Directory::new("mtls-api");
    let gateway = TestGateway::start(&directory).await;
    let trusted = authority("Devices");
    let id = add(&gateway, &trusted, json!([])).await;
    let path = format!("/access/certificates/{id}");
    let shown = gateway.did(Method::GET, &path, None).await;
    assert_eq!((&shown["name"], &shown["associated_hostnames"]), (&json!("Devices"), &json!([])));
    assert!(shown["fingerprint"].as_str().unwrap().starts_with("SHA256 Fingerprint="), "{shown}");
    assert!(shown["expires_on"].as_str().unwrap().ends_with('Z') && shown.get("certificate").is_none());
    let changed = json!({ "name": "Laptops", "associated_hostnames": ["MyCompany.cloudflareaccess.com"] });
    let changed = gateway.did(Method::PUT, &path, Some(changed)).await;
    assert_eq!((&changed["name"], &changed["associated_hostnames"]), (&json!("Laptops"), &ours()));
    let (status, answer) = gateway.admin(Method::DELETE, &path, None).await;
    assert!(status == StatusCode::CONFLICT && answer.to_string().contains("associated_hostnames"), "{answer}");

    let leaf = params("leaf").self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let mut past = authority_params("Past");
    past.not_after = date_time_ymd(2020, 1, 1);
    let past = past.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let with_key = format!("{}{}", authority("New").pem(), trusted.key().serialize_pem());
    for (certificate, hostnames, status, named) in [
        (trusted.pem(), json!([]), StatusCode::CONFLICT, "there already"),
        (leaf, json!([]), StatusCode::BAD_REQUEST, "basic constraints"),
        (past, json!([]), StatusCode::BAD_REQUEST, "expired"),
        (with_key, json!([]), StatusCode::BAD_REQUEST, "a private key"),
        (String::new(), json!([]), StatusCode::BAD_REQUEST, "0 certificates"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
            json!([]),
            StatusCode::BAD_REQUEST,
            "`certificate`",
        ),
        (authority("New").pem(), json!(["a b"]), StatusCode::BAD_REQUEST, "associated_hostnames"),
        (authority("New").pem() + &authority("Newer").pem(), json!([]), StatusCode::BAD_REQUEST, "2 certificates"),
    ] {
        let body = json!({ "name": "x", "certificate": certificate, "associated_hostnames": hostnames });
        let (got, answer) = gateway.admin(Method::POST, "/access/certificates", Some(body)).await;
        assert!(got == status && answer["errors"][0]["message"].as_str().unwrap().contains(named), "{named}: {answer}");
    }
    gateway.did(Method::PUT, &path, Some(json!({ "associated_hostnames": [] }))).await;
    gateway.did(Method::DELETE, &path, None).await;
    assert_eq!(gateway.did(Method::GET, "/access/certificates", None).await, json!([]));
}
