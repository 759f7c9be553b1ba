//! `/devices/policy` and `/devices/policies`: device profiles.

mod edit;
mod entries;

pub(super) use edit::{Edit, Whole};
pub(super) use entries::{
    Domains, Entries, exclude, fallback_domains, include, set_exclude, set_fallback_domains, set_include,
};

use super::body::{description, name, read};
use super::envelope::{Answer, ApiError, many, one};
use crate::api::profile::SplitTunnel;
use crate::gateway::app::App;
use crate::gateway::clock;
use crate::gateway::profiles::parse_match;
use crate::gateway::store::ProfileRow;
use axum::body::Bytes;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// Precedence of the first profile that gives none, and the distance of the next ones.
const FIRST: i64 = 100;
const STEP: i64 = 100;
/// Highest precedence taken: room for those that give none.
const MAX_PRECEDENCE: i64 = 2_147_483_647;

type Parameters = Path<HashMap<String, String>>;

pub(super) async fn list(State(app): State<Arc<App>>) -> Answer {
    many(custom(&app).await?)
}

pub(super) async fn show(State(app): State<Arc<App>>, Path(path): Parameters) -> Answer {
    one(shown(&find(&app, &path).await?))
}

pub(super) async fn create(State(app): State<Arc<App>>, bytes: Bytes) -> Answer {
    let edit: Edit = read(&bytes)?;
    if edit.name.is_none() || edit.matching.as_deref().is_none_or(|text| text.trim().is_empty()) {
        let message = "`name` and `match` must be given: a profile that matches everybody would hide all after it";
        return Err(ApiError::field(message));
    }
    let _administration = app.administration.lock().await;
    let rows = app.store.profiles().await?;
    let last = rows.iter().filter(|row| !row.is_default).map(|row| row.precedence).max();
    let default = rows.into_iter().find(|row| row.is_default).ok_or_else(|| ApiError::missing("default profile"))?;
    let now = clock::now();
    // A new profile is a copy of the default.
    let row = ProfileRow {
        id: Uuid::new_v4().to_string(),
        is_default: false,
        precedence: last.map_or(FIRST, |last| last + STEP),
        enabled: true,
        created_at: now,
        updated_at: now,
        ..default
    };
    one(shown(&put(&app, row, edit).await?))
}

pub(super) async fn update(State(app): State<Arc<App>>, Path(path): Parameters, bytes: Bytes) -> Answer {
    let edit: Edit = read(&bytes)?;
    let _administration = app.administration.lock().await;
    let row = find(&app, &path).await?;
    one(shown(&put(&app, row, edit).await?))
}

/// Answers with the profiles that are left, as the vendor does.
pub(super) async fn remove(State(app): State<Arc<App>>, Path(path): Parameters) -> Answer {
    let _administration = app.administration.lock().await;
    let row = find(&app, &path).await?;
    app.store.delete_profile(&row.id).await?;
    app.profiles_changed().await?;
    many(custom(&app).await?)
}

async fn custom(app: &App) -> Result<Vec<Value>, ApiError> {
    Ok(app.store.profiles().await?.iter().filter(|row| !row.is_default).map(shown).collect())
}

/// The profile of the path: the default, when it names none.
async fn find(app: &App, path: &HashMap<String, String>) -> Result<ProfileRow, ApiError> {
    let id = path.get("id");
    let wanted = |row: &ProfileRow| id.map_or(row.is_default, |id| !row.is_default && row.id == *id);
    app.store.profiles().await?.into_iter().find(wanted).ok_or_else(|| ApiError::missing("device profile"))
}

/// Checks an edit, takes it over, stores it and puts it in force.
async fn put(app: &App, mut row: ProfileRow, edit: Edit) -> Result<ProfileRow, ApiError> {
    let named = [
        ("name", edit.name.is_some()),
        ("match", edit.matching.is_some()),
        ("precedence", edit.precedence.is_some()),
        ("enabled", edit.enabled.is_some()),
        ("description", edit.description.is_some()),
    ];
    if row.is_default
        && let Some((field, _)) = named.iter().find(|(_, given)| *given)
    {
        return Err(ApiError::field(format!("`{field}` of the default profile cannot be changed: it is always last")));
    }
    if let Some(text) = &edit.name {
        row.name = name("name", text)?;
    }
    if edit.description.is_some() {
        row.description = description(edit.description.clone())?;
    }
    if let Some(text) = &edit.matching {
        parse_match(text, &app.store.lists().await?).map_err(|error| ApiError::field(format!("`match`, {error}")))?;
        row.matching.clone_from(text);
    }
    if let Some(precedence) = edit.precedence {
        row.precedence = precedence.within("precedence", 0, MAX_PRECEDENCE)?;
    }
    row.enabled = edit.enabled.unwrap_or(row.enabled);
    let others = app.store.profiles().await?;
    if let Some(other) = others.iter().find(|other| other.id != row.id && other.precedence == row.precedence) {
        let message = format!("`precedence` {} is that of `{}`: expected a free one", row.precedence, other.name);
        return Err(ApiError::conflict(message));
    }
    edit.apply(&mut row.settings)?;
    keep(app, row).await
}

/// Stores a profile and puts it in force.
async fn keep(app: &App, mut row: ProfileRow) -> Result<ProfileRow, ApiError> {
    row.updated_at = clock::now();
    app.store.put_profile(&row).await?;
    app.profiles_changed().await?;
    Ok(row)
}

fn shown(row: &ProfileRow) -> Value {
    let mut value = serde_json::to_value(&row.settings).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("split_tunnel");
        match &row.settings.split_tunnel {
            SplitTunnel::Exclude(entries) => fields.insert("exclude".to_owned(), json!(entries)),
            SplitTunnel::Include(entries) => fields.insert("include".to_owned(), json!(entries)),
        };
        fields.insert("default".to_owned(), row.is_default.into());
        fields.insert("enabled".to_owned(), row.enabled.into());
        fields.insert("gateway_unique_id".to_owned(), "".into());
        fields.insert("target_tests".to_owned(), json!([]));
        fields.insert("policy_id".to_owned(), row.id.clone().into());
        fields.insert("name".to_owned(), row.name.clone().into());
        fields.insert("description".to_owned(), row.description.clone().into());
        fields.insert("updated_at".to_owned(), clock::rfc3339(row.updated_at).into());
        if !row.is_default {
            fields.insert("match".to_owned(), row.matching.clone().into());
            fields.insert("precedence".to_owned(), row.precedence.into());
            fields.insert("profile_type".to_owned(), "warp".into());
        }
    }
    value
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{device_settings, posture, schema};
    use super::*;
    use crate::gateway::posture::OsVersion;

    fn fields<T: serde::de::DeserializeOwned>(prefix: &str) -> Vec<String> {
        let schema = schema::of::<T>();
        schema["properties"].as_object().unwrap().keys().map(|field| format!("{prefix}{field}")).collect()
    }

    #[test]
    fn the_table_of_profiles_names_every_field_that_can_be_sent() {
        let mut names = fields::<Edit>("");
        names.extend(fields::<device_settings::Edit>("settings."));
        names.extend(fields::<posture::Body>("posture."));
        names.extend(fields::<OsVersion>("posture.input."));
        crate::compatibility::assert_complete("Device profiles", names.iter().map(String::as_str));
    }
}
