//! `/vestibule/audit`: swaps and changes, oldest first, `?since=ID` for what came after an entry.

use super::envelope::{Answer, ApiError, many};
use crate::gateway::app::App;
use crate::gateway::clock;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

const MOST: i64 = 1000;

#[derive(Deserialize)]
pub(super) struct Page {
    #[serde(default)]
    since: i64,
}

/// Writes down that an administrator changed something: which call, never its content.
pub(super) async fn note(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let call = (request.method() != Method::GET).then(|| format!("{} {}", request.method(), request.uri().path()));
    let response = next.run(request).await;
    if let Some(call) = call.filter(|_| response.status().is_success())
        && let Err(error) = app.store.audit("change", None, Some(&call), clock::now()).await
    {
        tracing::error!(error = crate::causes::chain(&error), "an audit entry is lost");
    }
    response
}

pub(super) async fn list(State(app): State<Arc<App>>, page: Result<Query<Page>, QueryRejection>) -> Answer {
    let Query(Page { since }) = page.map_err(|_| ApiError::field("`since` must be an entry's id"))?;
    let entries = app.store.audit_since(since, MOST).await?;
    many(
        entries
            .into_iter()
            .map(|entry| {
                let mut value = json!(entry);
                value["at"] = clock::rfc3339(entry.at).into();
                value
            })
            .collect(),
    )
}
