//! Who calls: the bearer token, and the account in the path.

use super::envelope::ApiError;
use super::permission::Caller;
use super::{api_tokens, grants};
use crate::crypto::sha256;
use crate::gateway::app::App;
use crate::gateway::store::{ApiTokenRow, Millis};
use crate::gateway::{clock, secret};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header::AUTHORIZATION};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Uses of a token nearer to each other than this are one, in `last_seen_at`.
const SEEN_APART: Millis = 60_000;

/// Lets a call pass that carries a token, to this account.
pub(super) async fn authenticate(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|from| from.0.ip());
    let mut headers = request.headers().get_all(AUTHORIZATION).iter();
    let header = headers.next().and_then(|value| value.to_str().ok()).filter(|_| headers.next().is_none());
    let given = header.and_then(|header| header.strip_prefix("Bearer ")).unwrap_or_default().trim();
    let caller = match caller(&app, given, from).await {
        Ok(caller) => caller,
        Err(error) => return error.into_response(),
    };
    if let Err(error) = ours(&app, request.uri().path()) {
        return error.into_response();
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

async fn caller(app: &App, given: &str, from: Option<IpAddr>) -> Result<Caller, ApiError> {
    if secret::matches(given, &app.settings.admin_token_hash) {
        return Ok(Caller::administrator());
    }
    // What is looked up is the hash: how long that takes tells nothing of the secret.
    let known = if given.is_empty() { None } else { app.store.api_token_by_secret(&sha256(given.as_bytes())).await? };
    let Some(token) = known else {
        let expected = "expected `Authorization: Bearer` with the token in DIR/admin-token, or an API token";
        let mistyped = if secret::mistyped(given) { " (this one is mistyped: its checksum does not fit)" } else { "" };
        return Err(unauthorized(format!("Authentication error: {expected}{mistyped}")));
    };
    let now = clock::now();
    usable(&token, now, from)?;
    if token.last_seen_at.is_none_or(|seen| now - seen >= SEEN_APART)
        && let Err(error) = app.store.api_token_seen(&token.id, now).await
    {
        tracing::warn!(error = crate::causes::chain(&error), "the use of an API token is not noted");
    }
    Ok(Caller { granted: Some(grants::of(&token)), id: token.id, name: token.name })
}

fn usable(token: &ApiTokenRow, now: Millis, from: Option<IpAddr>) -> Result<(), ApiError> {
    match api_tokens::status(token, now) {
        "active" if token.not_before.is_some_and(|begin| now < begin) => {
            return Err(unauthorized(format!("the API token `{}` is not valid yet", token.name)));
        }
        "active" => {}
        status => return Err(unauthorized(format!("the API token `{}` is {status}", token.name))),
    }
    let condition = grants::condition(token);
    if from.is_none_or(|from| condition.is_some_and(|condition| condition.admits(from))) {
        return Ok(());
    }
    let message = format!("the API token `{}` must not be used from this address", token.name);
    Err(ApiError::new(StatusCode::FORBIDDEN, 9109, message))
}

fn unauthorized(message: String) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, 10000, message)
}

/// Whether a path is of this account. Inside a nest it begins with what follows the nest's own.
fn ours(app: &App, path: &str) -> Result<(), ApiError> {
    let path = path.trim_start_matches("/client/v4");
    if path.starts_with("/zones/") {
        let message = format!("this gateway has no zones: use /accounts/{}/...", app.settings.account_id);
        return Err(ApiError::new(StatusCode::NOT_FOUND, 7003, message));
    }
    let account = path.strip_prefix("/accounts/").and_then(|rest| rest.split('/').next());
    if account.is_some_and(|account| account != app.settings.account_id) {
        let message = format!("there is no such account here: this gateway's is {}", app.settings.account_id);
        return Err(ApiError::new(StatusCode::NOT_FOUND, 7003, message));
    }
    Ok(())
}
