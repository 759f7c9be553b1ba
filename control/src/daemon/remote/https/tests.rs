//! The client against a TLS server that says what the test wants.
#![allow(clippy::unwrap_used)]

use super::{super::Meaning, *};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response as Answer},
};
use axum_server::tls_rustls::RustlsConfig;
use rustls::pki_types::CertificateDer;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

fn gateway(address: &str) -> Result<HttpsGateway, GatewayAddressError> {
    HttpsGateway::new(address, "00".repeat(32).parse().unwrap())
}

/// A server whose certificate is long out of date, and a client that has its pin. Every request is answered with
/// `status` and `body`; the second value holds the requests' heads and bodies.
async fn serve(status: u16, body: &'static str) -> (HttpsGateway, Arc<Mutex<Vec<String>>>) {
    crate::crypto::install_provider();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["another.example".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2001, 1, 1);
    params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    let pin = Pin::of(&CertificateDer::from(certificate.der().to_vec()));
    let tls = RustlsConfig::from_der(vec![certificate.der().to_vec()], key.serialize_der()).await.unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let answer = move |request: Request<Body>| {
        let noted = noted.clone();
        async move {
            let (head, sent) = request.into_parts();
            let sent = to_bytes(sent, 1 << 20).await.unwrap();
            noted.lock().unwrap().push(format!("{} {} {:?} {sent:?}", head.method, head.uri, head.headers));
            let answer: Answer = (StatusCode::from_u16(status).unwrap(), body).into_response();
            answer
        }
    };
    let listener = std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let server = axum_server::from_tcp_rustls(listener, tls).unwrap();
    tokio::spawn(server.serve(Router::new().fallback(answer).into_make_service()));
    (HttpsGateway::new(&format!("https://{address}"), pin).unwrap(), seen)
}

#[test]
fn only_an_https_origin_is_an_address() {
    for wrong in ["", "gateway", "http://gateway", "https://gateway/path", "ftp://gateway"] {
        let error = gateway(wrong).unwrap_err().to_string();
        assert!(error.contains("expected https://HOST[:PORT]"), "{wrong}: {error}");
    }
    assert_eq!(gateway("https://192.0.2.1:8443").unwrap().address(), "https://192.0.2.1:8443");
}

#[test]
fn the_login_address_carries_its_parameters_escaped() {
    let address =
        |again| gateway("https://gw").unwrap().login_address("my co", "http://127.0.0.1:9/callback", "s&t", "c", again);
    let expected = "https://gw/warp?organization=my+co&redirect_uri=http%3A%2F%2F127.0.0.1%3A9%2Fcallback&state=s%26t\
                    &code_challenge=c&code_challenge_method=S256";
    assert_eq!(address(false), expected);
    assert_eq!(address(true), format!("{expected}&prompt=login"));
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_unreachable_and_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = gateway(&address).unwrap().nonce().await.unwrap_err();
    assert!(error.is_unreachable() && error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn the_pinned_certificate_is_trusted_whatever_its_dates_and_no_other_is() {
    let (gateway, _) = serve(200, r#"{"nonce":"AAAA"}"#).await;
    assert_eq!(gateway.nonce().await.unwrap().nonce, "AAAA");
    let other = HttpsGateway::new(&gateway.address(), "00".repeat(32).parse().unwrap()).unwrap();
    assert!(other.nonce().await.unwrap_err().is_unreachable());
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_its_meaning() {
    for (body, meaning) in [
        (r#"{"code":"token_expired","message":"m"}"#, Meaning::TokenRejected),
        (r#"{"code":"registration_unknown","message":"m"}"#, Meaning::RegistrationDeleted),
        (r#"{"code":"registration_revoked","message":"m"}"#, Meaning::RegistrationRevoked),
        (r#"{"code":"swap_seq_stale","message":"m","swap_seq":9}"#, Meaning::SwapSeqStale(9)),
        (r#"{"code":"enrolment_denied","message":"m"}"#, Meaning::Other),
    ] {
        let (gateway, _) = serve(403, body).await;
        let error = gateway.nonce().await.unwrap_err();
        assert_eq!(error.meaning(), meaning, "{error}");
        assert!(matches!(error, RemoteError::Refused { status: 403, .. }), "{error}");
    }
}

#[tokio::test]
async fn an_answer_in_another_form_is_named_and_never_taken_for_a_refusal() {
    for (status, body) in [(200, "<html>"), (200, "{}"), (502, "Bad Gateway"), (404, "")] {
        let (gateway, _) = serve(status, body).await;
        let error = gateway.nonce().await.unwrap_err();
        assert!(matches!(error, RemoteError::Garbled { .. }), "{error}");
        assert!(error.to_string().contains("POST /vestibule/v1/nonce"), "{error}");
    }
}

#[tokio::test]
async fn secrets_travel_in_headers_and_stay_out_of_errors() {
    let (gateway, seen) = serve(403, r#"{"code":"registration_revoked","message":"m"}"#).await;
    let bearer = Secret::new("hush");
    let registration = Uuid::from_u128(7);
    let error = gateway.delete(registration, &bearer).await.unwrap_err();
    gateway.changes(&bearer, &Held { since: 3, ..Held::default() }).await.unwrap_err();
    let seen = seen.lock().unwrap();
    assert!(seen[0].starts_with(&format!("DELETE /vestibule/v1/registrations/{registration} ")), "{}", seen[0]);
    assert!(seen[1].starts_with("GET /vestibule/v1/changes?since=3 "), "{}", seen[1]);
    assert!(seen.iter().all(|request| request.contains("\"authorization\": \"Bearer hush\"")), "{seen:?}");
    assert!(!format!("{error:?} {error} {bearer:?}").contains("hush"));
}
