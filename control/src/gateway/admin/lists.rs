//! `/gateway/lists`: values that rules name as `$id`.

use super::body::{description, name, read};
use super::envelope::{Answer, ApiError, created, many, one};
use super::path::Id;
use crate::gateway::access::{Reference, user_of};
use crate::gateway::app::App;
use crate::gateway::clock;
use crate::gateway::store::{ListItem, ListRow};
use crate::rules::ListKind;
use axum::body::Bytes;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// Most items of a list.
const MAX_ITEMS: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    name: String,
    description: Option<String>,
    r#type: Option<ListKind>,
    items: Option<Vec<Item>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Patch {
    #[serde(default)]
    append: Vec<Item>,
    #[serde(default)]
    remove: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    value: String,
    description: Option<String>,
    /// Read-only: tools send back what they were shown.
    #[serde(rename = "created_at")]
    _created_at: Option<String>,
}

pub(super) async fn list(State(app): State<Arc<App>>) -> Answer {
    many(app.store.lists().await?.iter().map(shown).collect())
}

pub(super) async fn show(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    one(shown(&find(&app, &id).await?))
}

pub(super) async fn items(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    many(find(&app, &id).await?.items.iter().map(shown_item).collect())
}

pub(super) async fn create(State(app): State<Arc<App>>, bytes: Bytes) -> Answer {
    let request: Body = read(&bytes)?;
    let now = clock::now();
    let row = ListRow {
        id: Uuid::new_v4().to_string(),
        name: String::new(),
        description: String::new(),
        kind: request.r#type.unwrap_or(ListKind::Ip),
        items: Vec::new(),
        created_at: now,
        updated_at: now,
    };
    let administration = app.administration.lock().await;
    let row = put(&app, row, request).await?;
    drop(administration);
    app.rules_changed().await?;
    created(shown(&row))
}

pub(super) async fn update(State(app): State<Arc<App>>, Id(id): Id, bytes: Bytes) -> Answer {
    let request: Body = read(&bytes)?;
    let administration = app.administration.lock().await;
    let row = find(&app, &id).await?;
    if request.r#type.is_some_and(|kind| kind != row.kind) {
        let message = format!("`type` must be `{}`: a list keeps the type that it was made with", row.kind.name());
        return Err(ApiError::field(message));
    }
    let row = put(&app, row, request).await?;
    drop(administration);
    app.rules_changed().await?;
    one(shown(&row))
}

/// Adds and removes single items.
pub(super) async fn patch(State(app): State<Arc<App>>, Id(id): Id, bytes: Bytes) -> Answer {
    let request: Patch = read(&bytes)?;
    let administration = app.administration.lock().await;
    let mut row = find(&app, &id).await?;
    let gone: HashSet<&str> = request.remove.iter().map(|value| value.trim()).collect();
    row.items.retain(|item| !gone.contains(item.value.as_str()));
    let added = checked(row.kind, request.append)?;
    let mut known: HashSet<String> = row.items.iter().map(|item| item.value.clone()).collect();
    row.items.extend(added.into_iter().filter(|item| known.insert(item.value.clone())));
    store(&app, &mut row).await?;
    drop(administration);
    app.rules_changed().await?;
    one(shown(&row))
}

pub(super) async fn remove(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    let administration = app.administration.lock().await;
    let row = find(&app, &id).await?;
    // The book may lag behind a rule that is stored and not in force yet.
    app.rules_changed().await?;
    if let Some(rule) = app.book().user_of_list(&row.id) {
        return Err(ApiError::conflict(format!("the rule `{rule}` uses this list: change it first")));
    }
    if let Some(profile) = app.profiles().user_of_list(&row.id) {
        return Err(ApiError::conflict(format!("the device profile `{profile}` uses this list: change it first")));
    }
    if let Some(user) = user_of(&app.store, Reference::List(&row.id)).await? {
        return Err(ApiError::conflict(format!("{user} uses this list: change it first")));
    }
    app.store.delete_list(&row.id).await?;
    drop(administration);
    app.rules_changed().await?;
    one(json!({ "id": row.id }))
}

async fn find(app: &App, id: &str) -> Result<ListRow, ApiError> {
    app.store.list(id).await?.ok_or_else(|| ApiError::missing("list"))
}

/// Checks a request, takes it over and stores it. Items that are not in the request at all stay.
async fn put(app: &App, mut row: ListRow, request: Body) -> Result<ListRow, ApiError> {
    row.name = name("name", &request.name)?;
    row.description = description(request.description)?;
    if let Some(items) = request.items {
        let before: HashMap<String, i64> = row.items.into_iter().map(|item| (item.value, item.created_at)).collect();
        row.items = checked(row.kind, items)?;
        for item in &mut row.items {
            item.created_at = before.get(&item.value).copied().unwrap_or(item.created_at);
        }
    }
    store(app, &mut row).await?;
    Ok(row)
}

async fn store(app: &App, row: &mut ListRow) -> Result<(), ApiError> {
    if row.items.len() > MAX_ITEMS {
        let got = row.items.len();
        return Err(ApiError::field(format!("`items` must be at most {MAX_ITEMS}, got {got}: make several lists")));
    }
    row.updated_at = clock::now();
    Ok(app.store.put_list(row).await?)
}

/// New items, each value once.
fn checked(kind: ListKind, items: Vec<Item>) -> Result<Vec<ListItem>, ApiError> {
    let created_at = clock::now();
    let mut known = HashSet::new();
    let mut out = Vec::with_capacity(items.len());
    for item in items {
        let value = item.value.trim().to_owned();
        if let Some(expected) = kind.refuses(&value) {
            let kind = kind.name();
            return Err(ApiError::field(format!("`items.value` of type {kind} must be {expected}, got `{value}`")));
        }
        let description = description(item.description)?;
        if known.insert(value.clone()) {
            out.push(ListItem { value, description, created_at });
        }
    }
    Ok(out)
}

fn shown_item(item: &ListItem) -> Value {
    json!({ "value": item.value, "description": item.description, "created_at": clock::rfc3339(item.created_at) })
}

fn shown(row: &ListRow) -> Value {
    json!({
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "type": row.kind.name(),
        "count": row.items.len(),
        "items": row.items.iter().map(shown_item).collect::<Vec<_>>(),
        "created_at": clock::rfc3339(row.created_at),
        "updated_at": clock::rfc3339(row.updated_at),
    })
}
