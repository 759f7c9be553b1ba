//! `GET /changes`: a long poll for news of one registration and its rules.

use super::{Answer, bearer};
use crate::api::device::{Changes, RegistrationStatus};
use crate::gateway::app::App;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
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
    Query(Since { since }): Query<Since>,
    headers: HeaderMap,
) -> Answer<Changes> {
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
            let policy = Some(book.document(&registration.email));
            return Ok(Json(Changes { version, registration: status, policy }));
        }
        if timeout_at(deadline, news).await.is_err() {
            return Ok(Json(Changes { version, registration: status, policy: None }));
        }
    }
}
