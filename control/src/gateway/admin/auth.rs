//! The administrator's bearer token, and the account in the path.

use super::envelope::ApiError;
use super::permission::Caller;
use crate::gateway::app::App;
use crate::gateway::secret;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header::AUTHORIZATION};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Lets a call pass that carries the token, to this account.
pub(super) async fn authenticate(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = header.and_then(|header| header.strip_prefix("Bearer ")).unwrap_or_default().trim();
    if !secret::matches(given, &app.settings.admin_token_hash) {
        let message = "Authentication error: expected `Authorization: Bearer` with the token in DIR/admin-token";
        return ApiError::new(StatusCode::UNAUTHORIZED, 10000, message).into_response();
    }
    // Inside a nest the path begins with what follows the nest's own.
    let account = request.uri().path().trim_start_matches("/client/v4").strip_prefix("/accounts/");
    let account = account.and_then(|rest| rest.split('/').next());
    if account.is_some_and(|account| account != app.settings.account_id) {
        let message = format!("there is no such account here: this gateway's is {}", app.settings.account_id);
        return ApiError::new(StatusCode::NOT_FOUND, 7003, message).into_response();
    }
    request.extensions_mut().insert(Caller::administrator());
    next.run(request).await
}
