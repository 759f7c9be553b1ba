//! The administrator's API: the vendor's paths and envelope, and a few calls of our own under `/vestibule`.

mod apps;
mod audit;
mod auth;
mod body;
mod devices;
mod envelope;
mod lists;
mod policies;
mod providers;
mod registrations;
mod rules;
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
use axum::routing::{delete, get, post};
use envelope::ApiError;
use std::sync::Arc;

/// Largest body taken: a list of tens of thousands of addresses.
const MAX_BODY: usize = 2 * 1024 * 1024;

/// The routes under `/client/v4`.
pub(super) fn router(app: Arc<App>) -> Router<Arc<App>> {
    let account = Router::new()
        .route("/access/service_tokens", get(tokens::list).post(tokens::create))
        .route("/access/service_tokens/{id}", get(tokens::show).put(tokens::update).delete(tokens::remove))
        .route("/access/service_tokens/{id}/rotate", post(tokens::rotate))
        .route("/access/service_tokens/{id}/refresh", post(tokens::refresh))
        .route("/access/apps", get(apps::list).post(apps::create))
        .route("/access/apps/{id}", get(apps::show).put(apps::update))
        .route("/access/apps/{id}/policies", get(policies::list).post(policies::create))
        .route(
            "/access/apps/{id}/policies/{policy}",
            get(policies::show).put(policies::update).delete(policies::remove),
        )
        .route("/gateway/rules", get(rules::list).post(rules::create))
        .route("/gateway/rules/{id}", get(rules::show).put(rules::update).delete(rules::remove))
        .route("/gateway/lists", get(lists::list).post(lists::create))
        .route("/gateway/lists/{id}", get(lists::show).put(lists::update).delete(lists::remove))
        .route("/devices/physical-devices", get(devices::list))
        .route("/devices/physical-devices/{id}", get(devices::show).delete(devices::remove))
        .route("/devices/physical-devices/{id}/revoke", post(devices::revoke))
        .route("/devices/registrations", get(registrations::list).delete(registrations::remove_many))
        .route("/devices/registrations/revoke", post(registrations::revoke))
        .route("/devices/registrations/unrevoke", post(registrations::unrevoke))
        .route("/devices/registrations/{id}", get(registrations::show).delete(registrations::remove))
        .route("/vestibule/users", get(users::list).post(users::create))
        .route("/vestibule/users/{id}", delete(users::remove))
        .route("/vestibule/identity_providers", get(providers::list).post(providers::create))
        .route("/vestibule/identity_providers/{id}", delete(providers::remove))
        .route("/vestibule/settings", get(settings::show).put(settings::update))
        .route("/vestibule/audit", get(audit::list))
        .route("/vestibule/status", get(status::show));
    Router::new()
        .nest("/accounts/{account_id}", account)
        .fallback(|| async { ApiError::new(StatusCode::NOT_FOUND, 7003, "there is no such path: check the address") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, 10405, "the path has other methods")
        })
        .layer(from_fn_with_state(Arc::clone(&app), audit::note))
        .layer(from_fn(to_the_end))
        .layer(from_fn(envelope::enclose))
        .layer(from_fn_with_state(app, auth::authenticate))
        .layer(DefaultBodyLimit::max(MAX_BODY))
}
