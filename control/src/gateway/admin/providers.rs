//! `/access/identity_providers`, and the same under `/vestibule/identity_providers`: OpenID Connect.
//!
//! Two forms of one call: the vendor's (`type`, `config`), and a flat one with the provider's `issuer`.

use super::body::{name, read, unsupported};
use super::envelope::{Answer, ApiError, created, many, one};
use super::path::Id;
use crate::gateway::access::{Reference, user_of};
use crate::gateway::app::App;
use crate::gateway::clock;
use crate::gateway::store::{ProviderRow, ProviderSettings};
use axum::body::Bytes;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// The vendor's other kinds of providers.
const OTHER_KINDS: [&str; 14] = [
    "onetimepin",
    "azureAD",
    "saml",
    "centrify",
    "facebook",
    "github",
    "google-apps",
    "google",
    "linkedin",
    "okta",
    "onelogin",
    "pingone",
    "yandex",
    "cloudflare",
];
/// What the vendor shows in place of a secret, and SDKs send back.
const REDACTED: &str = "**********************************";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    name: String,
    r#type: Option<String>,
    config: Option<Config>,
    // The flat form.
    issuer: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    scim_config: Option<Value>,
    saml_certificate_set_id: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    client_id: Option<String>,
    client_secret: Option<String>,
    /// Ours: everything else is then read from the provider.
    issuer_url: Option<String>,
    auth_url: Option<String>,
    token_url: Option<String>,
    certs_url: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    claims: Vec<String>,
    email_claim_name: Option<String>,
    /// Ours.
    groups_claim_name: Option<String>,
    // It always is.
    #[serde(rename = "pkce_enabled")]
    _pkce_enabled: Option<bool>,
}

pub(super) async fn list(State(app): State<Arc<App>>) -> Answer {
    many(app.store.providers().await?.iter().map(shown).collect())
}

pub(super) async fn show(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    one(shown(&find(&app, &id).await?))
}

pub(super) async fn create(State(app): State<Arc<App>>, bytes: Bytes) -> Answer {
    let provider = ProviderRow {
        id: Uuid::new_v4().to_string(),
        name: String::new(),
        issuer: String::new(),
        client_id: String::new(),
        client_secret: String::new(),
        settings: ProviderSettings::default(),
        created_at: clock::now(),
    };
    created(shown(&put(&app, provider, read(&bytes)?).await?))
}

pub(super) async fn update(State(app): State<Arc<App>>, Id(id): Id, bytes: Bytes) -> Answer {
    let request: Body = read(&bytes)?;
    let _administration = app.administration.lock().await;
    let provider = find(&app, &id).await?;
    one(shown(&put(&app, provider, request).await?))
}

pub(super) async fn remove(State(app): State<Arc<App>>, Id(id): Id) -> Answer {
    let _administration = app.administration.lock().await;
    let id = find(&app, &id).await?.id;
    if let Some(user) = user_of(&app.store, Reference::Provider(&id)).await? {
        return Err(ApiError::conflict(format!("{user} uses this identity provider: change it first")));
    }
    if app.store.apps().await?.iter().any(|row| row.settings.allowed_idps.contains(&id)) {
        let message = "the application's `allowed_idps` name this identity provider: change them first";
        return Err(ApiError::conflict(message));
    }
    app.store.delete_provider(&id).await?;
    one(json!({ "id": id }))
}

async fn find(app: &App, id: &str) -> Result<ProviderRow, ApiError> {
    let found = app.store.providers().await?.into_iter().find(|provider| provider.id == id);
    found.ok_or_else(|| ApiError::missing("identity provider"))
}

