//! `/logs/audit`: the audit log in the vendor's newer shape, walked by a cursor.

use super::envelope::{Answer, ApiError, listed};
use super::paging::{Listing, MOST, opened};
use super::query::{descending, parameters, refused};
use crate::gateway::app::{App, Settings};
use crate::gateway::clock;
use crate::gateway::store::{AuditEntry, AuditFilter, Millis};
use axum::extract::{RawQuery, State};
use serde_json::{Value, json};
use std::sync::Arc;

/// Entries per answer, unless `limit` says another number.
const USUAL: usize = 100;

/// Filters, and what of an entry they look at. `NAME.not` keeps those away that have the value.
const FILTERS: [(&str, &str); 17] = [
    ("id", "/id"),
    ("audit_log_id", "/id"),
    ("account_name", "/account/name"),
    ("action_result", "/action/result"),
    ("action_type", "/action/type"),
    ("actor_context", "/actor/context"),
    ("actor_email", "/actor/email"),
    ("actor_id", "/actor/id"),
    ("actor_token_id", "/actor/token_id"),
    ("actor_token_name", "/actor/token_name"),
    ("actor_type", "/actor/type"),
    ("raw_method", "/raw/method"),
    ("raw_status_code", "/raw/status_code"),
    ("raw_uri", "/raw/uri"),
    ("resource_id", "/resource/id"),
    ("resource_type", "/resource/type"),
    ("resource_product", "/resource/product"),
];

/// What is asked for.
#[derive(Default)]
struct Asked {
    from: Option<Millis>,
    until: Option<Millis>,
    oldest_first: bool,
    limit: Option<usize>,
    /// The last entry of the answer before.
    after: Option<i64>,
    /// What a field must be, one of, and must not.
    wanted: Vec<(&'static str, Vec<String>)>,
    unwanted: Vec<(&'static str, String)>,
}

impl Asked {
    fn read(query: Option<&str>) -> Result<Self, ApiError> {
        let mut asked = Self::default();
        for (name, value) in parameters(query) {
            match name.as_str() {
                "since" => asked.from = Some(day_or_time("since", &value)?),
                "before" => asked.until = Some(day_or_time("before", &value)?),
                "direction" => asked.oldest_first = !descending("direction", &value)?,
                "limit" => {
                    let number = value.parse::<f64>().ok().filter(|number| (1.0..=MOST as f64).contains(number));
                    let wrong = || ApiError::field(format!("`limit` must be 1 to {MOST}, got `{value}`"));
                    asked.limit = Some(number.ok_or_else(wrong)? as usize);
                }
                "cursor" if value.is_empty() => {}
                "cursor" => {
                    let wrong = || ApiError::field("`cursor` must be the cursor of an earlier answer, unchanged");
                    asked.after = Some(opened(&value)?.1.parse().map_err(|_| wrong())?);
                }
                _ => asked.filter(&name, value)?,
            }
        }
        Ok(asked)
    }

    fn filter(&mut self, name: &str, value: String) -> Result<(), ApiError> {
        let plain = name.trim_end_matches("[]");
        let (plain, negated) = plain.strip_suffix(".not").map_or((plain, false), |plain| (plain, true));
        let &(_, pointer) = FILTERS.iter().find(|(name, _)| *name == plain).ok_or_else(|| refused(name))?;
        if negated {
            self.unwanted.push((pointer, value));
        } else if let Some((_, values)) = self.wanted.iter_mut().find(|(known, _)| *known == pointer) {
            values.push(value);
        } else {
            self.wanted.push((pointer, vec![value]));
        }
        Ok(())
    }

    fn takes(&self, shown: &Value) -> bool {
        let is = |pointer: &str, value: &str| match shown.pointer(pointer) {
            Some(Value::String(text)) => text == value,
            Some(Value::Null) | None => false,
            Some(other) => other.as_i64().is_some_and(|number| value.parse() == Ok(number)),
        };
        self.wanted.iter().all(|(pointer, values)| values.iter().any(|value| is(pointer, value)))
            && !self.unwanted.iter().any(|(pointer, value)| is(pointer, value))
    }
}

pub(super) async fn list(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer {
    let asked = Asked::read(query.as_deref())?;
    let limit = asked.limit.unwrap_or(USUAL);
    let (mut items, mut last, mut ended) = (Vec::new(), asked.after, false);
    // The disk knows times and order; the rest is looked at here, so many entries at a time.
    while items.len() <= limit && !ended {
        let filter = AuditFilter {
            since: last.filter(|_| asked.oldest_first).unwrap_or_default(),
            below: last.filter(|_| !asked.oldest_first),
            from: asked.from,
            until: asked.until,
            newest_first: !asked.oldest_first,
            ..AuditFilter::default()
        };
        let entries = app.store.audit_entries(&filter, 0, MOST as i64).await?;
        ended = entries.len() < MOST;
        last = entries.last().map(|entry| entry.id).or(last);
        let shown = entries.iter().map(|entry| shown(entry, &app.settings));
        items.extend(shown.filter(|shown| asked.takes(shown)));
    }
    let more = items.len() > limit;
    items.truncate(limit);
    listed(Listing::Cut { items, more })
}

/// A day, which begins at midnight UTC, or a time.
fn day_or_time(field: &str, text: &str) -> Result<Millis, ApiError> {
    clock::parse(text).or_else(|| clock::parse(&format!("{text}T00:00:00Z"))).ok_or_else(|| {
        ApiError::field(format!(
            "`{field}` must be a day like 2027-01-31, or a time like 2027-01-31T12:00:00Z, got `{text}`"
        ))
    })
}

fn shown(entry: &AuditEntry, settings: &Settings) -> Value {
    let call = entry.detail.as_deref().filter(|_| entry.kind == "change").and_then(|call| call.split_once(' '));
    let action = match (call.map(|(method, _)| method), entry.kind.as_str()) {
        (Some("POST"), _) | (None, "enrol") => "create",
        (Some("DELETE"), _) | (None, "delete") => "delete",
        _ => "update",
    };
    let said = if entry.kind == "alert" { entry.detail.as_ref().unwrap_or(&entry.kind) } else { &entry.kind };
    let done = entry.status.is_none_or(|status| status < 400);
    json!({
        "id": entry.id.to_string(),
        "account": { "id": settings.account_id, "name": settings.organization },
        "action": {
            "description": call.map_or_else(|| said.clone(), |(method, uri)| format!("{method} {uri}")),
            "result": if done { "success" } else { "failure" },
            "time": clock::rfc3339(entry.at),
            "type": action,
        },
        "actor": {
            "id": entry.actor_id.as_ref().or(entry.registration_id.as_ref()),
            "context": call.map(|_| "api_token"),
            "email": entry.email,
            "token_id": entry.actor_id,
            "token_name": entry.actor_name,
            "type": if call.is_some() { "account" } else { "system" },
        },
        "raw": { "method": call.map(|(method, _)| method), "uri": call.map(|(_, uri)| uri), "status_code": entry.status },
        "resource": {
            "id": entry.resource_id.as_ref().or(entry.registration_id.as_ref()),
            "type": entry.resource_type.as_deref().unwrap_or("registration"),
            "product": "zero_trust",
            "scope": "accounts",
            "request": { "before": entry.before, "device_id": entry.device_id },
            "response": entry.after,
        },
    })
}
