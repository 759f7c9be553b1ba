//! `/gateway/rules`: network policies.

use super::body::{description, name, read, unsupported};
use super::envelope::{Answer, ApiError, created, many, one};
use crate::gateway::app::App;
use crate::gateway::book::{parse_lists, parse_rule};
use crate::gateway::clock;
use crate::gateway::store::RuleRow;
use crate::rules::RuleAction;
use axum::body::Bytes;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// New rules get a precedence from here up, this far apart, as the vendor's do.
const FIRST: i64 = 1000;
const STEP: i64 = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    name: String,
    action: RuleAction,
    description: Option<String>,
    enabled: Option<bool>,
    precedence: Option<i64>,
    traffic: Option<String>,
    identity: Option<String>,
    filters: Option<Vec<String>>,
    device_posture: Option<Value>,
    rule_settings: Option<Value>,
    schedule: Option<Value>,
    expiration: Option<Value>,
}

pub(super) async fn list(State(app): State<Arc<App>>) -> Answer {
    many(app.store.rules().await?.iter().map(shown).collect())
}

pub(super) async fn show(State(app): State<Arc<App>>, Path(path): Path<HashMap<String, String>>) -> Answer {
    one(shown(&find(&app, &path).await?))
}

pub(super) async fn create(State(app): State<Arc<App>>, bytes: Bytes) -> Answer {
    let request: Body = read(&bytes)?;
    let _administration = app.administration.lock().await;
    let now = clock::now();
    let last = app.store.rules().await?.iter().map(|rule| rule.precedence).max();
    let row = RuleRow {
        id: Uuid::new_v4().to_string(),
        name: String::new(),
        description: String::new(),
        enabled: true,
        action: String::new(),
        precedence: last.map_or(FIRST, |last| last.saturating_add(STEP).max(FIRST)),
        traffic: String::new(),
        identity: String::new(),
        version: 0,
        created_at: now,
        updated_at: now,
    };
    created(shown(&put(&app, row, request).await?))
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
    one(shown(&put(&app, row, request).await?))
}

pub(super) async fn remove(State(app): State<Arc<App>>, Path(path): Path<HashMap<String, String>>) -> Answer {
    let _administration = app.administration.lock().await;
    let row = find(&app, &path).await?;
    app.store.delete_rule(&row.id).await?;
    app.rules_changed().await?;
    one(json!({ "id": row.id }))
}

async fn find(app: &App, path: &HashMap<String, String>) -> Result<RuleRow, ApiError> {
    let id = path.get("id").map(String::as_str).unwrap_or_default();
    app.store.rules().await?.into_iter().find(|row| row.id == id).ok_or_else(|| ApiError::missing("rule"))
}

/// Checks a request, takes it over, stores it and puts it in force.
async fn put(app: &App, mut row: RuleRow, request: Body) -> Result<RuleRow, ApiError> {
    if request.filters.as_ref().is_some_and(|filters| filters.iter().any(|filter| filter != "l4")) {
        return Err(ApiError::field("`filters` must be [\"l4\"]: this gateway has network policies only"));
    }
    unsupported("device_posture", &request.device_posture)?;
    unsupported("rule_settings", &request.rule_settings)?;
    unsupported("schedule", &request.schedule)?;
    unsupported("expiration", &request.expiration)?;
    row.name = name("name", &request.name)?;
    row.description = description(request.description)?;
    row.enabled = request.enabled.unwrap_or(true);
    row.action = if request.action == RuleAction::Allow { "allow" } else { "block" }.to_owned();
    row.precedence = request.precedence.unwrap_or(row.precedence);
    row.traffic = request.traffic.unwrap_or_default();
    row.identity = request.identity.unwrap_or_default();
    row.version += 1;
    let lists = parse_lists(&app.store.lists().await?);
    if let Err(error) = parse_rule(&row, &lists) {
        let field = if crate::rules::Traffic::parse(&row.traffic, &lists).is_err() { "traffic" } else { "identity" };
        return Err(ApiError::field(format!("`{field}`, {error}")));
    }
    app.store.put_rule(&row).await?;
    app.rules_changed().await?;
    Ok(row)
}

fn shown(row: &RuleRow) -> Value {
    json!({
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "enabled": row.enabled,
        "action": row.action,
        "filters": ["l4"],
        "precedence": row.precedence,
        "traffic": row.traffic,
        "identity": row.identity,
        "device_posture": "",
        "version": row.version,
        "created_at": clock::rfc3339(row.created_at),
        "updated_at": clock::rfc3339(row.updated_at),
        "deleted_at": null,
    })
}
