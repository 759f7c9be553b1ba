//! `/access/service_tokens`

use super::body::{name, read, read_or_empty, unsupported};
use super::envelope::{Answer, ApiError, created, many, one};
use super::path::Id;
use super::query::{parameters, refused};
use crate::gateway::access::{Reference, user_of};
use crate::gateway::app::App;
use crate::gateway::secret::{SERVICE_TOKEN, id, with_prefix};
use crate::gateway::store::{Millis, TokenRow};
use crate::gateway::{clock, duration};
use crate::secret::Secret;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// A year: what `refresh` adds.
const YEAR: Millis = 365 * 86_400_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    name: String,
    duration: Option<String>,
    enabled: Option<bool>,
    client_secret_version: Option<i64>,
    previous_client_secret_expires_at: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    name: Option<String>,
    duration: Option<String>,
    enabled: Option<bool>,
    client_secret_version: Option<i64>,
    previous_client_secret_expires_at: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotate {
    previous_client_secret_expires_at: Option<String>,
}

/// `name` is a whole name, `search` a part of it.
pub(super) async fn list(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer {
    let mut tokens = app.store.tokens().await?;
    for (parameter, value) in parameters(query.as_deref()) {
        match parameter.as_str() {
            "name" => tokens.retain(|token| token.name == value),
            "search" => tokens.retain(|token| token.name.to_lowercase().contains(&value.to_lowercase())),
            "page" | "per_page" => {}
            _ => return Err(refused(&parameter)),
        }
    }
    many(tokens.iter().map(shown).collect())
}

pub(super) async fn show(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    one(shown(&find(&app, &id).await?))
}

pub(super) async fn create(State(app): State<Arc<App>>, bytes: Bytes) -> Answer {
    let request: Create = read(&bytes)?;
    unsupported("previous_client_secret_expires_at", &request.previous_client_secret_expires_at)?;
    if let Some(version) = request.client_secret_version.filter(|version| *version != 1) {
        return Err(ApiError::field(format!("`client_secret_version` of a new token must be 1, got {version}")));
    }
    let (now, secret) = (clock::now(), with_prefix(SERVICE_TOKEN)?);
    let duration = request.duration.unwrap_or_else(|| duration::DEFAULT.to_owned());
    let token = TokenRow {
        id: Uuid::new_v4().to_string(),
        name: name("name", &request.name)?,
        client_id: format!("{}.access", id()?),
        secret_hash: secret.hash(),
        secret_version: 1,
        previous_hash: None,
        previous_expires_at: None,
        expires_at: now + life(&duration)?,
        duration,
        enabled: request.enabled.unwrap_or(true),
        created_at: now,
        updated_at: now,
        last_seen_at: None,
    };
    let _administration = app.administration.lock().await;
    let (limit, there_are) = (app.store.service_token_rules().await?.limit, app.store.tokens().await?.len());
    if i64::try_from(there_are).unwrap_or(i64::MAX) >= limit {
        let message = format!(
            "there are {there_are} service tokens already: delete one, or raise `service_token_limit` in \
             vestibule/settings"
        );
        return Err(ApiError::conflict(message));
    }
    app.store.put_token(&token).await?;
    created(with_secret(&token, &secret))
}

pub(super) async fn update(State(app): State<Arc<App>>, Id(id): Id, bytes: Bytes) -> Answer {
    let request: Update = read(&bytes)?;
    let _administration = app.administration.lock().await;
    let (mut token, now) = (find(&app, &id).await?, clock::now());
    if let Some(new) = request.name {
        token.name = name("name", &new)?;
    }
    if let Some(new) = request.duration {
        token.expires_at = now + life(&new)?;
        token.duration = new;
    }
    if let Some(enabled) = request.enabled {
        token.enabled = enabled;
        if !enabled {
            (token.previous_hash, token.previous_expires_at) = (None, None);
        }
    }
    let mut fresh = None;
    if let Some(version) = request.client_secret_version.filter(|version| *version != token.secret_version) {
        if version != token.secret_version + 1 {
            let message =
                format!("`client_secret_version` must be {} to rotate, got {version}", token.secret_version + 1);
            return Err(ApiError::field(message));
        }
        fresh = Some(replace_secret(&mut token)?);
    }
    if let Some(until) = &request.previous_client_secret_expires_at {
        token.previous_expires_at = Some(time(until)?);
    }
    token.updated_at = now;
    app.store.put_token(&token).await?;
    app.revoke_with_tokens().await?;
    one(match fresh {
        Some(secret) => with_secret(&token, &secret),
        None => shown(&token),
    })
}

pub(super) async fn rotate(State(app): State<Arc<App>>, Id(id): Id, bytes: Bytes) -> Answer {
    let request: Rotate = read_or_empty(&bytes)?;
    let _administration = app.administration.lock().await;
    let mut token = find(&app, &id).await?;
    let secret = replace_secret(&mut token)?;
    match &request.previous_client_secret_expires_at {
        Some(until) => token.previous_expires_at = Some(time(until)?),
        None => (token.previous_hash, token.previous_expires_at) = (None, None),
    }
    token.updated_at = clock::now();
    app.store.put_token(&token).await?;
    one(with_secret(&token, &secret))
}

pub(super) async fn refresh(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    let _administration = app.administration.lock().await;
    let (mut token, now) = (find(&app, &id).await?, clock::now());
    token.expires_at = now + YEAR;
    token.duration = duration::DEFAULT.to_owned();
    token.updated_at = now;
    app.store.put_token(&token).await?;
    one(shown(&token))
}

pub(super) async fn remove(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    let _administration = app.administration.lock().await;
    let token = find(&app, &id).await?;
    if let Some(user) = user_of(&app.store, Reference::Token(&token.id)).await? {
        return Err(ApiError::conflict(format!("{user} uses this service token: remove it there first")));
    }
    app.store.delete_token(&token.id).await?;
    app.revoke_with_tokens().await?;
    one(shown(&token))
}

async fn find(app: &App, id: &str) -> Result<TokenRow, ApiError> {
    app.store.token(id).await?.ok_or_else(|| ApiError::missing("service token"))
}

/// A new secret; the old one becomes the previous.
fn replace_secret(token: &mut TokenRow) -> Result<Secret, ApiError> {
    let secret = with_prefix(SERVICE_TOKEN)?;
    token.previous_hash = Some(std::mem::replace(&mut token.secret_hash, secret.hash()));
    token.previous_expires_at = None;
    token.secret_version += 1;
    Ok(secret)
}

fn life(text: &str) -> Result<Millis, ApiError> {
    duration::parse(text).map_err(|expected| ApiError::field(format!("`duration` must be {expected}, got `{text}`")))
}

fn time(text: &str) -> Result<Millis, ApiError> {
    clock::parse(text).ok_or_else(|| {
        let expected = "a time like 2027-01-31T12:00:00Z";
        ApiError::field(format!("`previous_client_secret_expires_at` must be {expected}, got `{text}`"))
    })
}

fn shown(token: &TokenRow) -> Value {
    json!({
        "id": token.id,
        "name": token.name,
        "client_id": token.client_id,
        "client_secret_version": token.secret_version,
        "previous_client_secret_expires_at": token.previous_expires_at.map(clock::rfc3339),
        "duration": token.duration,
        "expires_at": clock::rfc3339(token.expires_at),
        "enabled": token.enabled,
        "created_at": clock::rfc3339(token.created_at),
        "updated_at": clock::rfc3339(token.updated_at),
        "last_seen_at": token.last_seen_at.map(clock::rfc3339),
    })
}

fn with_secret(token: &TokenRow, secret: &Secret) -> Value {
    let mut value = shown(token);
    value["client_secret"] = secret.expose().into();
    value
}

#[cfg(test)]
mod tests {
    /// What the vendor's documents say of service tokens.
    const CONSTRUCTS: &[&str] = &[
        "create: client_id (32 hex + .access), client_secret once",
        "list, read, update",
        "duration",
        "rotate, with and without grace",
        "refresh",
        "enabled: false",
        "delete, refused while a policy uses it",
        "last_seen_at",
        "secret of 64 hex digits",
        "secret cfast_... with checksum",
        "strict 401 and 403",
        "half or double credentials",
        "read_service_tokens_from_header",
        "zone-scoped tokens",
        "limit of 50",
        "service_token_inactivity",
        "alert before expiry",
        "secrets in logs, database, answers",
        "revocation under traffic",
    ];

    #[test]
    fn every_construct_has_its_row() {
        crate::compatibility::assert_complete("Service tokens", CONSTRUCTS.iter().copied());
    }
}
