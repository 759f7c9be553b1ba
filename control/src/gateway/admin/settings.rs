//! `/vestibule/settings`: what happens when no rule matches, how service tokens are kept, and the emergency switch.

use super::body::read;
use super::envelope::{Answer, ApiError, one};
use crate::gateway::app::App;
use crate::gateway::inactivity::Inactivity;
use crate::rules::{DefaultAction, VIRTUAL_NETWORK};
use axum::body::Bytes;
use axum::extract::State;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    default_action_service_tokens: Option<DefaultAction>,
    default_action_users: Option<DefaultAction>,
    service_token_limit: Option<i64>,
    service_token_inactivity: Option<Inactivity>,
    revoke_with_token: Option<bool>,
    emergency_disconnect: Option<bool>,
}

/// Most service tokens that can be asked for.
const MOST_TOKENS: i64 = 10_000;

pub(super) async fn show(State(app): State<Arc<App>>) -> Answer {
    shown(&app).await
}

pub(super) async fn update(State(app): State<Arc<App>>, bytes: Bytes) -> Answer {
    let request: Update = read(&bytes)?;
    let limit = request.service_token_limit.filter(|limit| !(1..=MOST_TOKENS).contains(limit));
    if let Some(limit) = limit {
        return Err(ApiError::field(format!("`service_token_limit` must be 1 to {MOST_TOKENS}, got {limit}")));
    }
    if let Some(inactivity) = &request.service_token_inactivity {
        inactivity.check().map_err(ApiError::field)?;
    }
    let _administration = app.administration.lock().await;
    if let Some(engaged) = request.emergency_disconnect {
        app.store.set_emergency_disconnect(engaged).await?;
    }
    let Update { service_token_limit, service_token_inactivity, revoke_with_token, .. } = &request;
    if service_token_limit.is_some() || service_token_inactivity.is_some() || revoke_with_token.is_some() {
        let mut rules = app.store.service_token_rules().await?;
        rules.limit = request.service_token_limit.unwrap_or(rules.limit);
        if let Some(inactivity) = &request.service_token_inactivity {
            rules.inactivity = serde_json::to_string(inactivity).ok();
        }
        rules.revoke = revoke_with_token.unwrap_or(rules.revoke);
        app.store.set_service_token_rules(&rules).await?;
        app.revoke_with_tokens().await?;
    }
    if request.default_action_service_tokens.is_none() && request.default_action_users.is_none() {
        return shown(&app).await;
    }
    let now = app.store.current_organisation().await?;
    let choose = |new: Option<DefaultAction>, old| new.map_or(old, |action| action == DefaultAction::Allow);
    app.store
        .set_defaults(
            choose(request.default_action_service_tokens, now.default_allow_non_identity),
            choose(request.default_action_users, now.default_allow_user),
        )
        .await?;
    app.rules_changed().await?;
    shown(&app).await
}

async fn shown(app: &App) -> Answer {
    let (organisation, tokens) = (app.store.current_organisation().await?, app.store.service_token_rules().await?);
    let action = |allow| if allow { DefaultAction::Allow } else { DefaultAction::Block };
    one(json!({
        "organization": organisation.name,
        "default_action_service_tokens": action(organisation.default_allow_non_identity),
        "virtual_network_id": VIRTUAL_NETWORK,
        "default_action_users": action(organisation.default_allow_user),
        "service_token_limit": tokens.limit,
        "service_token_inactivity": Inactivity::of(&tokens),
        "revoke_with_token": tokens.revoke,
        "emergency_disconnect": app.store.emergency_disconnect().await?,
    }))
}
