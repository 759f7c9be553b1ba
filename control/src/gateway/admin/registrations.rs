//! `/devices/registrations`

use super::body::read_or_empty;
use super::envelope::{Answer, ApiError, listed, one};
use super::paging::Listing;
use super::path::Id;
use super::query::{Walked, parameters, refused};
use crate::api::device::RegistrationStatus;
use crate::gateway::app::{App, Standing};
use crate::gateway::clock;
use crate::gateway::store::{Device, Registration};
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
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

/// Fields that the list can be sorted by.
const SORTS: [&str; 5] = ["id", "user.name", "user.email", "last_seen_at", "created_at"];

/// Without `status`: those in force, as the vendor's.
pub(super) async fn list(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer {
    let mut walked = Walked::new(&SORTS);
    let (mut status, mut device, mut users) = ("active".to_owned(), None, Vec::new());
    for (name, value) in parameters(query.as_deref()) {
        match name.as_str() {
            _ if walked.take(&name, &value)? => {}
            "status" if ["active", "revoked", "deleted", "all"].contains(&value.as_str()) => status = value,
            "status" => {
                let expected = "`active`, `revoked`, `deleted` or `all`";
                return Err(ApiError::field(format!("`status` must be {expected}, got `{value}`")));
            }
            "device.id" => device = Some(value),
            "user.id" => users.push(value),
            _ => return Err(refused(&name)),
        }
    }
    let all = app.store.registrations(matches!(status.as_str(), "all" | "deleted")).await?;
    let wanted = |registration: &Registration| {
        let standing = match status.as_str() {
            "active" => registration.status() == RegistrationStatus::Active,
            "revoked" => registration.status() == RegistrationStatus::Revoked,
            "deleted" => registration.status() == RegistrationStatus::Deleted,
            _ => true,
        };
        let user = || registration.token_id.as_ref().is_some_and(|id| users.contains(id));
        standing
            && device.as_ref().is_none_or(|device| *device == registration.device_id)
            && (users.is_empty() || user())
    };
    let devices: HashMap<String, Device> =
        app.store.devices().await?.into_iter().map(|device| (device.id.clone(), device)).collect();
    let mut items = Vec::new();
    for registration in all.iter().filter(|registration| wanted(registration)) {
        let value = shown(registration, devices.get(&registration.device_id));
        if walked.wants(&value, registration.last_seen_at) {
            let at = |name: &str| match name {
                "last_seen_at" => registration.last_seen_at,
                "created_at" => Some(registration.created_at),
                _ => None,
            };
            items.push((walked.key(&value, at), value));
        }
    }
    listed(Listing::Walk { items, descending: walked.descending })
}

pub(super) async fn show(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    let registration = find(&app, &id).await?;
    let device = app.store.device(&registration.device_id).await?;
    one(shown(&registration, device.as_ref()))
}

pub(super) async fn remove(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    let registration = find(&app, &id).await?;
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
        registrations.push(find(app, id).await?);
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

async fn find(app: &App, id: &str) -> Result<Registration, ApiError> {
    let id: Uuid = id.parse().map_err(|_| ApiError::missing("registration"))?;
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
        "registration_type": "warp",
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
