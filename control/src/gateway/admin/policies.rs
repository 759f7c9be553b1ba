//! `/access/apps/{id}/policies` and `/access/policies`: who may enrol.
//!
//! A policy made under the application belongs to it. One made under `/access/policies` is reusable: it decides
//! something while the application's `policies` name it.

use super::access_rules;
use super::apps;
use super::body::{name, read, unsupported};
use super::envelope::{Answer, ApiError, created, many, one};
use super::path::{Id, PolicyId};
use crate::gateway::access::{Decision, References};
use crate::gateway::app::App;
use crate::gateway::store::PolicyRow;
use crate::gateway::{clock, duration};
use axum::body::Bytes;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    name: String,
    decision: Decision,
    precedence: Option<i64>,
    include: Vec<Value>,
    #[serde(default)]
    require: Vec<Value>,
    #[serde(default)]
    exclude: Vec<Value>,
    session_duration: Option<String>,
    approval_required: Option<Value>,
    approval_groups: Option<Value>,
    isolation_required: Option<Value>,
    purpose_justification_required: Option<Value>,
    purpose_justification_prompt: Option<Value>,
    connection_rules: Option<Value>,
    mfa_config: Option<Value>,
}

pub(super) async fn list(State(app): State<Arc<App>>, Id(app_id): Id) -> Answer {
    let row = apps::find(&app, &app_id).await?;
    many(attached(&app, &row.id).await?.iter().map(shown).collect())
}

/// The policies that an application uses, by precedence.
pub(super) async fn attached(app: &App, app_id: &str) -> Result<Vec<PolicyRow>, ApiError> {
    let mut policies = app.store.policies().await?;
    policies.retain(|policy| policy.attached && policy.app_id == app_id);
    Ok(policies)
}

pub(super) async fn show(State(app): State<Arc<App>>, Id(app_id): Id, PolicyId(id): PolicyId) -> Answer {
    one(shown(&find(&app, &app_id, &id).await?))
}

pub(super) async fn create(State(app): State<Arc<App>>, Id(app_id): Id, bytes: Bytes) -> Answer {
    let request: Body = read(&bytes)?;
    let _administration = app.administration.lock().await;
    let owner = apps::find(&app, &app_id).await?;
    make(&app, owner.id, false, &request).await
}

async fn make(app: &App, app_id: String, reusable: bool, request: &Body) -> Answer {
    let now = clock::now();
    let last = app.store.policies().await?.iter().map(|policy| policy.precedence).max().unwrap_or(0);
    let mut row = PolicyRow {
        id: Uuid::new_v4().to_string(),
        app_id,
        precedence: last.saturating_add(1),
        reusable,
        attached: !reusable,
        created_at: now,
        updated_at: now,
        ..PolicyRow::default()
    };
    fill(app, &mut row, request).await?;
    app.store.put_policy(&row).await?;
    created(shown(&row))
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    Id(app_id): Id,
    PolicyId(id): PolicyId,
    bytes: Bytes,
) -> Answer {
    let request: Body = read(&bytes)?;
    let _administration = app.administration.lock().await;
    let row = own(find(&app, &app_id, &id).await?)?;
    change(&app, row, &request).await
}

async fn change(app: &App, mut row: PolicyRow, request: &Body) -> Answer {
    row.updated_at = clock::now();
    fill(app, &mut row, request).await?;
    app.store.put_policy(&row).await?;
    one(shown(&row))
}

pub(super) async fn remove(State(app): State<Arc<App>>, Id(app_id): Id, PolicyId(id): PolicyId) -> Answer {
    let _administration = app.administration.lock().await;
    let row = own(find(&app, &app_id, &id).await?)?;
    app.store.delete_policy(&row.app_id, &row.id).await?;
    one(json!({ "id": row.id }))
}

pub(super) async fn list_reusable(State(app): State<Arc<App>>) -> Answer {
    many(app.store.policies().await?.iter().filter(|policy| policy.reusable).map(shown).collect())
}

pub(super) async fn show_reusable(State(app): State<Arc<App>>, PolicyId(id): PolicyId) -> Answer {
    one(shown(&find_reusable(&app, &id).await?))
}

