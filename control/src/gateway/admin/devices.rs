//! `/devices/physical-devices`

use super::envelope::{Answer, ApiError, listed, one};
use super::paging::Listing;
use super::path::Id;
use super::query::{Walked, parameters, refused};
use crate::api::device::RegistrationStatus;
use crate::gateway::app::{App, Standing};
use crate::gateway::clock;
use crate::gateway::store::{Device, Registration};
use axum::extract::{RawQuery, State};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// Fields that the list can be sorted by.
const SORTS: [&str; 7] =
    ["name", "id", "client_version", "last_seen_user.email", "last_seen_at", "active_registrations", "created_at"];

pub(super) async fn list(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer {
    let mut walked = Walked::new(&SORTS);
    // As the vendor's: only devices with a registration in force, unless asked otherwise.
    let (mut active, mut email) = (Some(true), None);
    for (name, value) in parameters(query.as_deref()) {
        match name.as_str() {
            _ if walked.take(&name, &value)? => {}
            "active_registrations" => {
                active = match value.as_str() {
                    "include" => None,
                    "only" => Some(true),
                    "exclude" => Some(false),
                    _ => {
                        let expected = "`include`, `only` or `exclude`";
                        return Err(ApiError::field(format!(
                            "`active_registrations` must be {expected}, got `{value}`"
                        )));
                    }
                };
            }
            "last_seen_user.email" => email = Some(value.to_lowercase()),
            _ => return Err(refused(&name)),
        }
    }
    let mut registrations: HashMap<String, Vec<Registration>> = HashMap::new();
    for registration in app.store.registrations(false).await? {
        registrations.entry(registration.device_id.clone()).or_default().push(registration);
    }
    let none = Vec::new();
    let mut items = Vec::new();
    for device in app.store.devices().await? {
        let value = shown(&device, registrations.get(&device.id).unwrap_or(&none));
        let wanted = active.is_none_or(|active| (value["active_registrations"] != 0) == active)
            && email.as_ref().is_none_or(|email| {
                value["last_seen_user"]["email"].as_str().is_some_and(|seen| seen.to_lowercase() == *email)
            });
        if wanted && walked.wants(&value, device.last_seen_at) {
            let at = |name: &str| match name {
                "last_seen_at" => device.last_seen_at,
                "created_at" => Some(device.created_at),
                _ => None,
            };
            items.push((walked.key(&value, at), value));
        }
    }
    listed(Listing::Walk { items, descending: walked.descending })
}

pub(super) async fn show(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    let device = find(&app, &id).await?;
    let mut registrations = app.store.registrations(false).await?;
    registrations.retain(|registration| registration.device_id == device.id);
    one(shown(&device, &registrations))
}

/// Deletes all registrations of a device. Its inner address stays its own.
pub(super) async fn remove(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    each(&app, &id, Standing::Deleted).await
}

/// Revokes all registrations of a device.
pub(super) async fn revoke(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    each(&app, &id, Standing::Revoked).await
}

async fn each(app: &App, id: &str, standing: Standing) -> Answer {
    let device = find(app, id).await?;
    for registration in app.store.registrations(false).await? {
        if registration.device_id == device.id {
            app.set_standing(&registration, standing, "administrator").await?;
        }
    }
    one(json!({ "id": device.id }))
}

async fn find(app: &App, id: &str) -> Result<Device, ApiError> {
    app.store.device(id).await?.ok_or_else(|| ApiError::missing("device"))
}

/// A device with the registrations that are its.
fn shown(device: &Device, registrations: &[Registration]) -> Value {
    let active =
        registrations.iter().filter(|registration| registration.status() == RegistrationStatus::Active).count();
    let last = registrations.iter().max_by_key(|registration| registration.last_seen_at);
    json!({
        "id": device.id,
        "name": device.facts.name,
        "active_registrations": active,
        "tags": {},
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
