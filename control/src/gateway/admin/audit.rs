//! `/vestibule/audit`: swaps and changes, oldest first, `?since=ID` for what came after an entry.

use super::envelope::{Answer, many};
use crate::gateway::app::App;
use crate::gateway::clock;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

const MOST: i64 = 1000;

#[derive(Deserialize)]
pub(super) struct Page {
    #[serde(default)]
    since: i64,
}

pub(super) async fn list(State(app): State<Arc<App>>, Query(Page { since }): Query<Page>) -> Answer {
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
