//! `/access/apps/{id}/policies`: who may enrol.

use super::apps;
use super::body::{name, read, unsupported};
use super::envelope::{Answer, ApiError, created, many, one};
use crate::gateway::access::{Decision, Selector};
use crate::gateway::app::App;
use crate::gateway::clock;
use crate::gateway::store::PolicyRow;
use axum::body::Bytes;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    name: String,
    decision: Decision,
    precedence: Option<i64>,
    include: Vec<Selector>,
    #[serde(default)]
    require: Vec<Selector>,
    #[serde(default)]
    exclude: Vec<Selector>,
    #[serde(rename = "session_duration")]
    _session_duration: Option<Value>,
    approval_required: Option<Value>,
    isolation_required: Option<Value>,
    purpose_justification_required: Option<Value>,
}

pub(super) async fn list(State(app): State<Arc<App>>, Path(path): Path<HashMap<String, String>>) -> Answer {
    let row = apps::find(&app, &path).await?;
    many(app.store.policies().await?.iter().filter(|policy| policy.app_id == row.id).map(shown).collect())
}

pub(super) async fn show(State(app): State<Arc<App>>, Path(path): Path<HashMap<String, String>>) -> Answer {
    one(shown(&find(&app, &path).await?))
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Path(path): Path<HashMap<String, String>>,
    bytes: Bytes,
) -> Answer {
    let request: Body = read(&bytes)?;
    let _administration = app.administration.lock().await;
    let owner = apps::find(&app, &path).await?;
    let now = clock::now();
    let last = app.store.policies().await?.iter().map(|policy| policy.precedence).max().unwrap_or(0);
    let mut row = PolicyRow {
        id: Uuid::new_v4().to_string(),
        app_id: owner.id,
        name: String::new(),
        decision: String::new(),
        precedence: last + 1,
        include: String::new(),
        require: String::new(),
        exclude: String::new(),
        created_at: now,
        updated_at: now,
    };
    fill(&app, &mut row, &request).await?;
    app.store.put_policy(&row).await?;
    created(shown(&row))
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    Path(path): Path<HashMap<String, String>>,
    bytes: Bytes,
) -> Answer {
    let request: Body = read(&bytes)?;
    let _administration = app.administration.lock().await;
    let mut row = find(&app, &path).await?;
    row.updated_at = clock::now();
    fill(&app, &mut row, &request).await?;
    app.store.put_policy(&row).await?;
    one(shown(&row))
}

pub(super) async fn remove(State(app): State<Arc<App>>, Path(path): Path<HashMap<String, String>>) -> Answer {
    let _administration = app.administration.lock().await;
    let row = find(&app, &path).await?;
    app.store.delete_policy(&row.app_id, &row.id).await?;
    one(json!({ "id": row.id }))
}

async fn find(app: &App, path: &HashMap<String, String>) -> Result<PolicyRow, ApiError> {
    let owner = apps::find(app, path).await?;
    let id = path.get("policy").map(String::as_str).unwrap_or_default();
    let found = app.store.policies().await?.into_iter().find(|row| row.id == id && row.app_id == owner.id);
    found.ok_or_else(|| ApiError::missing("policy"))
}

/// Checks a request and takes it over.
async fn fill(app: &App, row: &mut PolicyRow, request: &Body) -> Result<(), ApiError> {
    unsupported("approval_required", &request.approval_required)?;
    unsupported("isolation_required", &request.isolation_required)?;
    unsupported("purpose_justification_required", &request.purpose_justification_required)?;
    if request.include.is_empty() {
        return Err(ApiError::field("`include` must have at least one rule: an empty one matches nobody"));
    }
    for selector in [&request.include, &request.require, &request.exclude].into_iter().flatten() {
        if let Selector::ServiceToken { token_id } = selector
            && app.store.token(token_id).await?.is_none()
        {
            return Err(ApiError::field(format!(
                "`service_token.token_id` must be a service token's id, got `{token_id}`"
            )));
        }
    }
    row.name = name("name", &request.name)?;
    row.decision = text(&request.decision)?.trim_matches('"').to_owned();
    row.precedence = request.precedence.unwrap_or(row.precedence);
    row.include = text(&request.include)?;
    row.require = text(&request.require)?;
    row.exclude = text(&request.exclude)?;
    Ok(())
}

fn text(value: &impl serde::Serialize) -> Result<String, ApiError> {
    serde_json::to_string(value).map_err(|error| ApiError::field(error.to_string()))
}

/// As the API shows it.
pub(super) fn shown(row: &PolicyRow) -> Value {
    let list = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
    json!({
        "id": row.id,
        "name": row.name,
        "decision": row.decision,
        "precedence": row.precedence,
        "include": list(&row.include),
        "require": list(&row.require),
        "exclude": list(&row.exclude),
        "created_at": clock::rfc3339(row.created_at),
        "updated_at": clock::rfc3339(row.updated_at),
    })
}
