//! `/vestibule/settings`: what happens when no rule matches.

use super::body::read;
use super::envelope::{Answer, one};
use crate::gateway::app::App;
use crate::gateway::store::Organisation;
use crate::rules::RuleAction;
use axum::body::Bytes;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    default_action_service_tokens: Option<RuleAction>,
    default_action_users: Option<RuleAction>,
}

pub(super) async fn show(State(app): State<Arc<App>>) -> Answer {
    one(shown(&app.store.current_organisation().await?))
}

pub(super) async fn update(State(app): State<Arc<App>>, bytes: Bytes) -> Answer {
    let request: Update = read(&bytes)?;
    let _administration = app.administration.lock().await;
    let now = app.store.current_organisation().await?;
    let choose = |new: Option<RuleAction>, old| new.map_or(old, |action| action == RuleAction::Allow);
    app.store
        .set_defaults(
            choose(request.default_action_service_tokens, now.default_allow_non_identity),
            choose(request.default_action_users, now.default_allow_user),
        )
        .await?;
    app.rules_changed().await?;
    one(shown(&app.store.current_organisation().await?))
}

fn shown(organisation: &Organisation) -> Value {
    let action = |allow| if allow { RuleAction::Allow } else { RuleAction::Block };
    json!({
        "organization": organisation.name,
        "default_action_service_tokens": action(organisation.default_allow_non_identity),
        "default_action_users": action(organisation.default_allow_user),
    })
}