/// Checks a request and writes it.
async fn put(app: &App, mut row: ProviderRow, request: Body) -> Result<ProviderRow, ApiError> {
    let kind = request.r#type.as_deref().unwrap_or("oidc");
    if OTHER_KINDS.contains(&kind) {
        let message = format!("`type` `{kind}` is not supported yet: use `oidc`, which most providers speak");
        return Err(ApiError::field(message));
    }
    if kind != "oidc" {
        return Err(ApiError::field(format!("`type` must be `oidc`, got `{kind}`")));
    }
    unsupported("scim_config", &request.scim_config)?;
    unsupported("saml_certificate_set_id", &request.saml_certificate_set_id)?;
    let config = request.config.unwrap_or_default();
    let (issuer, settings) =
        addressed(request.issuer.or(config.issuer_url), config.auth_url, config.token_url, config.certs_url)?;
    let names =
        |field: &str, names: Vec<String>| names.iter().map(|text| name(field, text)).collect::<Result<Vec<_>, _>>();
    let claim = |field: &str, text: Option<String>| {
        text.filter(|text| !text.is_empty()).map(|text| name(field, &text)).transpose()
    };
    row.settings = ProviderSettings {
        scopes: names("config.scopes", config.scopes)?,
        claims: names("config.claims", config.claims)?,
        email_claim_name: claim("config.email_claim_name", config.email_claim_name)?,
        groups_claim_name: claim("config.groups_claim_name", config.groups_claim_name)?,
        ..settings
    };
    row.issuer = issuer;
    row.name = name("name", &request.name)?;
    row.client_id = name("client_id", &request.client_id.or(config.client_id).unwrap_or_default())?;
    match request.client_secret.or(config.client_secret) {
        Some(secret) if secret != REDACTED => row.client_secret = secret,
        _ if !row.client_secret.is_empty() => {}
        _ => return Err(ApiError::field("`client_secret` must be what the provider knows this gateway by")),
    }
    app.store.put_provider(&row).await?;
    Ok(row)
}

/// Where a provider is: its issuer, of which the rest is asked, or three addresses.
fn addressed(
    issuer: Option<String>,
    auth: Option<String>,
    token: Option<String>,
    certs: Option<String>,
) -> Result<(String, ProviderSettings), ApiError> {
    if let Some(issuer) = issuer {
        let expected = "the provider's https address (without /.well-known)";
        return Ok((address("issuer", expected, issuer)?, ProviderSettings::default()));
    }
    let given = |field: &str, text: Option<String>| {
        let text = text.ok_or_else(|| {
            let message = "`config` must have `issuer_url`, or `auth_url`, `token_url` and `certs_url`";
            ApiError::field(message)
        })?;
        address(field, "an https address", text).map(Some)
    };
    let settings = ProviderSettings {
        auth_url: given("config.auth_url", auth)?,
        token_url: given("config.token_url", token)?,
        certs_url: given("config.certs_url", certs)?,
        ..ProviderSettings::default()
    };
    Ok((String::new(), settings))
}

/// An address that a secret may be sent to.
fn address(field: &str, expected: &str, text: String) -> Result<String, ApiError> {
    let loopback = ["http://127.0.0.1:", "http://[::1]:"].iter().any(|start| text.starts_with(start));
    match reqwest::Url::parse(&text) {
        Ok(url) if (url.scheme() == "https" || loopback) && url.username().is_empty() => Ok(text),
        _ => Err(ApiError::field(format!("`{field}` must be {expected}, got `{text}`"))),
    }
}

/// Without the secret.
fn shown(provider: &ProviderRow) -> Value {
    let settings = &provider.settings;
    json!({
        "id": provider.id,
        "type": "oidc",
        "name": provider.name,
        "issuer": provider.issuer,
        "client_id": provider.client_id,
        "config": {
            "client_id": provider.client_id,
            "client_secret": REDACTED,
            "issuer_url": (!provider.issuer.is_empty()).then_some(&provider.issuer),
            "auth_url": settings.auth_url,
            "token_url": settings.token_url,
            "certs_url": settings.certs_url,
            "scopes": settings.scopes,
            "claims": settings.claims,
            "email_claim_name": settings.email_claim_name,
            "groups_claim_name": settings.groups_claim_name,
            "pkce_enabled": true,
        },
        "created_at": clock::rfc3339(provider.created_at),
    })
}
