//! The device API, `/vestibule/v1`. Its wire types are in [`crate::api::device`].

mod bearer;
mod changes;
mod credentials;
mod emergency;
mod enrol;
mod error;
mod nonce;
mod own;
mod posture;
mod signature;
mod swap;

pub(super) use error::DeviceError;
pub(super) use nonce::Nonces;

use super::app::App;
use super::server::to_the_end;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{delete, get, post};
use axum::{Json, Router, body::Bytes, http::StatusCode};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Largest body taken: an enrolment has under 2 KiB.
const MAX_BODY: usize = 16 * 1024;

/// The routes under `/vestibule/v1`.
pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/nonce", post(nonce::create))
        .route("/registrations", post(enrol::enrol))
        .route("/registrations/{id}", delete(own::remove))
        .route("/swap", post(swap::swap))
        .route("/posture", post(posture::report))
        .route("/emergency", get(emergency::show))
        .route("/auth/token", post(super::login::token))
        .layer(from_fn(to_the_end))
        // A long poll ends with its caller.
        .route("/changes", get(changes::changes))
        .fallback(|| async { DeviceError::new(StatusCode::NOT_FOUND, "not_found", "there is no such call") })
        .method_not_allowed_fallback(|| async {
            DeviceError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "the call has another method")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

/// A JSON body. Fields that we do not know are for a newer gateway and are passed over.
pub(super) fn body<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, DeviceError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let message = format!("the body must be the JSON of this call: {error}");
        DeviceError::new(StatusCode::BAD_REQUEST, "malformed", message)
    })
}

/// Base64 of exactly `N` bytes.
fn binary<const N: usize>(field: &'static str, text: &str) -> Result<[u8; N], DeviceError> {
    let decoded = STANDARD.decode(text).ok();
    let got = decoded.as_ref().map_or_else(|| "something else".to_owned(), |bytes| format!("{} bytes", bytes.len()));
    decoded.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
        let message = format!("`{field}` must be {N} bytes in padded base64, got {got}");
        DeviceError::new(StatusCode::BAD_REQUEST, "malformed", message)
    })
}

type Answer<T> = Result<Json<T>, DeviceError>;
