//! The keys of one organisation, in a flat file or in an entry of `configs`.

use super::{
    config::{Environment, OrganizationConfig, OrganizationOverride, ServiceMode, ServiceToken, TunnelProtocol},
    dict::Dict,
    error::Problem,
    plist::Fault,
};
use std::net::{IpAddr, SocketAddr};

/// Takes every organisation key out of the dict.
pub(super) fn read(dict: &mut Dict) -> Result<OrganizationConfig, Fault> {
    let environment = dict.parsed("environment", &one_of(Environment::WORDS), Environment::from_word)?;
    Ok(OrganizationConfig {
        organization: team(dict)?,
        display_name: dict.text("display_name")?,
        token: token(dict)?,
        service_mode: dict.parsed("service_mode", &one_of(ServiceMode::WORDS), ServiceMode::from_word)?,
        proxy_port: small(dict.integer("proxy_port", "an <integer>", 1..=65_535)?),
        warp_tunnel_protocol: dict.parsed(
            "warp_tunnel_protocol",
            &one_of(TunnelProtocol::WORDS),
            TunnelProtocol::from_word,
        )?,
        enable_post_quantum: dict.flag("enable_post_quantum")?,
        enable_pmtud: dict.flag("enable_pmtud")?,
        enable_netbt: dict.flag("enable_netbt")?,
        auto_connect: small(dict.integer("auto_connect", "an <integer> of minutes", 0..=1_440)?),
        switch_locked: dict.flag("switch_locked")?,
        onboarding: dict.flag("onboarding")?,
        support_url: dict.parsed("support_url", "an address that begins with https:// or mailto:", |text| {
            (text.starts_with("https://") || text.starts_with("mailto:")).then(|| text.to_owned())
        })?,
        gateway_unique_id: dict.text("gateway_unique_id")?,
        override_api_endpoint: dict.parsed("override_api_endpoint", ADDRESS, address)?,
        override_doh_endpoint: dict.parsed("override_doh_endpoint", ADDRESS, address)?,
        override_warp_endpoint: dict.parsed(
            "override_warp_endpoint",
            "an IP address and a port, e.g. 203.0.113.7:2408 or [2001:db8::7]:2408",
            |text| text.parse::<SocketAddr>().ok(),
        )?,
        environment,
        allow_managed_deployments: dict.flag("allow_managed_deployments")?,
        external_emergency_signal_url: dict.parsed(
            "external_emergency_signal_url",
            "an https:// address whose host is an IP address",
            |text| literal_host(text).then(|| text.to_owned()),
        )?,
        external_emergency_signal_fingerprint: dict.parsed(
            "external_emergency_signal_fingerprint",
            "a SHA-256 in 64 hex digits",
            |text| {
                let hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                hex.then(|| text.to_ascii_lowercase())
            },
        )?,
        external_emergency_signal_interval: dict
            .integer("external_emergency_signal_interval", "an <integer> of seconds", 30..=i64::from(u32::MAX))?
            .and_then(|seconds| u32::try_from(seconds).ok()),
        local_emergency_signal_enabled: dict.flag("local_emergency_signal_enabled")?,
        unique_client_id: dict.parsed("unique_client_id", "a UUID", |text| uuid::Uuid::parse_str(text).ok())?,
        app_identifier: dict.text("app_identifier")?,
        is_browser: dict.flag("is_browser")?,
        enabled: dict.flag("enabled")?,
    })
}

/// Takes the keys of an entry of `organization_configs`.
pub(super) fn read_override(dict: &mut Dict) -> Result<OrganizationOverride, Fault> {
    Ok(OrganizationOverride {
        environment: dict.parsed("environment", &one_of(Environment::WORDS), Environment::from_word)?,
        hardware_backed_registration: dict.flag("hardware_backed_registration")?,
    })
}

/// A team's name is a DNS label: it becomes `<team>.cloudflareaccess.com`.
pub(super) fn team(dict: &mut Dict) -> Result<Option<String>, Fault> {
    dict.parsed("organization", TEAM, |text| is_team(text).then(|| text.to_owned()))
}

pub(super) const TEAM: &str = "a team name (1 to 63 letters, digits and inner hyphens)";

pub(super) fn is_team(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Each half of a token requires the other.
pub(super) fn token(dict: &mut Dict) -> Result<Option<ServiceToken>, Fault> {
    let id = dict.secret("auth_client_id")?;
    let secret = dict.secret("auth_client_secret")?;
    for key in ["auth_client_id", "auth_client_secret"] {
        let text = if key == "auth_client_id" { &id } else { &secret };
        let header = |byte: u8| byte.is_ascii_graphic();
        if text.as_ref().is_some_and(|text| text.len() > 1024 || !text.bytes().all(header)) {
            let expected = "at most 1024 printable ASCII characters without spaces".to_owned();
            return Err(dict.fault(key, Problem::WrongValue { expected, got: "other characters".to_owned() }));
        }
    }
    match (id, secret) {
        (Some(id), Some(secret)) => Ok(Some(ServiceToken { client_id: id.to_string(), client_secret: secret.into() })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(dict.missing("auth_client_secret", "`auth_client_id` requires it")),
        (None, Some(_)) => Err(dict.missing("auth_client_id", "`auth_client_secret` requires it")),
    }
}

const ADDRESS: &str = "an IP address, e.g. 203.0.113.7 or 2001:db8::7";

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

pub(crate) fn literal_host(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.parse::<SocketAddr>().is_ok() || bare.parse::<IpAddr>().is_ok()
}

fn one_of(words: &[&str]) -> String {
    format!("one of {}", words.join(", "))
}

/// The range was checked when it was read.
fn small(number: Option<i64>) -> Option<u16> {
    number.and_then(|number| u16::try_from(number).ok())
}
