//! `/access/apps`: the one application of type `warp`, which is device enrolment.

use super::access_rules::provider;
use super::body::{name, read, unsupported};
use super::envelope::{Answer, ApiError, many, one};
use super::path::Id;
use super::policies;
use crate::gateway::access::LOCAL_ACCOUNTS;
use crate::gateway::app::App;
use crate::gateway::clock;
use crate::gateway::store::{AppRow, AppSettings};
use crate::rules::access_domain;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderName;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;

/// What is left out stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    r#type: String,
    name: Option<String>,
    domain: Option<String>,
    allowed_idps: Option<Vec<String>>,
    auto_redirect_to_identity: Option<bool>,
    app_launcher_visible: Option<bool>,
    session_duration: Option<String>,
    read_service_tokens_from_header: Option<String>,
    policies: Option<Vec<Value>>,
    custom_deny_url: Option<Value>,
    custom_non_identity_deny_url: Option<Value>,
    custom_pages: Option<Value>,
    tags: Option<Value>,
}

/// A policy that is there already, made under the application or under `/access/policies`; its id alone does, too.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Placed {
    id: String,
    precedence: Option<i64>,
}

pub(super) async fn list(State(app): State<Arc<App>>) -> Answer {
    let mut out = Vec::new();
    for row in app.store.apps().await? {
        out.push(shown(&app, &row).await?);
    }
    many(out)
}

pub(super) async fn show(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    let row = find(&app, &id).await?;
    one(shown(&app, &row).await?)
}

pub(super) async fn create(State(app): State<Arc<App>>, bytes: Bytes) -> Answer {
    checked(&app, &read(&bytes)?)?;
    let known = app.store.apps().await?;
    let id = known.first().map(|known| known.id.as_str()).unwrap_or_default();
    Err(ApiError::conflict(format!("there is one application of type `warp`, made with the gateway: its id is {id}")))
}

pub(super) async fn update(State(app): State<Arc<App>>, Id(id): Id, bytes: Bytes) -> Answer {
    let request: Body = read(&bytes)?;
    checked(&app, &request)?;
    let _administration = app.administration.lock().await;
    let mut row = find(&app, &id).await?;
    if let Some(new) = &request.name {
        row.name = name("name", new)?;
    }
    settings(&app, &mut row.settings, &request).await?;
    let policies = match &request.policies {
        Some(links) => Some(placed(&app, &row.id, links).await?),
        None => None,
    };
    row.updated_at = clock::now();
    app.store.put_app(&row, policies.as_deref()).await?;
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
    unsupported("custom_deny_url", &body.custom_deny_url)?;
    unsupported("custom_non_identity_deny_url", &body.custom_non_identity_deny_url)?;
    unsupported("custom_pages", &body.custom_pages)?;
    unsupported("tags", &body.tags)
}

async fn settings(app: &App, settings: &mut AppSettings, body: &Body) -> Result<(), ApiError> {
    if let Some(ids) = &body.allowed_idps {
        for id in ids {
            provider(app, "allowed_idps", id, true).await?;
        }
        settings.allowed_idps.clone_from(ids);
    }
    settings.auto_redirect_to_identity = body.auto_redirect_to_identity.unwrap_or(settings.auto_redirect_to_identity);
    settings.app_launcher_visible = body.app_launcher_visible.unwrap_or(settings.app_launcher_visible);
    if let Some(duration) = &body.session_duration {
        settings.session_duration = Some(policies::session_duration(duration)?);
    }
    if let Some(header) = &body.read_service_tokens_from_header {
        settings.read_service_tokens_from_header = token_header(header)?;
    }
    let one_provider = matches!(settings.allowed_idps.as_slice(), [id] if id != LOCAL_ACCOUNTS);
    if settings.auto_redirect_to_identity && !one_provider {
        let message =
            "`auto_redirect_to_identity` needs exactly one identity provider in `allowed_idps`, and not `local`";
        return Err(ApiError::field(message));
    }
    Ok(())
}

/// The name of a header; an empty one is none.
fn token_header(name: &str) -> Result<Option<String>, ApiError> {
    let wrong = |got: &str| {
        let expected = "the name of a header that calls do not use otherwise, like `Authorization`";
        ApiError::field(format!("`read_service_tokens_from_header` must be {expected}, got `{got}`"))
    };
    let used = ["host", "content-type", "content-length", "transfer-encoding", "connection", "cookie"];
    if used.iter().any(|used| name.eq_ignore_ascii_case(used)) || name.len() > 100 {
        return Err(wrong(name));
    }
    if name.is_empty() {
        return Ok(None);
    }
    HeaderName::try_from(name).map(|_| Some(name.to_owned())).map_err(|_| wrong(name))
}

/// Which policies the application is to use, and at which precedence: their order, unless they say another.
async fn placed(app: &App, app_id: &str, links: &[Value]) -> Result<Vec<(String, i64)>, ApiError> {
    let known = app.store.policies().await?;
    let mut seen = HashSet::new();
    let place = |(index, link): (usize, &Value)| {
        let Placed { id, precedence } = match link {
            Value::String(id) => Placed { id: id.clone(), precedence: None },
            link => serde_json::from_value(link.clone()).map_err(|error| {
                let expected = "a policy's id, or {\"id\", \"precedence\"} (make policies by calls of their own)";
                ApiError::field(format!("`policies[{index}]` must be {expected}: {error}"))
            })?,
        };
        if !known.iter().any(|policy| policy.id == id && policy.app_id == app_id) {
            return Err(ApiError::field(format!("`policies[{index}]` must be a policy's id, got `{id}`")));
        }
        if !seen.insert(id.clone()) {
            return Err(ApiError::field(format!("`policies[{index}]` must not name a policy twice, got `{id}`")));
        }
        Ok((id, precedence.unwrap_or(i64::try_from(index).unwrap_or(i64::MAX).saturating_add(1))))
    };
    links.iter().enumerate().map(place).collect()
}

/// The application of a path.
pub(super) async fn find(app: &App, id: &str) -> Result<AppRow, ApiError> {
    app.store.apps().await?.into_iter().find(|row| row.id == id).ok_or_else(|| ApiError::missing("application"))
}

fn domain(app: &App) -> String {
    format!("{}/warp", access_domain(&app.settings.organization))
}

async fn shown(app: &App, row: &AppRow) -> Result<Value, ApiError> {
    let mine: Vec<Value> = policies::attached(app, &row.id).await?.iter().map(policies::shown).collect();
    let settings = &row.settings;
    Ok(json!({
        "id": row.id,
        "uid": row.id,
        "type": "warp",
        "name": row.name,
        "domain": domain(app),
        "allowed_idps": settings.allowed_idps,
        "auto_redirect_to_identity": settings.auto_redirect_to_identity,
        "app_launcher_visible": settings.app_launcher_visible,
        "session_duration": settings.session_duration,
        "read_service_tokens_from_header": settings.read_service_tokens_from_header,
        "policies": mine,
        "created_at": clock::rfc3339(row.created_at),
        "updated_at": clock::rfc3339(row.updated_at),
    }))
}
