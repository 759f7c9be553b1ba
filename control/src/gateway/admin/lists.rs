//! `/gateway/lists`: address lists that rules name as `$id`.

use super::body::{description, name, read};
use super::envelope::{Answer, ApiError, created, many, one};
use crate::gateway::access::{Reference, user_of};
use crate::gateway::app::App;
use crate::gateway::book::parse_lists;
use crate::gateway::clock;
use crate::gateway::store::ListRow;
use crate::rules::{Traffic, destination};
use axum::body::Bytes;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    name: String,
    description: Option<String>,
    r#type: Option<String>,
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    value: String,
    #[serde(rename = "description")]
    _description: Option<String>,
}

pub(super) async fn list(State(app): State<Arc<App>>) -> Answer {
    many(app.store.lists().await?.iter().map(shown).collect())
}

pub(super) async fn show(State(app): State<Arc<App>>, Path(path): Path<HashMap<String, String>>) -> Answer {
    one(shown(&find(&app, &path).await?))
}

pub(super) async fn create(State(app): State<Arc<App>>, bytes: Bytes) -> Answer {
    let now = clock::now();
    let (description, items) = (String::new(), String::new());
    let id = Uuid::new_v4().to_string();
    let row = ListRow { id, name: String::new(), description, items, created_at: now, updated_at: now };
    let _administration = app.administration.lock().await;
    created(shown(&put(&app, row, read(&bytes)?).await?))
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    Path(path): Path<HashMap<String, String>>,
    bytes: Bytes,
) -> Answer {
    let _administration = app.administration.lock().await;
    let mut row = find(&app, &path).await?;
    row.updated_at = clock::now();
    one(shown(&put(&app, row, read(&bytes)?).await?))
}

pub(super) async fn remove(State(app): State<Arc<App>>, Path(path): Path<HashMap<String, String>>) -> Answer {
    let _administration = app.administration.lock().await;
    let row = find(&app, &path).await?;
    let lists = parse_lists(&app.store.lists().await?);
    for rule in app.store.rules().await? {
        if Traffic::parse(&rule.traffic, &lists).is_ok_and(|traffic| traffic.lists().contains(&row.id.as_str())) {
            let message = format!("the rule `{}` uses this list: change it first", rule.name);
            return Err(ApiError::conflict(message));
        }
    }
    if let Some(user) = user_of(&app.store, Reference::List(&row.id)).await? {
        return Err(ApiError::conflict(format!("{user} uses this list: change it first")));
    }
    app.store.delete_list(&row.id).await?;
    app.rules_changed().await?;
    one(json!({ "id": row.id }))
}

async fn find(app: &App, path: &HashMap<String, String>) -> Result<ListRow, ApiError> {
    let id = path.get("id").map(String::as_str).unwrap_or_default();
    app.store.lists().await?.into_iter().find(|row| row.id == id).ok_or_else(|| ApiError::missing("list"))
}

async fn put(app: &App, mut row: ListRow, request: Body) -> Result<ListRow, ApiError> {
    if let Some(kind) = request.r#type.filter(|kind| kind != "IP") {
        return Err(ApiError::field(format!("`type` must be `IP`, got `{kind}`")));
    }
    let items: Vec<String> = request.items.into_iter().map(|item| item.value).collect();
    if let Some(wrong) = items.iter().find(|item| destination(item).is_none()) {
        let message = format!("`items.value` must be an address, a prefix or a range `a..b`, got `{wrong}`");
        return Err(ApiError::field(message));
    }
    row.name = name("name", &request.name)?;
    row.description = description(request.description)?;
    row.items = serde_json::to_string(&items).map_err(|error| ApiError::field(error.to_string()))?;
    app.store.put_list(&row).await?;
    app.rules_changed().await?;
    Ok(row)
}

fn shown(row: &ListRow) -> Value {
    let items: Vec<String> = serde_json::from_str(&row.items).unwrap_or_default();
    json!({
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "type": "IP",
        "count": items.len(),
        "items": items.iter().map(|value| json!({ "value": value })).collect::<Vec<_>>(),
        "created_at": clock::rfc3339(row.created_at),
        "updated_at": clock::rfc3339(row.updated_at),
    })
}
