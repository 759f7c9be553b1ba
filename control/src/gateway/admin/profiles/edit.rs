//! What an administrator changes of a profile. A field that is left out stays as it is.

use super::super::body::unsupported;
use super::super::envelope::ApiError;
use super::entries::{Entry, Fallback, fallback, tunnel_entries};
use crate::api::profile::{
    Mode, ProfileSettings, SearchSuffix, ServiceMode, SplitTunnel, TunnelProtocol, VirtualNetworks,
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Longest `auto_connect` and `captive_portal`: a day, as in the MDM file.
const DAY: i64 = 86_400;
/// Search suffixes, by the vendor's limit.
const MAX_SUFFIXES: usize = 25;

/// A whole number; SDKs write them as `180` or `180.0`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole(f64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Self)
    }
}

impl Whole {
    /// The number, if it is a whole one of `low..=high`.
    pub(crate) fn within<T: TryFrom<i64>>(self, field: &str, low: i64, high: i64) -> Result<T, ApiError> {
        let number = (self.0.fract() == 0.0 && self.0.abs() < 9e15).then_some(self.0 as i64);
        number.filter(|number| (low..=high).contains(number)).and_then(|number| T::try_from(number).ok()).ok_or_else(
            || ApiError::field(format!("`{field}` must be a whole number from {low} to {high}, got {}", self.0)),
        )
    }
}

