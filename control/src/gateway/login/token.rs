//! `POST /vestibule/v1/auth/token`: the daemon trades the code of a login for an assertion.

use super::super::app::App;
use super::super::device::{DeviceError, body};
use crate::api::device::{TokenRequest, TokenResponse};
use crate::crypto::sha256;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{sync::Arc, time::Instant};
use subtle::ConstantTimeEq as _;

pub(in super::super) async fn token(
    State(app): State<Arc<App>>,
    bytes: Bytes,
) -> Result<Json<TokenResponse>, DeviceError> {
    let request: TokenRequest = body(&bytes)?;
    let invalid = || {
        let message = "the code is unknown, used, older than a minute, or another login's: log in again";
        DeviceError::new(StatusCode::BAD_REQUEST, "invalid_grant", message)
    };
    let now = Instant::now();
    let code = app.login.grants.redeem_code(&request.code, now).ok_or_else(invalid)?;
    let challenge = URL_SAFE_NO_PAD.encode(sha256(request.code_verifier.as_bytes()));
    let proven: bool = challenge.as_bytes().ct_eq(code.challenge.as_bytes()).into();
    if !proven || request.redirect_uri != code.redirect_uri {
        return Err(invalid());
    }
    let email = code.user.person.email.clone();
    let assertion = app.login.grants.issue_assertion(code.user, now)?;
    Ok(Json(TokenResponse { assertion: assertion.expose().to_owned(), email }))
}
