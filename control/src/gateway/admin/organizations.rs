//! `/access/organizations`: the organisation in the vendor's words, as much of it as there is here.

use super::body::{read, unsupported};
use super::envelope::{Answer, ApiError, one};
use crate::gateway::app::App;
use crate::gateway::inactivity::Inactivity;
use crate::rules::access_domain;
use axum::body::Bytes;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// What is left out stays as it is. What the gateway cannot change may be sent as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    name: Option<String>,
    auth_domain: Option<String>,
    auto_redirect_to_identity: Option<bool>,
    strict_service_token_auth: Option<bool>,
    service_token_inactivity: Option<Inactivity>,
    allow_authenticate_via_warp: Option<Value>,
    custom_pages: Option<Value>,
    deny_unmatched_requests: Option<Value>,
    deny_unmatched_requests_exempted_zone_names: Option<Value>,
    is_ui_read_only: Option<Value>,
    login_design: Option<Value>,
    mfa_config: Option<Value>,
    mfa_piv_key_requirements: Option<Value>,
    mfa_required_for_all_apps: Option<Value>,
    session_duration: Option<Value>,
    ui_read_only_toggle_reason: Option<Value>,
    user_seat_expiration_inactive_time: Option<Value>,
    warp_auth_session_duration: Option<Value>,
}

pub(super) async fn show(State(app): State<Arc<App>>) -> Answer {
    one(shown(&app).await?)
}

pub(super) async fn update(State(app): State<Arc<App>>, bytes: Bytes) -> Answer {
    let request: Update = read(&bytes)?;
    for (field, value) in [
        ("allow_authenticate_via_warp", &request.allow_authenticate_via_warp),
        ("custom_pages", &request.custom_pages),
        ("deny_unmatched_requests", &request.deny_unmatched_requests),
        ("deny_unmatched_requests_exempted_zone_names", &request.deny_unmatched_requests_exempted_zone_names),
        ("is_ui_read_only", &request.is_ui_read_only),
        ("login_design", &request.login_design),
        ("mfa_config", &request.mfa_config),
        ("mfa_piv_key_requirements", &request.mfa_piv_key_requirements),
        ("mfa_required_for_all_apps", &request.mfa_required_for_all_apps),
        ("session_duration", &request.session_duration),
        ("ui_read_only_toggle_reason", &request.ui_read_only_toggle_reason),
        ("user_seat_expiration_inactive_time", &request.user_seat_expiration_inactive_time),
        ("warp_auth_session_duration", &request.warp_auth_session_duration),
    ] {
        unsupported(field, value)?;
    }
    let _administration = app.administration.lock().await;
    let now = shown(&app).await?;
    let asked = json!({
        "name": request.name,
        "auth_domain": request.auth_domain,
        "auto_redirect_to_identity": request.auto_redirect_to_identity,
        "strict_service_token_auth": request.strict_service_token_auth,
    });
    for (field, value) in asked.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        if *value != now[field] {
            let why = if field == "auto_redirect_to_identity" {
                "the application of type `warp` says it: change it at access/apps"
            } else {
                "it cannot be changed here"
            };
            return Err(ApiError::field(format!("`{field}` must be {}, or left out: {why}", now[field])));
        }
    }
    if let Some(inactivity) = &request.service_token_inactivity {
        inactivity.check().map_err(ApiError::field)?;
        let mut rules = app.store.service_token_rules().await?;
        rules.inactivity = serde_json::to_string(inactivity).ok();
        app.store.set_service_token_rules(&rules).await?;
    }
    one(shown(&app).await?)
}

async fn shown(app: &App) -> Result<Value, ApiError> {
    let tokens = app.store.service_token_rules().await?;
    let apps = app.store.apps().await?;
    Ok(json!({
        "name": app.settings.organization,
        "auth_domain": access_domain(&app.settings.organization),
        "auto_redirect_to_identity": apps.first().is_some_and(|app| app.settings.auto_redirect_to_identity),
        "strict_service_token_auth": true,
        "service_token_inactivity": Inactivity::of(&tokens),
        "allow_authenticate_via_warp": false,
        "is_ui_read_only": false,
    }))
}
