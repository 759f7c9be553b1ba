//! Refusals of the device API.

use super::super::app::StepError;
use super::super::dataplane::DataPlaneError;
use super::super::store::StoreError;
use crate::api::device::ErrorBody;
use crate::crypto::RandomError;
use axum::response::{IntoResponse, Response};
use axum::{Json, http::StatusCode};
use vestibule_engine::core::PrepareError;

/// A status with an [`ErrorBody`].
#[derive(Debug)]
pub(in super::super) struct DeviceError {
    status: StatusCode,
    body: ErrorBody,
}

impl DeviceError {
    pub(in super::super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { status, body: ErrorBody { code: code.to_owned(), message: message.into(), swap_seq: None } }
    }

    /// 401: who you are could not be established.
    pub(super) fn unauthenticated(code: &str, message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, message)
    }

    /// The order is not newer than one seen before.
    pub(super) fn stale(got: u64, seen: u64) -> Self {
        let message = format!("swap_seq must be above {seen}, got {got}: count on from there");
        let mut error = Self::new(StatusCode::CONFLICT, "swap_seq_stale", message);
        error.body.swap_seq = Some(seen);
        error
    }
}

impl IntoResponse for DeviceError {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

impl From<StoreError> for DeviceError {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = crate::causes::chain(&error), "a device's call failed");
        let (status, code) = match &error {
            StoreError::Full(_) => (StatusCode::INSUFFICIENT_STORAGE, "storage_full"),
            StoreError::NoAddress => (StatusCode::INSUFFICIENT_STORAGE, "addresses_exhausted"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "storage_failed"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<DataPlaneError> for DeviceError {
    fn from(error: DataPlaneError) -> Self {
        match error {
            DataPlaneError::Refused(PrepareError::StaleOrder { got, seen }) => Self::stale(got, seen),
            DataPlaneError::Refused(PrepareError::KeyInUse) => {
                let message = "the tunnel key is another peer's: make a fresh one for every swap";
                Self::new(StatusCode::CONFLICT, "tunnel_key_in_use", message)
            }
            error => {
                tracing::error!(error = crate::causes::chain(&error), "the engine did not follow");
                let message = "the gateway's data plane does not answer: try again later";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "data_plane_failed", message)
            }
        }
    }
}

impl From<StepError> for DeviceError {
    fn from(error: StepError) -> Self {
        match error {
            StepError::Store(error) => error.into(),
            StepError::DataPlane(error) => error.into(),
        }
    }
}

impl From<RandomError> for DeviceError {
    fn from(error: RandomError) -> Self {
        tracing::error!(%error, "a device's call failed");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "random_failed", error.to_string())
    }
}
