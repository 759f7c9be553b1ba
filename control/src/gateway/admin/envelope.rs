//! The vendor's envelope around every answer.

use super::MAX_BODY;
use crate::crypto::RandomError;
use crate::gateway::app::StepError;
use crate::gateway::store::StoreError;
use axum::Json;
use axum::extract::Request;
use axum::http::{StatusCode, header::CONTENT_TYPE};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

/// A success with its result.
pub(super) struct Envelope(StatusCode, Value);

/// What a handler gives.
pub(super) type Answer = Result<Envelope, ApiError>;

/// One thing.
pub(super) fn one(result: impl Serialize) -> Answer {
    Ok(Envelope(StatusCode::OK, json!({ "success": true, "errors": [], "messages": [], "result": result })))
}

/// A new thing.
pub(super) fn created(result: impl Serialize) -> Answer {
    one(result).map(|Envelope(_, body)| Envelope(StatusCode::CREATED, body))
}

/// All things on one page.
pub(super) fn many(result: Vec<impl Serialize>) -> Answer {
    let count = result.len();
    let info = json!({ "page": 1, "per_page": count.max(1), "count": count, "total_count": count, "total_pages": 1 });
    Ok(Envelope(
        StatusCode::OK,
        json!({ "success": true, "errors": [], "messages": [], "result": result, "result_info": info }),
    ))
}

impl IntoResponse for Envelope {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

/// Characters of a message.
const MAX_MESSAGE: usize = 500;

/// Puts into the envelope what the framework refuses by itself.
pub(super) async fn enclose(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let enclosed = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == b"application/json");
    if enclosed || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let message = match status {
        StatusCode::PAYLOAD_TOO_LARGE => format!("the body must have at most {MAX_BODY} bytes"),
        StatusCode::BAD_REQUEST => "the path or the body could not be read: expected UTF-8 in both".to_owned(),
        _ => format!("the call ended with `{status}`: look into the gateway's log"),
    };
    ApiError::new(status, 10_000 + u32::from(status.as_u16()), message).into_response()
}

/// A refusal.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: u32,
    message: String,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        let mut message = message.into();
        // What was sent may be repeated, but not megabytes of it.
        if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) {
            message.truncate(end);
            message.push_str("...");
        }
        Self { status, code, message }
    }

    /// 400: a field is not as it must be.
    pub(super) fn field(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, 10001, message)
    }

    /// 404: no such thing.
    pub(super) fn missing(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, 10004, format!("there is no such {what}: check its id"))
    }

    /// 409: as things are, no.
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, 10009, message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let errors = json!([{ "code": self.code, "message": self.message }]);
        let body = json!({ "success": false, "errors": errors, "messages": [], "result": null });
        (self.status, Json(body)).into_response()
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let (status, code) = match &error {
            StoreError::Taken => return Self::conflict(error.to_string()),
            StoreError::Full(_) => (StatusCode::INSUFFICIENT_STORAGE, 10507),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, 10500),
        };
        tracing::error!(error = crate::causes::chain(&error), "an administrator's call failed");
        Self::new(status, code, error.to_string())
    }
}

impl From<StepError> for ApiError {
    fn from(error: StepError) -> Self {
        match error {
            StepError::Store(error) => error.into(),
            StepError::DataPlane(error) => {
                tracing::error!(error = crate::causes::chain(&error), "the engine did not follow");
                let message = "the change is stored, but the data plane did not follow: restart the gateway";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, 10501, message)
            }
        }
    }
}

impl From<RandomError> for ApiError {
    fn from(error: RandomError) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, 10502, error.to_string())
    }
}