/// The body of `POST` and `PATCH`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Edit {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    #[serde(rename = "match")]
    pub(super) matching: Option<String>,
    pub(super) precedence: Option<Whole>,
    pub(super) enabled: Option<bool>,
    default: Option<bool>,
    profile_type: Option<String>,
    allow_mode_switch: Option<bool>,
    allow_updates: Option<bool>,
    allowed_to_leave: Option<bool>,
    auto_connect: Option<Whole>,
    captive_portal: Option<Whole>,
    disable_auto_fallback: Option<bool>,
    dns_search_suffixes: Option<Vec<Suffix>>,
    exclude: Option<Vec<Entry>>,
    include: Option<Vec<Entry>>,
    exclude_office_ips: Option<bool>,
    fallback_domains: Option<Vec<Fallback>>,
    lan_allow_minutes: Option<Whole>,
    lan_allow_subnet_size: Option<Whole>,
    register_interface_ip_with_dns: Option<bool>,
    sccm_vpn_boundary_support: Option<bool>,
    service_mode_v2: Option<ModeEdit>,
    support_url: Option<String>,
    switch_locked: Option<bool>,
    tunnel_protocol: Option<String>,
    uninstall_protection: Option<bool>,
    /// There and null takes the restriction away.
    #[serde(default, deserialize_with = "given")]
    virtual_networks: Option<Option<VirtualNetworks>>,
    global_acceleration: Option<Value>,
    browser_extension_config: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Suffix {
    suffix: String,
    description: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModeEdit {
    mode: Option<Mode>,
    port: Option<Whole>,
}

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<VirtualNetworks>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl Edit {
    /// Checks every field, then takes them over; nothing is changed when one is wrong.
    pub(super) fn apply(self, settings: &mut ProfileSettings) -> Result<(), ApiError> {
        if self.default == Some(true) {
            return Err(ApiError::field("`default` must be false: there is one default profile, and it stays"));
        }
        if self.profile_type.as_deref().is_some_and(|kind| kind != "warp") {
            return Err(ApiError::field("`profile_type` must be `warp`: there is no browser extension here"));
        }
        unsupported("global_acceleration", &self.global_acceleration)?;
        unsupported("browser_extension_config", &self.browser_extension_config)?;
        let mut new = settings.clone();
        set(&mut new.allow_mode_switch, self.allow_mode_switch);
        set(&mut new.allow_updates, self.allow_updates);
        set(&mut new.allowed_to_leave, self.allowed_to_leave);
        set(&mut new.disable_auto_fallback, self.disable_auto_fallback);
        set(&mut new.exclude_office_ips, self.exclude_office_ips);
        set(&mut new.register_interface_ip_with_dns, self.register_interface_ip_with_dns);
        set(&mut new.sccm_vpn_boundary_support, self.sccm_vpn_boundary_support);
        set(&mut new.switch_locked, self.switch_locked);
        set(&mut new.uninstall_protection, self.uninstall_protection);
        if let Some(seconds) = self.auto_connect {
            new.auto_connect = seconds.within("auto_connect", 0, DAY)?;
        }
        if let Some(seconds) = self.captive_portal {
            new.captive_portal = seconds.within("captive_portal", 0, DAY)?;
        }
        if let Some(minutes) = self.lan_allow_minutes {
            new.lan_allow_minutes = Some(minutes.within("lan_allow_minutes", 0, 120)?);
        }
        if let Some(size) = self.lan_allow_subnet_size {
            new.lan_allow_subnet_size = Some(size.within("lan_allow_subnet_size", 24, 32)?);
        }
        if let Some(suffixes) = self.dns_search_suffixes {
            new.dns_search_suffixes = search_suffixes(suffixes)?;
        }
        if let Some(domains) = self.fallback_domains {
            new.fallback_domains = fallback(domains)?;
        }
        match (self.include, self.exclude) {
            (Some(include), Some(exclude)) if !include.is_empty() && !exclude.is_empty() => {
                return Err(ApiError::field("`include` and `exclude` cannot both be set: choose one"));
            }
            (Some(include), exclude) if !include.is_empty() || exclude.is_none() => {
                new.split_tunnel = SplitTunnel::Include(tunnel_entries("include", include)?);
            }
            (_, Some(exclude)) => new.split_tunnel = SplitTunnel::Exclude(tunnel_entries("exclude", exclude)?),
            _ => {}
        }
        if let Some(mode) = self.service_mode_v2 {
            new.service_mode_v2 = mode.read(&new.service_mode_v2)?;
        }
        if let Some(url) = self.support_url {
            new.support_url = support_url(url)?;
        }
        if let Some(protocol) = self.tunnel_protocol {
            new.tunnel_protocol = match protocol.as_str() {
                "" | "wireguard" => TunnelProtocol::Wireguard,
                "masque" => TunnelProtocol::Masque,
                other => {
                    let message = format!("`tunnel_protocol` must be `wireguard` or `masque`, got `{other}`");
                    return Err(ApiError::field(message));
                }
            };
        }
        if let Some(networks) = self.virtual_networks {
            if networks.as_ref().is_some_and(|networks| !networks.allowed.contains(&networks.default)) {
                return Err(ApiError::field("`virtual_networks.default` must be one of `virtual_networks.allowed`"));
            }
            new.virtual_networks = networks;
        }
        *settings = new;
        Ok(())
    }
}

fn set(setting: &mut bool, value: Option<bool>) {
    *setting = value.unwrap_or(*setting);
}

impl ModeEdit {
    fn read(self, before: &ServiceMode) -> Result<ServiceMode, ApiError> {
        let mode = self.mode.unwrap_or(before.mode);
        let port = self.port.map(|port| port.within("service_mode_v2.port", 0, 65_535)).transpose()?;
        match (mode, port.filter(|port: &u16| *port != 0)) {
            (Mode::Proxy, Some(port)) => Ok(ServiceMode { mode, port: Some(port) }),
            (Mode::Proxy, None) => Err(ApiError::field("`service_mode_v2.port` must be 1 to 65535 with `proxy`")),
            (_, Some(_)) => Err(ApiError::field("`service_mode_v2.port` belongs to the mode `proxy` only")),
            (mode, None) => Ok(ServiceMode { mode, port: None }),
        }
    }
}

fn support_url(url: String) -> Result<String, ApiError> {
    let good = url.is_empty()
        || ["https://", "mailto:"].iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme));
    if good && url.len() <= 2048 && !url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        Ok(url)
    } else {
        Err(ApiError::field("`support_url` must be empty, or begin with https:// or mailto:"))
    }
}

fn search_suffixes(given: Vec<Suffix>) -> Result<Vec<SearchSuffix>, ApiError> {
    if given.len() > MAX_SUFFIXES {
        let message = format!("`dns_search_suffixes` must have at most {MAX_SUFFIXES} entries, got {}", given.len());
        return Err(ApiError::field(message));
    }
    let mut suffixes: Vec<SearchSuffix> = Vec::new();
    for entry in given {
        let suffix = super::entries::domain("dns_search_suffixes", &entry.suffix)?;
        if suffixes.iter().any(|known| known.suffix == suffix) {
            return Err(ApiError::field(format!("`dns_search_suffixes` has `{suffix}` twice")));
        }
        suffixes.push(SearchSuffix { suffix, description: super::super::body::description(entry.description)? });
    }
    Ok(suffixes)
}
