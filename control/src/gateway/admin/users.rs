//! `/vestibule/users`: local accounts.

use super::body::{name, read};
use super::envelope::{Answer, ApiError, created, many, one};
use super::path::Id;
use crate::gateway::app::App;
use crate::gateway::clock;
use crate::gateway::login::{groups, hash_password, unusable};
use crate::gateway::store::UserRow;
use axum::body::Bytes;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;
use zeroize::Zeroizing;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    email: String,
    name: Option<String>,
    password: String,
    groups: Option<Value>,
}

/// What is left out stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    name: Option<String>,
    password: Option<String>,
    groups: Option<Value>,
}

pub(super) async fn list(State(app): State<Arc<App>>) -> Answer {
    many(app.store.users().await?.iter().map(shown).collect())
}

pub(super) async fn create(State(app): State<Arc<App>>, bytes: Bytes) -> Answer {
    let request: Create = read(&bytes)?;
    let password = Zeroizing::new(request.password);
    let email = name("email", &request.email)?;
    let (local, domain) = email.split_once('@').unwrap_or_default();
    if local.is_empty() || domain.is_empty() || domain.contains('@') || email.contains(char::is_whitespace) {
        return Err(ApiError::field(format!("`email` must be a mail address, got `{email}`")));
    }
    if email.to_lowercase().starts_with("non_identity@") {
        return Err(ApiError::field("`email` must not be that of service tokens (`non_identity@...`)"));
    }
    let mut user = UserRow {
        id: Uuid::new_v4().to_string(),
        name: name("name", request.name.as_deref().unwrap_or(local))?,
        email,
        password_hash: String::new(),
        groups: Vec::new(),
        created_at: clock::now(),
    };
    fill(&mut user, Some(password), request.groups).await?;
    app.store.put_user(&user).await?;
    created(shown(&user))
}

pub(super) async fn show(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    one(shown(&find(&app, &id).await?))
}

async fn find(app: &App, id: &str) -> Result<UserRow, ApiError> {
    app.store.users().await?.into_iter().find(|user| user.id == id).ok_or_else(|| ApiError::missing("user"))
}

/// What changes is known to rules from the next login on.
pub(super) async fn update(State(app): State<Arc<App>>, Id(id): Id, bytes: Bytes) -> Answer {
    let request: Update = read(&bytes)?;
    let password = request.password.map(Zeroizing::new);
    let _administration = app.administration.lock().await;
    let mut user = find(&app, &id).await?;
    if let Some(new) = &request.name {
        user.name = name("name", new)?;
    }
    fill(&mut user, password, request.groups).await?;
    app.store.put_user(&user).await?;
    one(shown(&user))
}

async fn fill(user: &mut UserRow, password: Option<Zeroizing<String>>, asked: Option<Value>) -> Result<(), ApiError> {
    if let Some(asked) = asked {
        let expected = "`groups` must be a list of names, or of objects with `id`, `name` or `email`";
        user.groups = groups(&asked).ok_or_else(|| ApiError::field(expected))?;
    }
    if let Some(password) = password {
        if let Some(message) = unusable(&password) {
            return Err(ApiError::field(message));
        }
        user.password_hash = hash_password(password).await?;
    }
    Ok(())
}

pub(super) async fn remove(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    if !app.store.delete_user(&id).await? {
        return Err(ApiError::missing("user"));
    }
    one(json!({ "id": id }))
}

fn shown(user: &UserRow) -> Value {
    json!({
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "groups": user.groups,
        "created_at": clock::rfc3339(user.created_at),
    })
}
