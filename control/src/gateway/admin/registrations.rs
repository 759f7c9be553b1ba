//! `/devices/registrations`

use super::body::read_or_empty;
use super::envelope::{Answer, ApiError, many, one};
use super::paging::parameters;
use crate::api::device::RegistrationStatus;
use crate::gateway::app::{App, Standing};
use crate::gateway::clock;
use crate::gateway::store::{Device, Registration};
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ids {
    #[serde(default)]
    ids: Vec<String>,
}

pub(super) async fn list(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer {
    let status = parameters(query.as_deref()).into_iter().find(|(name, _)| name == "status").map(|(_, value)| value);
    let all = app.store.registrations(matches!(status.as_deref(), Some("all" | "deleted"))).await?;
    let wanted = |registration: &&Registration| match status.as_deref() {
        None | Some("all") => true,
        Some("active") => registration.status() == RegistrationStatus::Active,
        Some("revoked") => registration.status() == RegistrationStatus::Revoked,
        Some("deleted") => registration.status() == RegistrationStatus::Deleted,
        Some(_) => false,
    };
    let devices: HashMap<String, Device> =
        app.store.devices().await?.into_iter().map(|device| (device.id.clone(), device)).collect();
    many(all.iter().filter(wanted).map(|one| shown(one, devices.get(&one.device_id))).collect())
}

pub(super) async fn show(State(app): State<Arc<App>>, Path(path): Path<HashMap<String, String>>) -> Answer {
    let registration = find(&app, path.get("id")).await?;
    let device = app.store.device(&registration.device_id).await?;
    one(shown(&registration, device.as_ref()))
}

pub(super) async fn remove(State(app): State<Arc<App>>, Path(path): Path<HashMap<String, String>>) -> Answer {
    let registration = find(&app, path.get("id")).await?;
    if !app.set_standing(&registration, Standing::Deleted, "administrator").await? {
        return Err(ApiError::missing("registration"));
    }
    one(json!({ "id": registration.id }))
}

/// `DELETE .../registrations?id=..&id=..`
pub(super) async fn remove_many(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer {
    each(&app, Standing::Deleted, ids(query.as_deref(), &Bytes::new())?).await
}

pub(super) async fn revoke(State(app): State<Arc<App>>, RawQuery(query): RawQuery, bytes: Bytes) -> Answer {
    each(&app, Standing::Revoked, ids(query.as_deref(), &bytes)?).await
}

pub(super) async fn unrevoke(State(app): State<Arc<App>>, RawQuery(query): RawQuery, bytes: Bytes) -> Answer {
    each(&app, Standing::Restored, ids(query.as_deref(), &bytes)?).await
}

/// All of them, or none: unknown ids are found before anything is changed.
async fn each(app: &App, standing: Standing, ids: Vec<String>) -> Answer {
    let mut registrations = Vec::new();
    for id in &ids {
        registrations.push(find(app, Some(id)).await?);
    }
    for registration in &registrations {
        app.set_standing(registration, standing, "administrator").await?;
    }
    one(Value::Null)
}

/// From the query (`id=`, as the vendor's) or the body (`{"ids": []}`).
fn ids(query: Option<&str>, bytes: &Bytes) -> Result<Vec<String>, ApiError> {
    let mut ids: Vec<String> = parameters(query)
        .into_iter()
        .filter(|(name, _)| name == "id" || name == "id[]")
        .map(|(_, value)| value)
        .collect();
    ids.extend(read_or_empty::<Ids>(bytes)?.ids);
    if ids.is_empty() {
        return Err(ApiError::field("expected at least one registration: `?id=ID` or {\"ids\": [\"ID\"]}"));
    }
    Ok(ids)
}

async fn find(app: &App, id: Option<&String>) -> Result<Registration, ApiError> {
    let id: Uuid = id.and_then(|id| id.parse().ok()).ok_or_else(|| ApiError::missing("registration"))?;
    app.store.registration(&id).await?.ok_or_else(|| ApiError::missing("registration"))
}

/// As the API shows it.
pub(super) fn shown(registration: &Registration, device: Option<&Device>) -> Value {
    json!({
        "id": registration.id,
        "device": device.map(|device| json!({
            "id": device.id,
            "name": device.facts.name,
            "client_version": device.facts.client_version,
        })),
        "user": { "id": registration.token_id, "email": registration.email, "name": "" },
        "key": STANDARD.encode(registration.tunnel_key),
        "key_type": "curve25519",
        "tunnel_type": "wireguard",
        "virtual_ipv4": device.map(|device| device.address),
        "service_token_id": registration.token_id,
        "created_at": clock::rfc3339(registration.created_at),
        "updated_at": clock::rfc3339(registration.updated_at),
        "last_seen_at": registration.last_seen_at.map(clock::rfc3339),
        "revoked_at": registration.revoked_at.map(clock::rfc3339),
        "deleted_at": registration.deleted_at.map(clock::rfc3339),
    })
}
