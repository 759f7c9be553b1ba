//! `/devices/settings`: what holds for all devices of the organisation.

use super::body::read;
use super::envelope::{Answer, ApiError, one};
use super::profiles::Whole;
use crate::api::profile::OrganizationSettings;
use crate::gateway::app::App;
use crate::gateway::duration;
use axum::body::Bytes;
use axum::extract::State;
use serde::Deserialize;
use std::sync::Arc;

/// Shortest time between two polls of the emergency signal.
const MIN_INTERVAL: i64 = 30_000;
/// Longest time for which an override code may turn the client off: a day.
const MAX_DISABLED: i64 = 86_400;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edit {
    disable_for_time: Option<Whole>,
    external_emergency_signal_enabled: Option<bool>,
    external_emergency_signal_fingerprint: Option<String>,
    external_emergency_signal_interval: Option<String>,
    external_emergency_signal_url: Option<String>,
    gateway_proxy_enabled: Option<bool>,
    gateway_udp_proxy_enabled: Option<bool>,
    root_certificate_installation_enabled: Option<bool>,
    use_zt_virtual_ip: Option<bool>,
}

pub(super) async fn show(State(app): State<Arc<App>>) -> Answer {
    one(app.store.device_settings().await?)
}

/// `PUT`: what is left out has its default.
pub(super) async fn replace(State(app): State<Arc<App>>, bytes: Bytes) -> Answer {
    let edit: Edit = read(&bytes)?;
    let _administration = app.administration.lock().await;
    put(&app, edit, OrganizationSettings::default()).await
}

/// `PATCH`: what is left out stays.
pub(super) async fn update(State(app): State<Arc<App>>, bytes: Bytes) -> Answer {
    let edit: Edit = read(&bytes)?;
    let _administration = app.administration.lock().await;
    let before = app.store.device_settings().await?;
    put(&app, edit, before).await
}

async fn put(app: &App, edit: Edit, mut settings: OrganizationSettings) -> Answer {
    edit.apply(&mut settings)?;
    app.store.set_device_settings(&settings).await?;
    app.profiles_changed().await?;
    one(settings)
}

impl Edit {
    fn apply(self, settings: &mut OrganizationSettings) -> Result<(), ApiError> {
        let choose = |setting: &mut bool, value: Option<bool>| *setting = value.unwrap_or(*setting);
        choose(&mut settings.external_emergency_signal_enabled, self.external_emergency_signal_enabled);
        choose(&mut settings.gateway_proxy_enabled, self.gateway_proxy_enabled);
        choose(&mut settings.gateway_udp_proxy_enabled, self.gateway_udp_proxy_enabled);
        choose(&mut settings.root_certificate_installation_enabled, self.root_certificate_installation_enabled);
        choose(&mut settings.use_zt_virtual_ip, self.use_zt_virtual_ip);
        if let Some(seconds) = self.disable_for_time {
            settings.disable_for_time = seconds.within("disable_for_time", 0, MAX_DISABLED)?;
        }
        if !settings.use_zt_virtual_ip {
            let message = "`use_zt_virtual_ip` must be true: here every device has an inner address of its own";
            return Err(ApiError::field(message));
        }
        if let Some(text) = self.external_emergency_signal_fingerprint {
            if !(text.is_empty() || text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())) {
                let message = "`external_emergency_signal_fingerprint` must be a SHA-256 in 64 hex digits";
                return Err(ApiError::field(message));
            }
            settings.external_emergency_signal_fingerprint = text.to_ascii_lowercase();
        }
        if let Some(text) = self.external_emergency_signal_interval {
            duration::parse(&text).ok().filter(|millis| *millis >= MIN_INTERVAL).ok_or_else(|| {
                ApiError::field("`external_emergency_signal_interval` must be a duration of at least 30s, like `5m`")
            })?;
            settings.external_emergency_signal_interval = text;
        }
        if let Some(url) = self.external_emergency_signal_url {
            if !(url.is_empty() || crate::mdm::literal_host(&url)) {
                let message = "`external_emergency_signal_url` must be an https:// address whose host is an IP address";
                return Err(ApiError::field(message));
            }
            settings.external_emergency_signal_url = url;
        }
        if settings.external_emergency_signal_enabled && settings.external_emergency_signal_url.is_empty() {
            return Err(ApiError::field("`external_emergency_signal_enabled` needs `external_emergency_signal_url`"));
        }
        Ok(())
    }
}
