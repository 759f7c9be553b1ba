//! `GET /changes`: a long poll for news of one registration, its rules and its profile.
//!
//! The caller says what it holds, by name; it is answered when what is in force has another name. Nothing is missed by
//! whoever was away, and nothing is sent twice. Documents come from the snapshots as the JSON that was made once.

use super::{DeviceError, bearer};
use crate::api::device::Held;
use crate::gateway::app::App;
use crate::gateway::known::Known;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};

/// Longest wait for news.
const WAIT: Duration = Duration::from_secs(25);

pub(super) async fn changes(
    State(app): State<Arc<App>>,
    query: Result<Query<Held>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, DeviceError> {
    let Query(held) = query.map_err(|_| {
        let message = "`since` must be the version of the last answer, or 0, and `posture` a number of seconds";
        DeviceError::new(StatusCode::BAD_REQUEST, "malformed", message)
    })?;
    let mut known = bearer::known(&app, &headers).await?;
    let id = known.registration.id;
    let deadline = Instant::now() + WAIT;
    let mut subscription = app.hub.subscribe(id, &known.registration.device_id);
    loop {
        let news = subscription.news();
        // Looked at after the subscription: what changes from here on is news.
        if let Some(now) = app.known(&id).await? {
            known = now;
        }
        let answer = Answer::new(&app, &known, &held);
        if answer.is_news || timeout_at(deadline, news).await.is_err() {
            return Ok(([(CONTENT_TYPE, "application/json")], answer.json).into_response());
        }
    }
}

/// What there is to say now: [`crate::api::device::Changes`] as JSON.
struct Answer {
    json: String,
    /// Whether the caller does not know it yet.
    is_news: bool,
}

impl Answer {
    fn new(app: &App, known: &Known, held: &Held) -> Self {
        let book = app.book();
        let version = book.version();
        let status = known.registration.status();
        let mut json = format!("{{\"version\":{version},\"registration\":{}", text(&status));
        let Some(subject) = &known.subject else {
            json.push_str(",\"policy\":null}");
            return Self { json, is_news: true };
        };
        let (rules, profile) = (book.compiled(subject), app.profiles().resolve(subject));
        let posture = app.posture().schedule(&subject.os_name);
        let other = |held: &Option<String>, digest: &str| held.as_deref() != Some(digest);
        // Who names no rules is told them when their version changed.
        let policy = if held.policy.is_some() { other(&held.policy, rules.digest()) } else { version != held.since };
        json.push_str(",\"policy\":");
        json.push_str(if policy { rules.json() } else { "null" });
        json.push_str(&format!(",\"policy_digest\":{}", text(rules.digest())));
        if other(&held.profile, &profile.digest) {
            json.push_str(",\"profile\":");
            json.push_str(&profile.json);
        }
        json.push_str(&format!(",\"profile_digest\":{},\"posture\":{}}}", text(&profile.digest), text(&posture)));
        let is_news = policy
            || version != held.since
            || held.profile.is_some() && other(&held.profile, &profile.digest)
            || held.posture.is_some_and(|every| every != posture.every.unwrap_or(0));
        Self { json, is_news }
    }
}

fn text(value: &(impl serde::Serialize + ?Sized)) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
