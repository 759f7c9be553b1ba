//! `/access/groups`: rules of enrolment policies under a name.

use super::access_rules;
use super::body::{name, read};
use super::envelope::{Answer, ApiError, created, many, one};
use super::path::Id;
use crate::gateway::access::{Reference, References, cycle, user_of};
use crate::gateway::app::App;
use crate::gateway::clock;
use crate::gateway::store::GroupRow;
use axum::body::Bytes;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    name: String,
    include: Vec<Value>,
    #[serde(default)]
    require: Vec<Value>,
    #[serde(default)]
    exclude: Vec<Value>,
    #[serde(default)]
    is_default: bool,
}

pub(super) async fn list(State(app): State<Arc<App>>) -> Answer {
    many(app.store.groups().await?.iter().map(shown).collect())
}

pub(super) async fn show(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    one(shown(&find(&app, &id).await?))
}

pub(super) async fn create(State(app): State<Arc<App>>, bytes: Bytes) -> Answer {
    let request: Body = read(&bytes)?;
    let _administration = app.administration.lock().await;
    let now = clock::now();
    let row = GroupRow {
        id: Uuid::new_v4().to_string(),
        name: String::new(),
        include: String::new(),
        require: String::new(),
        exclude: String::new(),
        is_default: false,
        created_at: now,
        updated_at: now,
    };
    created(shown(&put(&app, row, request).await?))
}

pub(super) async fn update(State(app): State<Arc<App>>, Id(id): Id, bytes: Bytes) -> Answer {
    let request: Body = read(&bytes)?;
    let _administration = app.administration.lock().await;
    let mut row = find(&app, &id).await?;
    row.updated_at = clock::now();
    one(shown(&put(&app, row, request).await?))
}

pub(super) async fn remove(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    let _administration = app.administration.lock().await;
    let row = find(&app, &id).await?;
    if let Some(user) = user_of(&app.store, Reference::Group(&row.id)).await? {
        return Err(ApiError::conflict(format!("{user} uses this group: change it first")));
    }
    app.store.delete_group(&row.id).await?;
    one(json!({ "id": row.id }))
}

async fn find(app: &App, id: &str) -> Result<GroupRow, ApiError> {
    app.store.groups().await?.into_iter().find(|row| row.id == id).ok_or_else(|| ApiError::missing("access group"))
}

async fn put(app: &App, mut row: GroupRow, request: Body) -> Result<GroupRow, ApiError> {
    let references = References::load(&app.store).await?;
    let rules = access_rules::read(app, &references, &request.include, &request.require, &request.exclude).await?;
    if cycle(&row.id, &rules, &references) {
        return Err(ApiError::field("`group.id` leads back to this group: groups must not contain themselves"));
    }
    row.name = name("name", &request.name)?;
    row.include = access_rules::text(&rules.include)?;
    row.require = access_rules::text(&rules.require)?;
    row.exclude = access_rules::text(&rules.exclude)?;
    row.is_default = request.is_default;
    app.store.put_group(&row).await?;
    Ok(row)
}

fn shown(row: &GroupRow) -> Value {
    let include = access_rules::shown(&row.include);
    json!({
        "id": row.id,
        "uid": row.id,
        "name": row.name,
        "include": include,
        "require": access_rules::shown(&row.require),
        "exclude": access_rules::shown(&row.exclude),
        // The vendor shows the rules of a default group here.
        "is_default": if row.is_default { include.clone() } else { json!([]) },
        "created_at": clock::rfc3339(row.created_at),
        "updated_at": clock::rfc3339(row.updated_at),
    })
}
