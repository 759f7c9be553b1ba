//! `/tokens`: API tokens with permissions. A token hands on no more than it has itself.

use super::body::{name, read, read_or_empty};
use super::envelope::{Answer, ApiError, created, many, one};
use super::grants::{self, Condition, Policy};
use super::path::Id;
use super::permission::{Caller, Permission, SCOPE};
use super::query::{descending, parameters, refused};
use crate::gateway::app::App;
use crate::gateway::clock;
use crate::gateway::secret::{API_TOKEN, id, with_prefix};
use crate::gateway::store::{ApiTokenRow, Millis};
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    name: String,
    policies: Vec<Policy>,
    condition: Option<Condition>,
    expires_on: Option<String>,
    not_before: Option<String>,
    status: Option<Status>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Active,
    Disabled,
    /// As it is shown: nothing is asked for by sending it back.
    Expired,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// Without `include_expired=true` only those that can still be used.
pub(super) async fn list(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer {
    let (mut tokens, now) = (app.store.api_tokens().await?, clock::now());
    let (mut expired, mut newest_first) = (false, false);
    for (parameter, value) in parameters(query.as_deref()) {
        match parameter.as_str() {
            "include_expired" => expired = value == "true",
            "direction" => newest_first = descending("direction", &value)?,
            "page" | "per_page" => {}
            _ => return Err(refused(&parameter)),
        }
    }
    tokens.retain(|token| expired || status(token, now) != "expired");
    if newest_first {
        tokens.reverse();
    }
    many(tokens.iter().map(shown).collect())
}

pub(super) async fn show(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    one(shown(&find(&app, &id).await?))
}

pub(super) async fn create(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, bytes: Bytes) -> Answer {
    let request: Body = read(&bytes)?;
    let (secret, now) = (with_prefix(API_TOKEN)?, clock::now());
    let mut token = ApiTokenRow {
        id: id()?,
        name: String::new(),
        policies: String::new(),
        condition: String::new(),
        enabled: true,
        not_before: None,
        expires_at: None,
        created_at: now,
        updated_at: now,
        last_seen_at: None,
    };
    fill(&app, &caller, &mut token, request)?;
    app.store.put_api_token(&token, Some(&secret.hash())).await?;
    let mut shown = shown(&token);
    shown["value"] = secret.expose().into();
    created(shown)
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    bytes: Bytes,
) -> Answer {
    let request: Body = read(&bytes)?;
    let mut token = find(&app, &id).await?;
    within(&caller, &grants::of(&token))?;
    token.updated_at = clock::now();
    fill(&app, &caller, &mut token, request)?;
    app.store.put_api_token(&token, None).await?;
    one(shown(&token))
}

/// A new secret; the old one ends at once.
pub(super) async fn roll(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    bytes: Bytes,
) -> Answer {
    let Nothing {} = read_or_empty(&bytes)?;
    let mut token = find(&app, &id).await?;
    within(&caller, &grants::of(&token))?;
    let secret = with_prefix(API_TOKEN)?;
    token.updated_at = clock::now();
    app.store.put_api_token(&token, Some(&secret.hash())).await?;
    one(secret.expose())
}

pub(super) async fn remove(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    let token = find(&app, &id).await?;
    app.store.delete_api_token(&token.id).await?;
    one(json!({ "id": token.id }))
}

/// Whether the token of this very call works.
pub(super) async fn verify(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>) -> Answer {
    let token = app.store.api_token(&caller.id).await?;
    let time = |at: Option<Millis>| at.map(clock::rfc3339);
    one(json!({
        "id": caller.id,
        "status": "active",
        "not_before": token.as_ref().and_then(|token| time(token.not_before)),
        "expires_on": token.as_ref().and_then(|token| time(token.expires_at)),
    }))
}

/// What API tokens can be allowed.
pub(super) async fn permission_groups(RawQuery(query): RawQuery) -> Answer {
    let mut groups: Vec<Permission> = Permission::all().collect();
    for (parameter, value) in parameters(query.as_deref()) {
        match parameter.as_str() {
            "name" => groups.retain(|group| group.name() == value),
            "scope" if value == SCOPE => {}
            "scope" => groups.clear(),
            "page" | "per_page" => {}
            _ => return Err(refused(&parameter)),
        }
    }
    many(groups.iter().map(|group| json!({ "id": group.id(), "name": group.name(), "scopes": [SCOPE] })).collect())
}

async fn find(app: &App, id: &str) -> Result<ApiTokenRow, ApiError> {
    app.store.api_token(id).await?.ok_or_else(|| ApiError::missing("API token"))
}

/// Checks a request and takes it over.
fn fill(app: &App, caller: &Caller, token: &mut ApiTokenRow, mut request: Body) -> Result<(), ApiError> {
    let granted = grants::check(&mut request.policies, &app.settings.account_id)?;
    within(caller, &granted)?;
    let condition = request.condition.unwrap_or_default();
    condition.check()?;
    token.name = name("name", &request.name)?;
    token.not_before = time("not_before", request.not_before.as_deref())?;
    token.expires_at = time("expires_on", request.expires_on.as_deref())?;
    match request.status {
        Some(Status::Active) => token.enabled = true,
        Some(Status::Disabled) => token.enabled = false,
        Some(Status::Expired) | None => {}
    }
    token.policies = text(&request.policies)?;
    token.condition = text(&condition)?;
    Ok(())
}

fn text(value: &impl serde::Serialize) -> Result<String, ApiError> {
    serde_json::to_string(value).map_err(|error| ApiError::field(error.to_string()))
}

fn time(field: &str, text: Option<&str>) -> Result<Option<Millis>, ApiError> {
    text.map(|text| super::query::time(field, text)).transpose()
}

/// Nobody makes, changes or takes over a token that may do more than they may.
fn within(caller: &Caller, granted: &[Permission]) -> Result<(), ApiError> {
    granted.iter().try_for_each(|permission| caller.require(*permission))
}

/// `active`, `disabled` or `expired`.
pub(super) fn status(token: &ApiTokenRow, now: Millis) -> &'static str {
    match token.expires_at {
        _ if !token.enabled => "disabled",
        Some(end) if now >= end => "expired",
        _ => "active",
    }
}

fn shown(token: &ApiTokenRow) -> Value {
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
    json!({
        "id": token.id,
        "name": token.name,
        "status": status(token, clock::now()),
        "policies": json(&token.policies),
        "condition": json(&token.condition),
        "issued_on": clock::rfc3339(token.created_at),
        "modified_on": clock::rfc3339(token.updated_at),
        "not_before": token.not_before.map(clock::rfc3339),
        "expires_on": token.expires_at.map(clock::rfc3339),
        "last_seen_at": token.last_seen_at.map(clock::rfc3339),
        "last_used_on": token.last_seen_at.map(clock::rfc3339),
    })
}
