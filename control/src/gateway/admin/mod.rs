//! The administrator's API: the vendor's paths and envelope, and a few calls of our own under `/vestibule`.

mod access_rules;
mod api_tokens;
mod apps;
mod audit;
mod auth;
mod body;
mod certificates;
mod device_settings;
mod devices;
mod envelope;
mod grants;
mod groups;
mod guard;
mod lists;
mod logs;
mod openapi;
mod organizations;
mod paging;
mod path;
mod permission;
mod policies;
mod posture;
mod profiles;
mod providers;
mod query;
mod registrations;
mod routes;
mod rule_settings;
mod rules;
mod schema;
mod settings;
mod status;
mod tokens;
mod users;

use super::app::App;
use super::server::to_the_end;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use envelope::ApiError;
use std::sync::Arc;

#[cfg(test)]
pub(super) use routes::ABSENT;

/// Largest body taken: a list of tens of thousands of addresses.
const MAX_BODY: usize = 2 * 1024 * 1024;

/// The routes under `/client/v4`.
pub(super) fn router(app: Arc<App>) -> Router<Arc<App>> {
    let open = Router::new().route("/openapi.json", get(openapi::show));
    routes::router()
        .fallback(|| async { ApiError::new(StatusCode::NOT_FOUND, 7003, "there is no such path: check the address") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, 10405, "the path has other methods")
        })
        .layer(from_fn(to_the_end))
        .layer(from_fn(envelope::enclose))
        .layer(from_fn_with_state(app, auth::authenticate))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .merge(open)
}
