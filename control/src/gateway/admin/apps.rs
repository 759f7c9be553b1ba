//! `/access/apps`: the one application of type `warp`, which is device enrolment.

use super::body::{name, read, unsupported};
use super::envelope::{Answer, ApiError, many, one};
use super::policies;
use crate::gateway::app::App;
use crate::gateway::clock;
use crate::gateway::store::AppRow;
use axum::body::Bytes;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    r#type: String,
    name: Option<String>,
    domain: Option<String>,
    // What follows changes nothing at enrolment.
    #[serde(rename = "session_duration")]
    _session_duration: Option<Value>,
    #[serde(rename = "app_launcher_visible")]
    _app_launcher_visible: Option<Value>,
    // What follows would.
    allowed_idps: Option<Value>,
    auto_redirect_to_identity: Option<Value>,
    policies: Option<Value>,
}

pub(super) async fn list(State(app): State<Arc<App>>) -> Answer {
    let mut out = Vec::new();
    for row in app.store.apps().await? {
        out.push(shown(&app, &row).await?);
    }
    many(out)
}

pub(super) async fn show(State(app): State<Arc<App>>, Path(path): Path<HashMap<String, String>>) -> Answer {
    let row = find(&app, &path).await?;
    one(shown(&app, &row).await?)
}

pub(super) async fn create(State(app): State<Arc<App>>, bytes: Bytes) -> Answer {
    checked(&app, &read(&bytes)?)?;
    let known = app.store.apps().await?;
    let id = known.first().map(|known| known.id.as_str()).unwrap_or_default();
    Err(ApiError::conflict(format!("there is one application of type `warp`, made with the gateway: its id is {id}")))
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    Path(path): Path<HashMap<String, String>>,
    bytes: Bytes,
) -> Answer {
    let request: Body = read(&bytes)?;
    checked(&app, &request)?;
    let _administration = app.administration.lock().await;
    let mut row = find(&app, &path).await?;
    if let Some(new) = request.name {
        row.name = name("name", &new)?;
    }
    row.updated_at = clock::now();
    app.store.put_app(&row).await?;
    one(shown(&app, &row).await?)
}

fn checked(app: &App, body: &Body) -> Result<(), ApiError> {
    if body.r#type != "warp" {
        return Err(ApiError::field(format!("`type` must be `warp` (device enrolment), got `{}`", body.r#type)));
    }
    let ours = domain(app);
    if body.domain.as_ref().is_some_and(|domain| !domain.eq_ignore_ascii_case(&ours)) {
        return Err(ApiError::field(format!("`domain` must be `{ours}`, or left out")));
    }
    unsupported("allowed_idps", &body.allowed_idps)?;
    unsupported("auto_redirect_to_identity", &body.auto_redirect_to_identity)?;
    unsupported("policies", &body.policies)
}

/// The application of a path.
pub(super) async fn find(app: &App, path: &HashMap<String, String>) -> Result<AppRow, ApiError> {
    let id = path.get("id").map(String::as_str).unwrap_or_default();
    app.store.apps().await?.into_iter().find(|row| row.id == id).ok_or_else(|| ApiError::missing("application"))
}

fn domain(app: &App) -> String {
    format!("{}.cloudflareaccess.com/warp", app.settings.organization.to_lowercase())
}

async fn shown(app: &App, row: &AppRow) -> Result<Value, ApiError> {
    let policies = app.store.policies().await?;
    let mine: Vec<Value> = policies.iter().filter(|policy| policy.app_id == row.id).map(policies::shown).collect();
    Ok(json!({
        "id": row.id,
        "uid": row.id,
        "type": "warp",
        "name": row.name,
        "domain": domain(app),
        "allowed_idps": [],
        "auto_redirect_to_identity": false,
        "app_launcher_visible": false,
        "policies": mine,
        "created_at": clock::rfc3339(row.created_at),
        "updated_at": clock::rfc3339(row.updated_at),
    }))
}
