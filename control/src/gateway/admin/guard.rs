//! What every call passes: who may make it, which version it is about, and the audit log.
//!
//! A change is written into the audit log before it is made (who, what, what it was), and completed with what came of it
//! before it is answered: nothing is ever acknowledged, nor made, that the log does not know. An entry without a status
//! is of a change under way, or of a gateway that ended in the middle of one.

use super::envelope::{ApiError, Envelope, Given, finish, version};
use super::permission::Caller;
use super::routes::Operation;
use crate::crypto::sha256;
use crate::gateway::app::App;
use crate::gateway::clock;
use crate::gateway::store::Change;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest as _, Request};
use axum::http::{HeaderMap, StatusCode, header::IF_MATCH, request::Parts};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;

/// Longest description of a thing in the audit log, in bytes of JSON; of a longer one its hash is kept.
const MAX_NOTED: usize = 16 * 1024;
/// Stands for what was shown once.
const NOT_KEPT: &str = "(not kept)";

/// Makes a call, if it may be made.
pub(super) async fn pass(operation: &'static Operation, app: Arc<App>, request: Request) -> Response {
    let caller = request.extensions().get::<Caller>().cloned();
    let Some(caller) = caller else { return StatusCode::UNAUTHORIZED.into_response() };
    if let Err(error) = caller.require(operation.permission()) {
        tracing::warn!(token = caller.id, operation.method, operation.path, "an API token asked for more than it may");
        return error.into_response();
    }
    let query = request.uri().query().map(str::to_owned);
    let response = if operation.changes() {
        change(operation, app, caller, request).await.unwrap_or_else(IntoResponse::into_response)
    } else {
        (operation.handler)(request, app).await
    };
    finish(query.as_deref(), response)
}

async fn change(
    operation: &'static Operation,
    app: Arc<App>,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    // The whole body first: half a call changes nothing, and nobody waits for who sends slowly.
    let (parts, body) = request.into_parts();
    let bytes = match Bytes::from_request(Request::from_parts(parts.clone(), body), &()).await {
        Ok(bytes) => bytes,
        Err(refused) => return Ok(refused.into_response()),
    };
    let shows = operation.shows();
    // From here to the end nobody else changes what this is about.
    let _turn = match shows {
        Some(shows) => Some(app.turns.at(&thing(shows, &parts)).await),
        None => None,
    };
    let before = match shows {
        Some(shows) => shown((shows.handler)(call(&parts, Bytes::new()), Arc::clone(&app)).await),
        None => None,
    };
    current(&parts.headers, before.as_ref())?;
    let mut change = Change {
        actor_id: caller.id,
        actor_name: caller.name,
        call: format!("{} {}", operation.method, parts.uri.path()),
        resource_type: operation.resource.to_owned(),
        resource_id: resource_id(operation, &parts),
        before: before.map(|before| noted(operation, before)),
        ..Change::default()
    };
    let entry = app.store.begin_change(&change, clock::now()).await?;
    let response = (operation.handler)(call(&parts, bytes), Arc::clone(&app)).await;
    let status = response.status();
    if status.is_client_error() {
        app.store.forget_change(entry).await?;
        return Ok(response);
    }
    change.status = Some(status.as_u16());
    let after = response.extensions().get::<Envelope>().and_then(of_one).filter(|_| operation.method != "DELETE");
    if change.resource_id.is_none() {
        change.resource_id = after.as_ref().and_then(|after| Some(after["id"].as_str()?.to_owned()));
    }
    change.after = after.map(|after| noted(operation, after));
    // Who, what and what it was are in the log already.
    if let Err(error) = app.store.end_change(entry, &change).await {
        tracing::error!(entry, error = crate::causes::chain(&error), "an audit entry is not completed");
    }
    Ok(response)
}

/// The call again, for its handler or for another of the same path.
fn call(parts: &Parts, bytes: Bytes) -> Request {
    Request::from_parts(parts.clone(), Body::from(bytes))
}

fn shown(response: Response) -> Option<Value> {
    response.extensions().get::<Envelope>().and_then(of_one)
}

fn of_one(envelope: &Envelope) -> Option<Value> {
    match &envelope.given {
        Given::One(value) => Some(value.clone()),
        Given::Many(_) => None,
    }
}

/// 412 unless the thing still is the version that the caller has seen, if it said so.
fn current(headers: &HeaderMap, before: Option<&Value>) -> Result<(), ApiError> {
    let asked: Vec<&str> = headers.get_all(IF_MATCH).iter().filter_map(|value| value.to_str().ok()).collect();
    let Some(before) = before.filter(|_| !asked.is_empty()) else { return Ok(()) };
    let now = version(before);
    let mut versions = asked.iter().flat_map(|versions| versions.split(',')).map(str::trim);
    if versions.any(|version| version == "*" || version == now) {
        return Ok(());
    }
    let message = format!("`If-Match` names a stale version: somebody changed it meanwhile, it is {now} now");
    Err(ApiError::new(StatusCode::PRECONDITION_FAILED, 10412, message))
}

/// The path of what a call shows or changes.
fn thing(shows: &Operation, parts: &Parts) -> String {
    let path = parts.uri.path().trim_start_matches("/client/v4");
    path.split('/').take(shows.path.split('/').count()).collect::<Vec<_>>().join("/")
}

/// The id in the path, or all of those in the query.
fn resource_id(operation: &Operation, parts: &Parts) -> Option<String> {
    let path = parts.uri.path().trim_start_matches("/client/v4").split('/');
    let id = operation.path.split('/').zip(path).filter(|(name, _)| name.starts_with('{') && *name != "{account_id}");
    id.last().map(|(_, id)| id.to_owned()).or_else(|| parts.uri.query().map(|query| query.chars().take(500).collect()))
}

/// As the audit log keeps it: without secrets, and not too long.
fn noted(operation: &Operation, mut value: Value) -> String {
    // What is shown of a thing has fields; a text alone is its secret (`PUT /tokens/{id}/value`).
    if value.is_string() {
        value = NOT_KEPT.into();
    }
    conceal(&mut value, operation.resource == "api_token");
    let text = value.to_string();
    if text.len() <= MAX_NOTED {
        return text;
    }
    json!({ "id": value["id"], "omitted_bytes": text.len(), "sha256": hex::encode(sha256(text.as_bytes())) })
        .to_string()
}

/// Takes out what was shown this once.
fn conceal(value: &mut Value, is_token: bool) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let secret = matches!(name.as_str(), "client_secret" | "secret" | "password");
                if secret || (is_token && name == "value") {
                    *value = NOT_KEPT.into();
                } else {
                    conceal(value, is_token);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| conceal(item, is_token)),
        _ => {}
    }
}
