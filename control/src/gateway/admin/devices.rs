//! `/devices/physical-devices`

use super::envelope::{Answer, ApiError, many, one};
use crate::api::device::RegistrationStatus;
use crate::gateway::app::{App, Standing};
use crate::gateway::clock;
use crate::gateway::store::{Device, Registration};
use axum::extract::{Path, State};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

pub(super) async fn list(State(app): State<Arc<App>>) -> Answer {
    let registrations = app.store.registrations(false).await?;
    many(app.store.devices().await?.iter().map(|device| shown(device, &registrations)).collect())
}

pub(super) async fn show(State(app): State<Arc<App>>, Path(path): Path<HashMap<String, String>>) -> Answer {
    let device = find(&app, &path).await?;
    one(shown(&device, &app.store.registrations(false).await?))
}

/// Deletes all registrations of a device. Its inner address stays its own.
pub(super) async fn remove(State(app): State<Arc<App>>, Path(path): Path<HashMap<String, String>>) -> Answer {
    each(&app, &path, Standing::Deleted).await
}

/// Revokes all registrations of a device.
pub(super) async fn revoke(State(app): State<Arc<App>>, Path(path): Path<HashMap<String, String>>) -> Answer {
    each(&app, &path, Standing::Revoked).await
}

async fn each(app: &App, path: &HashMap<String, String>, standing: Standing) -> Answer {
    let device = find(app, path).await?;
    for registration in app.store.registrations(false).await? {
        if registration.device_id == device.id {
            app.set_standing(&registration, standing, "administrator").await?;
        }
    }
    one(json!({ "id": device.id }))
}

async fn find(app: &App, path: &HashMap<String, String>) -> Result<Device, ApiError> {
    let id = path.get("id").map(String::as_str).unwrap_or_default();
    app.store.device(id).await?.ok_or_else(|| ApiError::missing("device"))
}

fn shown(device: &Device, registrations: &[Registration]) -> Value {
    let mine = || registrations.iter().filter(|registration| registration.device_id == device.id);
    let active = mine().filter(|registration| registration.status() == RegistrationStatus::Active).count();
    let last = mine().max_by_key(|registration| registration.last_seen_at);
    json!({
        "id": device.id,
        "name": device.facts.name,
        "active_registrations": active,
        "device_type": device.facts.os,
        "os_version": device.facts.os_version,
        "client_version": device.facts.client_version,
        "virtual_ipv4": device.address,
        "created_at": clock::rfc3339(device.created_at),
        "updated_at": clock::rfc3339(device.updated_at),
        "deleted_at": null,
        "last_seen_at": device.last_seen_at.map(clock::rfc3339),
        "last_seen_user": last.map(|last| json!({ "id": last.token_id, "email": last.email, "name": "" })),
    })
}
