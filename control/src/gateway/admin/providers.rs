//! `/vestibule/identity_providers`: OpenID Connect.

use super::body::{name, read};
use super::envelope::{Answer, ApiError, created, many, one};
use crate::gateway::app::App;
use crate::gateway::clock;
use crate::gateway::store::ProviderRow;
use axum::body::Bytes;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    name: String,
    issuer: String,
    client_id: String,
    client_secret: String,
}

pub(super) async fn list(State(app): State<Arc<App>>) -> Answer {
    many(app.store.providers().await?.iter().map(shown).collect())
}

pub(super) async fn create(State(app): State<Arc<App>>, bytes: Bytes) -> Answer {
    let request: Create = read(&bytes)?;
    let loopback = ["http://127.0.0.1:", "http://[::1]:"].iter().any(|start| request.issuer.starts_with(start));
    let url = reqwest::Url::parse(&request.issuer).ok().filter(|url| url.scheme() == "https" || loopback);
    if url.is_none() {
        let message =
            format!("`issuer` must be the provider's https address (without /.well-known), got `{}`", request.issuer);
        return Err(ApiError::field(message));
    }
    let provider = ProviderRow {
        id: Uuid::new_v4().to_string(),
        name: name("name", &request.name)?,
        issuer: request.issuer,
        client_id: name("client_id", &request.client_id)?,
        client_secret: request.client_secret,
        created_at: clock::now(),
    };
    app.store.add_provider(&provider).await?;
    created(shown(&provider))
}

pub(super) async fn remove(State(app): State<Arc<App>>, Path(path): Path<HashMap<String, String>>) -> Answer {
    let id = path.get("id").map(String::as_str).unwrap_or_default();
    if !app.store.delete_provider(id).await? {
        return Err(ApiError::missing("identity provider"));
    }
    one(json!({ "id": id }))
}

/// Without the secret.
fn shown(provider: &ProviderRow) -> Value {
    json!({
        "id": provider.id,
        "type": "oidc",
        "name": provider.name,
        "issuer": provider.issuer,
        "client_id": provider.client_id,
        "created_at": clock::rfc3339(provider.created_at),
    })
}
