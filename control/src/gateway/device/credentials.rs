//! Who asks to enrol: a service token, or a user by the assertion of their login.
//!
//! Strict, as the vendor's `strict_service_token_auth`: 401 when the credentials do not authenticate, duplicates and
//! halves included; 403 (elsewhere) when they do and the policies say no.

use super::DeviceError;
use crate::api::device::{ASSERTION_HEADER, CLIENT_ID_HEADER, CLIENT_SECRET_HEADER};
use crate::gateway::app::App;
use crate::gateway::login::Assertion;
use crate::gateway::{clock, secret};
use axum::http::HeaderMap;
use serde::Deserialize;
use std::time::Instant;
use zeroize::Zeroizing;

/// Who asks.
pub(super) enum Credentials {
    /// A valid service token, by its id.
    Token(String),
    /// A user.
    User(Assertion),
}

/// Authenticates the caller. A user's assertion is used up.
pub(super) async fn authenticate(app: &App, headers: &HeaderMap) -> Result<Credentials, DeviceError> {
    let client_id = single(headers, CLIENT_ID_HEADER)?;
    let client_secret = single(headers, CLIENT_SECRET_HEADER)?;
    let assertion = single(headers, ASSERTION_HEADER)?;
    if client_id.is_none()
        && client_secret.is_none()
        && assertion.is_none()
        && let Some(Both { id, secret }) = both(app, headers).await?
    {
        let secret = Zeroizing::new(secret);
        return token(app, &id, &secret).await.map(Credentials::Token);
    }
    match (client_id, client_secret, assertion) {
        (Some(id), Some(secret), None) => token(app, id, secret).await.map(Credentials::Token),
        (None, None, Some(assertion)) => {
            let message = "the login's assertion is unknown, used, or older than five minutes: log in again";
            let known = app.login.grants.redeem_assertion(assertion, Instant::now());
            known.map(Credentials::User).ok_or_else(|| DeviceError::unauthenticated("assertion_invalid", message))
        }
        (None, None, None) => Err(DeviceError::unauthenticated(
            "credentials_missing",
            "expected CF-Access-Client-Id with CF-Access-Client-Secret, or CF-Access-Jwt-Assertion",
        )),
        (_, _, Some(_)) => Err(DeviceError::unauthenticated(
            "credentials_ambiguous",
            "expected a service token or an assertion, got both",
        )),
        (Some(_), None, None) | (None, Some(_), None) => Err(DeviceError::unauthenticated(
            "credentials_incomplete",
            "expected CF-Access-Client-Id and CF-Access-Client-Secret, got one of them",
        )),
    }
}

/// Both halves of a service token in one header, as the vendor's applications take them.
#[derive(Deserialize)]
struct Both {
    #[serde(rename = "cf-access-client-id")]
    id: String,
    #[serde(rename = "cf-access-client-secret")]
    secret: String,
}

/// What is in the header that the application names for it, if it names one and the call has it.
async fn both(app: &App, headers: &HeaderMap) -> Result<Option<Both>, DeviceError> {
    let apps = app.store.apps().await?;
    let Some(name) = apps.first().and_then(|app| app.settings.read_service_tokens_from_header.as_deref()) else {
        return Ok(None);
    };
    let Some(value) = single(headers, name)? else { return Ok(None) };
    // What the reader of JSON would say of it may repeat what is secret.
    serde_json::from_str(value).map(Some).map_err(|_| {
        let expected = r#"{"cf-access-client-id": "...", "cf-access-client-secret": "..."}"#;
        let message = format!("`{name}` must be {expected}, as the application says, got something else");
        DeviceError::unauthenticated("credentials_malformed", &message)
    })
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, DeviceError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        let message = format!("expected `{name}` once, got it several times");
        return Err(DeviceError::unauthenticated("credentials_duplicate", &message));
    }
    first
        .map(|value| value.to_str())
        .transpose()
        .map_err(|_| DeviceError::unauthenticated("credentials_malformed", &format!("`{name}` must be plain text")))
}

/// The id of a valid service token. What is wrong with one is told only to who has its secret.
async fn token(app: &App, client_id: &str, client_secret: &str) -> Result<String, DeviceError> {
    let now = clock::now();
    let Some(token) = app.store.token_by_client_id(client_id).await? else {
        let message = "there is no service token with this CF-Access-Client-Id: check `auth_client_id`";
        return Err(DeviceError::unauthenticated("token_unknown", message));
    };
    let current = secret::matches(client_secret, &token.secret_hash);
    let previous = token.previous_hash.is_some_and(|hash| secret::matches(client_secret, &hash))
        && token.previous_expires_at.is_some_and(|until| now < until);
    if !(current | previous) {
        tracing::warn!(token = %token.id, "a service token was presented with a wrong secret");
        let message = if secret::mistyped(client_secret) {
            "CF-Access-Client-Secret is mistyped or cut short (its checksum does not fit): check `auth_client_secret`"
        } else {
            "CF-Access-Client-Secret is not this token's: check `auth_client_secret`"
        };
        return Err(DeviceError::unauthenticated("token_secret_wrong", message));
    }
    if !token.enabled {
        let message = format!("the service token {client_id} is disabled: enable it, or use another");
        return Err(DeviceError::unauthenticated("token_disabled", &message));
    }
    if now >= token.expires_at {
        let message = format!("the service token {client_id} has expired: refresh it, or use another");
        return Err(DeviceError::unauthenticated("token_expired", &message));
    }
    Ok(token.id)
}
