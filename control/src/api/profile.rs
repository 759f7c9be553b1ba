//! Device profiles as the gateway gives them to devices: which settings are in force for a registration.
//!
//! Times are in the units of the vendor's API: seconds, but for `lan_allow_minutes`. (The MDM file counts
//! `auto_connect` in minutes.)

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The profile of one registration on one device, with the organisation's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProfileDocument {
    /// Its id.
    pub id: String,
    /// The administrator's name for it.
    pub name: String,
    /// Whether it is the one for devices that no other matches.
    pub default: bool,
    /// Its settings.
    pub settings: ProfileSettings,
    /// What is set for the whole organisation.
    pub organization: OrganizationSettings,
}

/// The settings of a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProfileSettings {
    /// The user may choose between traffic with DNS and DNS only.
    pub allow_mode_switch: bool,
    /// The client tells its user of new versions.
    pub allow_updates: bool,
    /// The user may delete the device's registration.
    pub allowed_to_leave: bool,
    /// Seconds after which the user's switch turns itself on again; 0 never does.
    pub auto_connect: u32,
    /// Seconds for which the firewall opens for a captive portal; 0 never does.
    pub captive_portal: u32,
    /// Whether a fallback domain without servers goes nowhere, and not to the system's resolvers.
    pub disable_auto_fallback: bool,
    /// Suffixes tried for short names, in order.
    pub dns_search_suffixes: Vec<SearchSuffix>,
    /// Microsoft 365 goes past the tunnel.
    pub exclude_office_ips: bool,
    /// What goes through the tunnel.
    pub split_tunnel: SplitTunnel,
    /// Domains that are resolved by servers of their own.
    pub fallback_domains: Vec<FallbackDomain>,
    /// Minutes for which the user may open the local network; 0 until the next connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lan_allow_minutes: Option<u32>,
    /// Longest local network that the user may open, as a prefix length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lan_allow_subnet_size: Option<u8>,
    /// The tunnel's addresses are registered with the directory's DNS.
    pub register_interface_ip_with_dns: bool,
    /// The interface says that it is inside a VPN boundary.
    pub sccm_vpn_boundary_support: bool,
    /// What the client does.
    pub service_mode_v2: ServiceMode,
    /// Where feedback goes.
    pub support_url: String,
    /// The user may not turn the switch off.
    pub switch_locked: bool,
    /// Tunnel protocol.
    pub tunnel_protocol: TunnelProtocol,
    /// Uninstalling needs an override code.
    pub uninstall_protection: bool,
    /// Virtual networks that the user may choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_networks: Option<VirtualNetworks>,
}

impl Default for ProfileSettings {
    fn default() -> Self {
        Self {
            allow_mode_switch: false,
            allow_updates: false,
            allowed_to_leave: true,
            auto_connect: 0,
            captive_portal: 180,
            disable_auto_fallback: false,
            dns_search_suffixes: Vec::new(),
            exclude_office_ips: false,
            split_tunnel: SplitTunnel::default(),
            fallback_domains: Vec::new(),
            lan_allow_minutes: None,
            lan_allow_subnet_size: None,
            register_interface_ip_with_dns: true,
            sccm_vpn_boundary_support: false,
            service_mode_v2: ServiceMode::default(),
            support_url: String::new(),
            switch_locked: false,
            tunnel_protocol: TunnelProtocol::default(),
            uninstall_protection: false,
            virtual_networks: None,
        }
    }
}

/// What goes through the tunnel: one list or the other, never both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitTunnel {
    /// All that the gateway routes, but these.
    Exclude(Vec<TunnelEntry>),
    /// These only.
    Include(Vec<TunnelEntry>),
}

impl Default for SplitTunnel {
    fn default() -> Self {
        Self::Exclude(Vec::new())
    }
}

/// One entry of a split tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelEntry {
    /// Where.
    #[serde(flatten)]
    pub destination: Destination,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// The destination of a split tunnel's entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// An address or a prefix.
    Address(ipnet::IpNet),
    /// A domain: `example.com` is itself only, `*.example.com` all below it.
    Host(String),
}

/// A domain that is resolved by servers of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FallbackDomain {
    /// The domain, and all below it.
    pub suffix: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its servers; none means the system's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_server: Vec<IpAddr>,
}

/// A suffix for short names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchSuffix {
    /// The suffix.
    pub suffix: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// What the client does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceMode {
    /// Which mode.
    pub mode: Mode,
    /// The local proxy's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// Modes of the client, by the API's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Traffic and DNS.
    #[default]
    Warp,
    /// DNS only.
    #[serde(rename = "1dot1")]
    DnsOnly,
    /// Local proxy.
    Proxy,
    /// Device posture only.
    #[serde(alias = "postureonly")]
    PostureOnly,
    /// Traffic only.
    #[serde(rename = "warp_tunnel_only", alias = "tunnelonly")]
    TunnelOnly,
}

/// Tunnel protocols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TunnelProtocol {
    /// WireGuard.
    #[default]
    Wireguard,
    /// MASQUE.
    Masque,
}

/// Virtual networks that the user may choose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualNetworks {
    /// Their ids.
    pub allowed: Vec<uuid::Uuid>,
    /// The one chosen at first.
    pub default: uuid::Uuid,
}

/// What is set for the whole organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrganizationSettings {
    /// Seconds for which an administrator's override code turns the client off.
    pub disable_for_time: u32,
    /// Whether the emergency signal is polled.
    pub external_emergency_signal_enabled: bool,
    /// SHA-256 of that server's certificate, lower-case hex.
    pub external_emergency_signal_fingerprint: String,
    /// Time between polls, like `5m`.
    pub external_emergency_signal_interval: String,
    /// Where it is polled.
    pub external_emergency_signal_url: String,
    /// TCP goes through the gateway's proxy.
    pub gateway_proxy_enabled: bool,
    /// UDP goes through the gateway's proxy.
    pub gateway_udp_proxy_enabled: bool,
    /// The client installs the organisation's root certificate.
    pub root_certificate_installation_enabled: bool,
    /// Every device has an inner address of its own.
    pub use_zt_virtual_ip: bool,
}

impl Default for OrganizationSettings {
    fn default() -> Self {
        Self {
            disable_for_time: 0,
            external_emergency_signal_enabled: false,
            external_emergency_signal_fingerprint: String::new(),
            external_emergency_signal_interval: "5m".to_owned(),
            external_emergency_signal_url: String::new(),
            gateway_proxy_enabled: true,
            gateway_udp_proxy_enabled: true,
            root_certificate_installation_enabled: false,
            use_zt_virtual_ip: true,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_document_reads_as_it_is_written_and_what_is_missing_is_the_default() {
        let settings = ProfileSettings {
            split_tunnel: SplitTunnel::Include(vec![
                TunnelEntry {
                    destination: Destination::Address("10.0.0.0/8".parse().unwrap()),
                    description: String::new(),
                },
                TunnelEntry { destination: Destination::Host("*.example.com".into()), description: "ours".into() },
            ]),
            service_mode_v2: ServiceMode { mode: Mode::DnsOnly, port: None },
            ..ProfileSettings::default()
        };
        let json = serde_json::to_value(&settings).unwrap();
        assert_eq!(json["split_tunnel"]["include"][0], serde_json::json!({ "address": "10.0.0.0/8" }));
        assert_eq!(json["service_mode_v2"]["mode"], "1dot1");
        assert_eq!(serde_json::from_value::<ProfileSettings>(json).unwrap(), settings);
        assert_eq!(serde_json::from_str::<ProfileSettings>("{}").unwrap(), ProfileSettings::default());
    }
}