pub(super) async fn create_reusable(State(app): State<Arc<App>>, bytes: Bytes) -> Answer {
    let request: Body = read(&bytes)?;
    let _administration = app.administration.lock().await;
    let owner = app.store.apps().await?.into_iter().next().ok_or_else(|| ApiError::missing("application"))?;
    make(&app, owner.id, true, &request).await
}

pub(super) async fn update_reusable(State(app): State<Arc<App>>, PolicyId(id): PolicyId, bytes: Bytes) -> Answer {
    let request: Body = read(&bytes)?;
    let _administration = app.administration.lock().await;
    let row = find_reusable(&app, &id).await?;
    change(&app, row, &request).await
}

pub(super) async fn remove_reusable(State(app): State<Arc<App>>, PolicyId(id): PolicyId) -> Answer {
    let _administration = app.administration.lock().await;
    let row = find_reusable(&app, &id).await?;
    if row.attached {
        let message = "the application uses this policy: take it out of the application's `policies` first";
        return Err(ApiError::conflict(message));
    }
    app.store.delete_policy(&row.app_id, &row.id).await?;
    one(json!({ "id": row.id }))
}

async fn find(app: &App, app_id: &str, id: &str) -> Result<PolicyRow, ApiError> {
    let owner = apps::find(app, app_id).await?;
    let found = attached(app, &owner.id).await?.into_iter().find(|row| row.id == id);
    found.ok_or_else(|| ApiError::missing("policy"))
}

async fn find_reusable(app: &App, id: &str) -> Result<PolicyRow, ApiError> {
    let found = app.store.policies().await?.into_iter().find(|row| row.reusable && row.id == id);
    found.ok_or_else(|| ApiError::missing("reusable policy"))
}

/// A policy that the application owns.
fn own(row: PolicyRow) -> Result<PolicyRow, ApiError> {
    if row.reusable {
        return Err(ApiError::conflict("this policy is reusable: change it under /access/policies"));
    }
    Ok(row)
}

/// Checks a request and takes it over.
async fn fill(app: &App, row: &mut PolicyRow, request: &Body) -> Result<(), ApiError> {
    unsupported("approval_required", &request.approval_required)?;
    unsupported("approval_groups", &request.approval_groups)?;
    unsupported("isolation_required", &request.isolation_required)?;
    unsupported("purpose_justification_required", &request.purpose_justification_required)?;
    unsupported("purpose_justification_prompt", &request.purpose_justification_prompt)?;
    unsupported("connection_rules", &request.connection_rules)?;
    unsupported("mfa_config", &request.mfa_config)?;
    let references = References::load(&app.store).await?;
    let rules = access_rules::read(app, &references, &request.include, &request.require, &request.exclude).await?;
    row.name = name("name", &request.name)?;
    row.decision = serde_json::to_value(request.decision)
        .ok()
        .and_then(|value| Some(value.as_str()?.to_owned()))
        .unwrap_or_default();
    row.precedence = request.precedence.unwrap_or(row.precedence);
    row.include = access_rules::text(&rules.include)?;
    row.require = access_rules::text(&rules.require)?;
    row.exclude = access_rules::text(&rules.exclude)?;
    row.session_duration = request.session_duration.as_deref().map(session_duration).transpose()?;
    Ok(())
}

/// How long a session lasts, as the vendor writes it. Kept and shown: here every enrolment asks for a login of its own.
pub(super) fn session_duration(text: &str) -> Result<String, ApiError> {
    match duration::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        // At once.
        Err(_) if text == "0s" => Ok(text.to_owned()),
        Err(expected) => Err(ApiError::field(format!("`session_duration` must be {expected}, got `{text}`"))),
    }
}

/// As the API shows it.
pub(super) fn shown(row: &PolicyRow) -> Value {
    let mut value = json!({
        "id": row.id,
        "uid": row.id,
        "name": row.name,
        "decision": row.decision,
        "precedence": row.precedence,
        "include": access_rules::shown(&row.include),
        "require": access_rules::shown(&row.require),
        "exclude": access_rules::shown(&row.exclude),
        "session_duration": row.session_duration,
        "reusable": row.reusable,
        "created_at": clock::rfc3339(row.created_at),
        "updated_at": clock::rfc3339(row.updated_at),
    });
    if row.reusable {
        value["app_count"] = i64::from(row.attached).into();
    }
    value
}
