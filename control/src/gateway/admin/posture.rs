//! `/devices/posture`: what devices must be to pass.

use super::body::{description, name, read};
use super::envelope::{Answer, ApiError, many, one};
use super::path::Id;
use crate::gateway::app::App;
use crate::gateway::posture::{OsVersion, SCHEDULE, version};
use crate::gateway::store::{PostureRow, RuleRow};
use crate::gateway::{clock, duration};
use axum::body::Bytes;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// Shortest schedule, by the vendor's limit.
const SHORTEST: i64 = 60_000;
/// Systems that a rule may be for.
const PLATFORMS: [&str; 6] = ["windows", "mac", "linux", "android", "ios", "chromeos"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    description: Option<String>,
    input: Option<Value>,
    #[serde(rename = "match")]
    matching: Option<Vec<Platform>>,
    schedule: Option<String>,
    expiration: Option<String>,
    /// Read back and sent again by SDKs; a rule is deleted, not disabled.
    enabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Platform {
    platform: String,
}

pub(super) async fn list(State(app): State<Arc<App>>) -> Answer {
    many(app.store.posture_rules().await?.iter().map(shown).collect())
}

pub(super) async fn show(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    one(shown(&find(&app, &id).await?))
}

pub(super) async fn create(State(app): State<Arc<App>>, bytes: Bytes) -> Answer {
    let request: Body = read(&bytes)?;
    let _administration = app.administration.lock().await;
    let now = clock::now();
    let row = request.row(Uuid::new_v4().to_string(), now, now)?;
    put(&app, row).await
}

pub(super) async fn update(State(app): State<Arc<App>>, Id(id): Id, bytes: Bytes) -> Answer {
    let request: Body = read(&bytes)?;
    let _administration = app.administration.lock().await;
    let before = find(&app, &id).await?;
    put(&app, request.row(before.id, before.created_at, clock::now())?).await
}

pub(super) async fn remove(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    let _administration = app.administration.lock().await;
    let row = find(&app, &id).await?;
    // Without it a rule that blocks by `checks.failed` would let everybody pass.
    let names = |rule: &RuleRow| rule.device_posture.to_ascii_lowercase().contains(&row.id);
    if let Some(rule) = app.store.rules().await?.iter().find(|rule| names(rule)) {
        return Err(ApiError::conflict(format!("the rule `{}` uses this posture rule: change it first", rule.name)));
    }
    app.store.delete_posture_rule(&row.id).await?;
    app.posture_rules_changed().await?;
    one(json!({ "id": row.id }))
}

async fn find(app: &App, id: &str) -> Result<PostureRow, ApiError> {
    app.store
        .posture_rules()
        .await?
        .into_iter()
        .find(|row| row.id == id)
        .ok_or_else(|| ApiError::missing("posture rule"))
}

async fn put(app: &App, row: PostureRow) -> Answer {
    app.store.put_posture_rule(&row).await?;
    app.posture_rules_changed().await?;
    one(shown(&row))
}

impl Body {
    /// Checks everything.
    fn row(self, id: String, created_at: i64, updated_at: i64) -> Result<PostureRow, ApiError> {
        if self.kind != "os_version" {
            let kind: String = self.kind.chars().take(40).collect();
            let message = format!("`type` `{kind}` is not evaluated by this gateway: expected `os_version`");
            return Err(ApiError::field(message));
        }
        if self.enabled == Some(false) {
            return Err(ApiError::field("`enabled` must be true: delete the rule instead"));
        }
        let input: OsVersion = serde_json::from_value(self.input.unwrap_or_else(|| json!({}))).map_err(|error| {
            ApiError::field(format!(
                "`input` is not that of `os_version` (operating_system, operator, version): {error}"
            ))
        })?;
        let system = input.operating_system.as_str();
        if !PLATFORMS.contains(&system) {
            return Err(ApiError::field(format!("`input.operating_system` must be one of {PLATFORMS:?}")));
        }
        if version(&input.version).is_none() {
            let message =
                format!("`input.version` must be up to four numbers like 10.0.19045, got `{}`", input.version);
            return Err(ApiError::field(message));
        }
        let distribution = !input.os_distro_name.is_empty() || !input.os_distro_revision.is_empty();
        if distribution && system != "linux" {
            return Err(ApiError::field("`input.os_distro_name` and `os_distro_revision` belong to `linux` only"));
        }
        let platforms: Vec<String> =
            self.matching.unwrap_or_default().into_iter().map(|entry| entry.platform).collect();
        if !platforms.is_empty() && !platforms.iter().any(|platform| platform == system) {
            return Err(ApiError::field(format!(
                "`match` must have the platform of `input.operating_system`, `{system}`"
            )));
        }
        let schedule = self.schedule.filter(|text| !text.is_empty()).unwrap_or_else(|| SCHEDULE.to_owned());
        let every = duration::parse(&schedule).ok().filter(|millis| *millis >= SHORTEST);
        let every = every.ok_or_else(|| ApiError::field("`schedule` must be a duration of at least 1m, like `5m`"))?;
        let expiration = self.expiration.unwrap_or_default();
        if !expiration.is_empty() && duration::parse(&expiration).map_or(true, |life| life < every) {
            let message = "`expiration` must be empty, or a duration that is not below `schedule`, like `15m`";
            return Err(ApiError::field(message));
        }
        Ok(PostureRow {
            id,
            name: name("name", &self.name)?,
            description: description(self.description)?,
            kind: self.kind,
            input: json!(input),
            platforms,
            schedule,
            expiration,
            created_at,
            updated_at,
        })
    }
}

fn shown(row: &PostureRow) -> Value {
    json!({
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "type": row.kind,
        "input": row.input,
        "match": row.platforms.iter().map(|platform| json!({ "platform": platform })).collect::<Vec<_>>(),
        "schedule": row.schedule,
        "expiration": row.expiration,
        "enabled": true,
        "created_at": clock::rfc3339(row.created_at),
        "updated_at": clock::rfc3339(row.updated_at),
    })
}
