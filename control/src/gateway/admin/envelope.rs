//! The vendor's envelope around every answer.
//!
//! A handler gives what it has; [`finish`] cuts lists into the pages that the caller asked for and writes the JSON. So
//! every list of the API is paged, and paged alike.

use super::MAX_BODY;
use super::paging::{Asked, Listing};
use crate::crypto::{RandomError, sha256};
use crate::gateway::app::StepError;
use crate::gateway::store::StoreError;
use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE, header::ETAG};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

/// A success with its result, not yet written down.
#[derive(Clone)]
pub(super) struct Envelope {
    pub(super) status: StatusCode,
    pub(super) given: Given,
}

/// What a handler has.
#[derive(Clone)]
pub(super) enum Given {
    One(Value),
    Many(Listing),
}

/// What a handler gives.
pub(super) type Answer = Result<Envelope, ApiError>;

/// One thing.
pub(super) fn one(result: impl Serialize) -> Answer {
    let result = serde_json::to_value(result).map_err(|error| {
        tracing::error!(%error, "an answer cannot be written as JSON");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, 10500, "the answer cannot be written as JSON")
    })?;
    Ok(Envelope { status: StatusCode::OK, given: Given::One(result) })
}

/// A new thing.
pub(super) fn created(result: impl Serialize) -> Answer {
    one(result).map(|envelope| Envelope { status: StatusCode::CREATED, ..envelope })
}

/// Things in pages (`page`, `per_page`): all of them, in an order that stays.
pub(super) fn many(result: Vec<impl Serialize>) -> Answer {
    let Envelope { given, .. } = one(result)?;
    let items = if let Given::One(Value::Array(items)) = given { items } else { Vec::new() };
    listed(Listing::Pages(items))
}

/// Things that were cut already, or that are walked by a cursor.
pub(super) fn listed(listing: Listing) -> Answer {
    Ok(Envelope { status: StatusCode::OK, given: Given::Many(listing) })
}

impl IntoResponse for Envelope {
    /// For [`finish`], which every answer passes.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes an answer down, as much of a list as the query asks for.
pub(super) fn finish(query: Option<&str>, mut response: Response) -> Response {
    let Some(Envelope { status, given }) = response.extensions_mut().remove::<Envelope>() else { return response };
    let mut body = json!({ "success": true, "errors": [], "messages": [] });
    let mut headers = HeaderMap::new();
    match given {
        Given::One(result) => {
            headers.extend(HeaderValue::from_str(&version(&result)).ok().map(|version| (ETAG, version)));
            body["result"] = result;
        }
        Given::Many(listing) => match Asked::read(query).and_then(|asked| listing.cut(&asked)) {
            Ok((items, info)) => {
                body["result"] = items.into();
                body["result_info"] = info;
            }
            Err(error) => return error.into_response(),
        },
    }
    (status, headers, Json(body)).into_response()
}

/// The version of a thing, for `ETag` and `If-Match`: what it looks like, without when it was last seen.
pub(super) fn version(shown: &Value) -> String {
    let mut shown = shown.clone();
    if let Some(fields) = shown.as_object_mut() {
        fields.retain(|name, _| !name.starts_with("last_seen"));
    }
    format!("\"{}\"", hex::encode(&sha256(shown.to_string().as_bytes())[..8]))
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
