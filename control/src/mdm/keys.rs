//! The names of all keys, and the values of a file by their names.

use super::{MdmConfig, OrganizationConfig};
use crate::registration::Hold;
use serde_json::{Value, json};

/// Keys of the top level.
pub const TOP_LEVEL: [&str; 8] = [
    "configs",
    "multi_user",
    "multi_user_keep_previous",
    "pre_login",
    "pre_login_hold",
    "organization_configs",
    "no_auth_no_internet",
    "no_auth_no_internet_block_rfc_1918",
];

/// Keys of `pre_login`.
pub const PRE_LOGIN: [&str; 3] = ["organization", "auth_client_id", "auth_client_secret"];

/// Keys of an entry of `organization_configs`.
pub const OVERRIDE: [&str; 2] = ["environment", "hardware_backed_registration"];

/// Keys of an organisation: in a flat file, or in an entry of `configs`.
pub const ORGANIZATION: [&str; 28] = [
    "organization",
    "display_name",
    "auth_client_id",
    "auth_client_secret",
    "service_mode",
    "proxy_port",
    "warp_tunnel_protocol",
    "enable_post_quantum",
    "enable_pmtud",
    "enable_netbt",
    "auto_connect",
    "switch_locked",
    "onboarding",
    "support_url",
    "gateway_unique_id",
    "override_api_endpoint",
    "override_doh_endpoint",
    "override_warp_endpoint",
    "environment",
    "allow_managed_deployments",
    "external_emergency_signal_url",
    "external_emergency_signal_fingerprint",
    "external_emergency_signal_interval",
    "local_emergency_signal_enabled",
    "unique_client_id",
    "app_identifier",
    "is_browser",
    "enabled",
];

impl OrganizationConfig {
    /// The keys that the file sets, in documented order, with their values; a secret shows as present only.
    #[must_use]
    pub fn values(&self) -> Vec<(&'static str, Value)> {
        let mut fields = serde_json::to_value(self).unwrap_or_default();
        if let Some(token) = self.token.as_ref() {
            fields["auth_client_id"] = json!(token.client_id);
            fields["auth_client_secret"] = json!(token.client_secret);
        }
        let set = |key: &'static str| Some((key, fields[key].take())).filter(|(_, value)| !value.is_null());
        ORGANIZATION.into_iter().filter_map(set).collect()
    }
}

impl MdmConfig {
    /// Every key that the file sets for a team, with its value: those of the whole file (without `configs`, `pre_login`
    /// and `organization_configs`), those of the team's entry, and what `organization_configs` says instead of them.
    #[must_use]
    pub fn values(&self, team: &str) -> Vec<(&'static str, Value)> {
        let top = TOP_LEVEL.into_iter().filter(|key| self.top_level.contains(key));
        let mut values: Vec<_> = top.filter_map(|key| Some((key, self.top_value(key)?))).collect();
        values.extend(self.organization(team).map(OrganizationConfig::values).unwrap_or_default());
        if let Some(instead) = self.organization_configs.get(&team.to_ascii_lowercase()) {
            let mut fields = serde_json::to_value(instead).unwrap_or_default();
            for key in OVERRIDE {
                let value = fields[key].take();
                if !value.is_null() {
                    values.retain(|(known, _)| *known != key);
                    values.push((key, value));
                }
            }
        }
        values
    }

    fn top_value(&self, key: &str) -> Option<Value> {
        Some(match key {
            "multi_user" => json!(self.multi_user),
            "multi_user_keep_previous" => json!(self.multi_user_keep_previous),
            "pre_login_hold" => match self.pre_login_hold {
                Hold::UntilAuthenticated => json!(-1),
                Hold::Cut => json!(0),
                Hold::Seconds(seconds) => json!(seconds),
            },
            "no_auth_no_internet" => json!(self.no_auth_no_internet),
            "no_auth_no_internet_block_rfc_1918" => json!(self.no_auth_no_internet_block_rfc_1918),
            _ => return None,
        })
    }
}
