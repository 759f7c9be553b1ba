//! Bodies of the administrator's calls. Unknown fields are refused: one that we would pass over could be the one that
//! makes a rule narrower.

use super::envelope::ApiError;
use axum::body::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The JSON of a call.
pub(super) fn read<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, ApiError> {
    let wrong = |error: String| ApiError::field(format!("the body is not the JSON of this call: {error}"));
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let body = serde_path_to_error::deserialize(&mut json).map_err(|error| match error.path().iter().next() {
        Some(_) => wrong(format!("`{}`: {}", error.path(), error.inner())),
        None => wrong(error.inner().to_string()),
    })?;
    json.end().map_err(|error| wrong(error.to_string()))?;
    Ok(body)
}

/// As [`read`], with no body at all being `{}`.
pub(super) fn read_or_empty<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, ApiError> {
    if bytes.is_empty() { read(&Bytes::from_static(b"{}")) } else { read(bytes) }
}

/// A name: something visible, and not too long.
pub(super) fn name(field: &str, text: &str) -> Result<String, ApiError> {
    let text = text.trim();
    let length = text.chars().count();
    if length == 0 || length > 255 || text.chars().any(char::is_control) {
        return Err(ApiError::field(format!("`{field}` must be 1 to 255 visible characters, got {length}")));
    }
    Ok(text.to_owned())
}

/// A description: any text, and not too long.
pub(super) fn description(text: Option<String>) -> Result<String, ApiError> {
    let text = text.unwrap_or_default();
    let length = text.chars().count();
    if length > 1024 {
        return Err(ApiError::field(format!("`description` must have at most 1024 characters, got {length}")));
    }
    Ok(text)
}

/// Something of the vendor's that we do not have: it may be there, but must say nothing.
pub(super) fn unsupported(field: &str, value: &Option<Value>) -> Result<(), ApiError> {
    if value.as_ref().is_none_or(says_nothing) {
        return Ok(());
    }
    Err(ApiError::field(format!("`{field}` is not supported yet: leave it out")))
}

/// Whether a value is as good as none: null, false, empty, or made of such.
pub(super) fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(says_nothing),
        Value::Bool(true) | Value::Number(_) => false,
    }
}
