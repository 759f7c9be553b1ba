//! `GET /changes`: a long poll for news of one registration and its rules.

use super::{Answer, DeviceError, bearer};
use crate::api::device::{Changes, RegistrationStatus};
use crate::gateway::app::App;
use crate::gateway::clock;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};

/// Longest wait for news.
const WAIT: Duration = Duration::from_secs(25);

#[derive(Deserialize)]
pub(super) struct Since {
    /// The version that the caller has; 0 for none.
    #[serde(default)]
    since: u64,
}

pub(super) async fn changes(
    State(app): State<Arc<App>>,
    query: Result<Query<Since>, QueryRejection>,
    headers: HeaderMap,
) -> Answer<Changes> {
    let Query(Since { since }) = query.map_err(|_| {
        DeviceError::new(StatusCode::BAD_REQUEST, "malformed", "`since` must be the version of the last answer, or 0")
    })?;
    let mut registration = bearer::registration(&app, &headers).await?;
    let deadline = Instant::now() + WAIT;
    let mut subscription = app.hub.subscribe(registration.id);
    loop {
        let news = subscription.news();
        // Looked at after the subscription: what changes from here on is news.
        if let Some(now) = app.store.registration(&registration.id).await? {
            registration = now;
        }
        let book = app.book();
        let (version, status) = (book.version(), registration.status());
        if status != RegistrationStatus::Active {
            return Ok(Json(Changes { version, registration: status, policy: None }));
        }
        if version != since {
            let subject = app.store.subject(&registration.id, clock::now()).await?;
            let policy = subject.map(|subject| book.compiled(&subject).document.clone());
            return Ok(Json(Changes { version, registration: status, policy }));
        }
        if timeout_at(deadline, news).await.is_err() {
            return Ok(Json(Changes { version, registration: status, policy: None }));
        }
    }
}
