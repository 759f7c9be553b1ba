//! `/vestibule/audit`: swaps, registrations and changes, oldest first.

use super::envelope::{Answer, ApiError, listed};
use super::paging::{Asked, Listing, MOST};
use super::query::{descending, parameters, refused, time};
use crate::gateway::app::App;
use crate::gateway::clock;
use crate::gateway::store::{AuditEntry, AuditFilter};
use axum::extract::{RawQuery, State};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn list(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer {
    let mut filter = AuditFilter::default();
    for (name, value) in parameters(query.as_deref()) {
        match name.as_str() {
            "since" => {
                filter.since = value.parse().map_err(|_| ApiError::field("`since` must be an entry's id"))?;
            }
            "kind" => filter.kind = Some(value),
            "actor" => filter.actor = Some(value),
            "resource_type" => filter.resource_type = Some(value),
            "resource_id" => filter.resource_id = Some(value),
            "device_id" => filter.device_id = Some(value),
            "from" => filter.from = Some(time("from", &value)?),
            "until" => filter.until = Some(time("until", &value)?),
            "direction" => filter.newest_first = descending("direction", &value)?,
            "page" | "per_page" => {}
            _ => return Err(refused(&name)),
        }
    }
    let shown = |entry: AuditEntry| {
        let at = clock::rfc3339(entry.at);
        let mut value = json!(entry);
        value["at"] = at.into();
        value
    };
    page(&app, &filter, query.as_deref(), shown).await
}

/// A page of entries, each as `shown`.
async fn page(app: &App, filter: &AuditFilter, query: Option<&str>, shown: impl Fn(AuditEntry) -> Value) -> Answer {
    let asked = Asked::read(query)?;
    let (page, per_page) = (asked.page.unwrap_or(1), asked.per_page.unwrap_or(MOST));
    let skip = i64::try_from((page - 1).saturating_mul(per_page)).unwrap_or(i64::MAX);
    let entries = app.store.audit_entries(filter, skip, per_page as i64).await?;
    let total = usize::try_from(app.store.audit_count(filter).await?).unwrap_or_default();
    listed(Listing::Page { items: entries.into_iter().map(shown).collect(), page, per_page, total })
}

/// The vendor's shape, newest first.
pub(super) async fn vendor_list(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer {
    let mut filter = AuditFilter { newest_first: true, ..AuditFilter::default() };
    for (name, value) in parameters(query.as_deref()) {
        match name.as_str() {
            "since" => filter.from = Some(time("since", &value)?),
            "before" => filter.until = Some(time("before", &value)?),
            "direction" => filter.newest_first = descending("direction", &value)?,
            // Tokens have no mail address; their name stands in its place.
            "actor.email" => filter.actor = Some(value),
            "id" => {
                let wrong = || ApiError::field(format!("`id` must be an entry's id, got `{value}`"));
                filter.id = Some(value.parse().map_err(|_| wrong())?);
            }
            "page" | "per_page" | "export" | "hide_user_logs" => {}
            _ => return Err(refused(&name)),
        }
    }
    let account = app.settings.account_id.clone();
    page(&app, &filter, query.as_deref(), |entry| vendor(&entry, &account)).await
}

fn vendor(entry: &AuditEntry, account: &str) -> Value {
    let call = entry.detail.as_deref().filter(|_| entry.kind == "change");
    let action = match call.and_then(|call| call.split(' ').next()) {
        Some("POST") => "create",
        Some("DELETE") => "delete",
        Some(_) => "update",
        None => &entry.kind,
    };
    let text = |value: &Option<Value>| value.as_ref().map(Value::to_string);
    json!({
        "id": entry.id.to_string(),
        "when": clock::rfc3339(entry.at),
        "action": { "type": action, "result": entry.status.is_none_or(|status| status < 400) },
        "actor": { "id": entry.actor_id, "email": entry.actor_name.as_ref().or(entry.email.as_ref()),
            "type": if call.is_some() { "user" } else { "system" } },
        "interface": "API",
        "metadata": { "call": call, "status": entry.status, "device_id": entry.device_id },
        "resource": { "type": entry.resource_type.as_deref().unwrap_or("registration"),
            "id": entry.resource_id.as_ref().or(entry.registration_id.as_ref()) },
        "oldValue": text(&entry.before),
        "newValue": text(&entry.after),
        "owner": { "id": account },
    })
}
