//! `/gateway/rules`: network policies.

use super::body::{description, name, read, says_nothing};
use super::envelope::{Answer, ApiError, created, many, one};
use super::path::Id;
use super::rule_settings::{self, ACTIONS};
use crate::gateway::app::App;
use crate::gateway::book::parse_rule;
use crate::gateway::clock;
use crate::gateway::store::RuleRow;
use axum::body::Bytes;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// New rules get a precedence from here up, this far apart, as the vendor's do.
const FIRST: i64 = 1000;
const STEP: i64 = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    name: String,
    action: String,
    description: Option<String>,
    enabled: Option<bool>,
    precedence: Option<i64>,
    traffic: Option<String>,
    identity: Option<String>,
    device_posture: Option<String>,
    filters: Option<Vec<String>>,
    rule_settings: Option<Value>,
    schedule: Option<Value>,
    expiration: Option<Value>,
}

pub(super) async fn list(State(app): State<Arc<App>>) -> Answer {
    many(app.store.rules().await?.iter().map(shown).collect())
}

pub(super) async fn show(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    one(shown(&find(&app, &id).await?))
}

pub(super) async fn create(State(app): State<Arc<App>>, bytes: Bytes) -> Answer {
    let request: Body = read(&bytes)?;
    let administration = app.administration.lock().await;
    let now = clock::now();
    let last = app.store.last_precedence().await?;
    let row = RuleRow {
        id: Uuid::new_v4().to_string(),
        name: String::new(),
        description: String::new(),
        enabled: true,
        action: String::new(),
        precedence: last.map_or(FIRST, |last| last.saturating_add(STEP).max(FIRST)),
        traffic: String::new(),
        identity: String::new(),
        device_posture: String::new(),
        settings: String::new(),
        version: 0,
        created_at: now,
        updated_at: now,
    };
    let row = put(&app, row, request).await?;
    drop(administration);
    app.rules_changed().await?;
    created(shown(&row))
}

pub(super) async fn update(State(app): State<Arc<App>>, Id(id): Id, bytes: Bytes) -> Answer {
    let request: Body = read(&bytes)?;
    let administration = app.administration.lock().await;
    let mut row = find(&app, &id).await?;
    row.updated_at = clock::now();
    let row = put(&app, row, request).await?;
    drop(administration);
    app.rules_changed().await?;
    one(shown(&row))
}

pub(super) async fn remove(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    let administration = app.administration.lock().await;
    let row = find(&app, &id).await?;
    app.store.delete_rule(&row.id).await?;
    drop(administration);
    app.rules_changed().await?;
    one(json!({ "id": row.id }))
}

async fn find(app: &App, id: &str) -> Result<RuleRow, ApiError> {
    app.store.rule(id).await?.ok_or_else(|| ApiError::missing("rule"))
}

/// Checks a request, takes it over and stores it.
async fn put(app: &App, mut row: RuleRow, request: Body) -> Result<RuleRow, ApiError> {
    if request.filters.as_ref().is_some_and(|filters| filters.iter().any(|filter| filter != "l4")) {
        return Err(ApiError::field("`filters` must be [\"l4\"]: this gateway has network policies only"));
    }
    for (field, value) in [("schedule", &request.schedule), ("expiration", &request.expiration)] {
        if value.as_ref().is_some_and(|value| !says_nothing(value)) {
            return Err(ApiError::field(format!(
                "`{field}` belongs to DNS rules, and there are none here: leave it out"
            )));
        }
    }
    row.name = name("name", &request.name)?;
    row.description = description(request.description)?;
    row.enabled = request.enabled.unwrap_or(true);
    row.action =
        ACTIONS.iter().find(|action| **action == request.action).map(|action| (*action).to_owned()).ok_or_else(
            || match request.action.as_str() {
                "audit_ssh" => ApiError::field(
                    "`action` `audit_ssh` is refused: it would need SSH to end at the gateway; allow or block SSH by \
                 `net.detected_protocol`",
                ),
                other => ApiError::field(format!("`action` must be `{}`, got `{other}`", ACTIONS.join("`, `"))),
            },
        )?;
    row.precedence = request.precedence.unwrap_or(row.precedence);
    row.traffic = request.traffic.unwrap_or_default();
    row.identity = request.identity.unwrap_or_default();
    row.device_posture = request.device_posture.unwrap_or_default();
    row.settings = rule_settings::checked(&row.action, request.rule_settings)?;
    row.version += 1;
    if [&row.traffic, &row.identity, &row.device_posture].iter().any(|text| text.contains('$')) {
        // A list may be deleted on disk, and not in the book yet.
        app.rules_changed().await?;
    }
    let wrong = |(field, error)| ApiError::field(format!("`{field}`, {error}"));
    parse_rule(&row, app.book().lists()).map_err(wrong)?;
    app.store.put_rule(&row).await?;
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
        "device_posture": row.device_posture,
        "rule_settings": serde_json::from_str::<Value>(&row.settings).unwrap_or_default(),
        "version": row.version,
        "created_at": clock::rfc3339(row.created_at),
        "updated_at": clock::rfc3339(row.updated_at),
        "deleted_at": null,
    })
}
