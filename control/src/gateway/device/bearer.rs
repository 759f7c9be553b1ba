//! The bearer secret of a registration.

use super::DeviceError;
use crate::api::device::RegistrationStatus;
use crate::crypto::sha256;
use crate::gateway::app::App;
use crate::gateway::known::Known;
use crate::gateway::store::Registration;
use axum::http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use std::sync::Arc;

/// The registration whose secret the call carries, whatever its standing.
pub(super) async fn registration(app: &App, headers: &HeaderMap) -> Result<Registration, DeviceError> {
    app.store.registration_by_bearer(&hash(headers)?).await?.ok_or_else(unknown)
}

/// What is known of it, from memory while nothing of it changes.
pub(super) async fn known(app: &App, headers: &HeaderMap) -> Result<Arc<Known>, DeviceError> {
    app.known_by_bearer(&hash(headers)?).await?.ok_or_else(unknown)
}

fn hash(headers: &HeaderMap) -> Result<[u8; 32], DeviceError> {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).ok_or_else(unknown)?;
    let secret = header.strip_prefix("Bearer ").ok_or_else(unknown)?;
    Ok(sha256(secret.trim().as_bytes()))
}

fn unknown() -> DeviceError {
    let message = "expected `Authorization: Bearer` with the secret of a registration: enrol again";
    DeviceError::unauthenticated("registration_unknown", message)
}

/// Refuses a registration that does not stand.
pub(super) fn standing(registration: &Registration) -> Result<(), DeviceError> {
    match registration.status() {
        RegistrationStatus::Active => Ok(()),
        RegistrationStatus::Revoked => Err(DeviceError::new(
            StatusCode::FORBIDDEN,
            "registration_revoked",
            "an administrator revoked this registration: authenticate again",
        )),
        RegistrationStatus::Deleted => Err(DeviceError::new(
            StatusCode::GONE,
            "registration_deleted",
            "this registration was deleted or replaced: enrol again",
        )),
    }
}
