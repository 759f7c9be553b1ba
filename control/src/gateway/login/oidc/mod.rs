//! Login at an OpenID Connect provider: authorization code with PKCE, bound to the browser by a cookie.
//!
//! The browser is sent to the provider with a state, a nonce and a PKCE challenge, and comes back with a code. What the
//! code gives must carry the nonce, the provider's signature and a mail address that the provider does not call
//! unverified. The rest is as after the form.

mod client;
mod exchange;
mod http;
mod pending;
#[cfg(test)]
mod tests;

pub(super) use pending::PendingLogins;

use super::offered::Offered;
use super::request::Parameters;
use super::{Identified, form, page};
use crate::gateway::access::Presented;
use crate::gateway::app::App;
use crate::gateway::secret;
use crate::gateway::store::ProviderRow;
use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::header::{CACHE_CONTROL, COOKIE, HOST, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use exchange::ExchangeError;
use pending::Pending;
use serde::Deserialize;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// Binds a login to the browser that began it. The prefix makes browsers insist on HTTPS and on this host.
const COOKIE_NAME: &str = "__Host-vestibule-login";

#[derive(Deserialize)]
pub(super) struct Start {
    #[serde(default)]
    provider: String,
    #[serde(flatten)]
    parameters: Parameters,
}

#[derive(Deserialize)]
pub(super) struct Callback {
    #[serde(default)]
    code: String,
    #[serde(default)]
    state: String,
    error: Option<String>,
}

/// `GET /warp/oidc/start`
pub(super) async fn start(
    State(app): State<Arc<App>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    query: Result<Query<Start>, QueryRejection>,
) -> Response {
    let Ok(Query(Start { provider, parameters })) = query else {
        return page::problem(StatusCode::BAD_REQUEST, "The address of this page is not complete.");
    };
    let request = match parameters.check(&app.settings.organization) {
        Ok(request) => request,
        Err(message) => return page::problem(StatusCode::BAD_REQUEST, message),
    };
    let provider = match find(&app, &provider).await {
        Ok(provider) => provider,
        Err(response) => return response,
    };
    // Each start asks the provider, and takes a place in memory.
    if app.login.limiter.attempt_from(from.ip(), Instant::now()).is_err() {
        return page::problem(StatusCode::TOO_MANY_REQUESTS, "Too many attempts. Try again in a few minutes.");
    }
    let Some(redirect) = own_callback(&headers) else {
        return page::problem(StatusCode::BAD_REQUEST, "The address of this page is not complete.");
    };
    let begun = match exchange::begin(&provider, &redirect, request.again).await {
        Ok(begun) => begun,
        Err(error) => return refused(&provider, &error),
    };
    let browser = match secret::plain() {
        Ok(browser) => browser,
        Err(error) => return form::failed(&error.into()),
    };
    let pending = Pending {
        provider: provider.id,
        request,
        redirect,
        nonce: begun.nonce,
        verifier: begun.verifier,
        browser: browser.hash(),
    };
    app.login.pending.put(&begun.state, pending, Instant::now());
    // SameSite=Lax: sent when the provider sends the browser back, and by no request that another site makes.
    let cookie = format!("{COOKIE_NAME}={}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600", browser.expose());
    let (Ok(location), Ok(cookie)) = (HeaderValue::from_str(&begun.url), HeaderValue::from_str(&cookie)) else {
        return page::problem(StatusCode::BAD_GATEWAY, "The identity provider's address is not one to send you to.");
    };
    let headers = [(LOCATION, location), (SET_COOKIE, cookie), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (StatusCode::SEE_OTHER, headers).into_response()
}

/// `GET /warp/oidc/callback`
pub(super) async fn callback(
    State(app): State<Arc<App>>,
    Extension(presented): Extension<Presented>,
    headers: HeaderMap,
    query: Result<Query<Callback>, QueryRejection>,
) -> Response {
    let stale =
        || page::problem(StatusCode::BAD_REQUEST, "This sign-in is not under way any more, or in another browser.");
    let Ok(Query(Callback { code, state, error })) = query else { return stale() };
    let Some(pending) = app.login.pending.take(&state, Instant::now()) else { return stale() };
    let browser = cookie(&headers).unwrap_or_default();
    if !secret::matches(browser, &pending.browser) {
        return stale();
    }
    match error.as_deref() {
        None => {}
        // The user said no: their device is told, and waits no longer.
        Some("access_denied") => return form::back(pending.request.cancelled("cancelled at the identity provider")),
        Some(error) => {
            let error: String = error.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
            tracing::warn!(provider = %pending.provider, %error, "an identity provider did not sign a user in");
            return page::problem(StatusCode::UNAUTHORIZED, "The identity provider did not sign you in.");
        }
    }
    let provider = match find(&app, &pending.provider).await {
        Ok(provider) => provider,
        Err(response) => return response,
    };
    match exchange::finish(&provider, &pending.redirect, code, pending.verifier, pending.nonce).await {
        Ok(person) => {
            form::proceed(&app, &pending.request, Identified { person, provider: Some(provider.id), presented })
        }
        Err(error) => refused(&provider, &error),
    }
}

async fn find(app: &App, id: &str) -> Result<ProviderRow, Response> {
    let offered = Offered::load(&app.store).await.map_err(|error| form::failed(&error.into()))?;
    let unknown = || page::problem(StatusCode::NOT_FOUND, "There is no such identity provider.");
    offered.providers.into_iter().find(|provider| provider.id == id).ok_or_else(unknown)
}

fn refused(provider: &ProviderRow, error: &ExchangeError) -> Response {
    tracing::warn!(provider = %provider.name, error = crate::causes::chain(error), "a login at a provider failed");
    let status = match error {
        ExchangeError::Email(_) => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_GATEWAY,
    };
    page::problem(status, &error.to_string())
}

/// Our own address, as the browser reached it; the provider knows it too and takes no other.
fn own_callback(headers: &HeaderMap) -> Option<String> {
    let host = headers.get(HOST)?.to_str().ok()?;
    let url = reqwest::Url::parse(&format!("https://{host}/warp/oidc/callback")).ok()?;
    (url.path() == "/warp/oidc/callback" && url.username().is_empty() && url.query().is_none()).then(|| url.into())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    all.filter_map(|pair| pair.trim().split_once('=')).find(|(name, _)| *name == COOKIE_NAME).map(|(_, value)| value)
}
