//! How a user proves who they are: a form for local accounts, a button for each OpenID Connect provider.
//!
//! ```text
//! browser -- GET /warp?redirect_uri=&state=&code_challenge= --> form
//!         -- POST /warp/login (or /warp/oidc/...) ----------> 303 redirect_uri?code=&state=
//! daemon  -- POST /vestibule/v1/auth/token (code, verifier) -> assertion (single use, five minutes)
//!         -- POST /vestibule/v1/registrations with it ------> the enrolment policies decide
//! ```

mod claims;
mod form;
mod grants;
mod limit;
mod offered;
mod oidc;
mod page;
mod password;
mod request;
mod token;

pub(super) use claims::groups;
pub(super) use grants::Assertion;
pub(super) use password::{hash_password, unusable};
pub(super) use token::token;

use super::access::Presented;
use super::app::App;
use super::server::to_the_end;
use crate::crypto::RandomError;
use crate::rules::Person;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Largest form taken.
const MAX_FORM: usize = 16 * 1024;
/// Passwords checked at a time: each takes 19 MiB and tens of milliseconds of a core.
const CHECKS: usize = 2;

/// A user who has logged in.
#[derive(Clone, Debug)]
pub(super) struct Identified {
    /// Who, as the login said it.
    pub(super) person: Person,
    /// At which identity provider; `None` for a local account.
    pub(super) provider: Option<String>,
    /// What the browser presented in its TLS handshake.
    pub(super) presented: Presented,
}

/// Logins under way.
pub(super) struct Login {
    pub(super) grants: grants::Grants,
    limiter: limit::Limiter,
    pending: oidc::PendingLogins,
    checks: Semaphore,
}

impl Login {
    pub(super) fn new() -> Self {
        Self {
            grants: grants::Grants::default(),
            limiter: limit::Limiter::default(),
            pending: oidc::PendingLogins::default(),
            checks: Semaphore::new(CHECKS),
        }
    }
}

/// The routes under `/warp`.
pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/warp", get(form::show))
        .route("/warp/login", post(form::login))
        .route("/warp/oidc/start", get(oidc::start))
        .route("/warp/oidc/callback", get(oidc::callback))
        .layer(from_fn(to_the_end))
        .layer(DefaultBodyLimit::max(MAX_FORM))
}

/// Why no login could be made.
#[derive(Debug, thiserror::Error)]
enum LoginError {
    #[error(transparent)]
    Store(#[from] super::store::StoreError),
    #[error(transparent)]
    Random(#[from] RandomError),
}
