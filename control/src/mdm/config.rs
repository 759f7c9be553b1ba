//! What an `mdm.xml` says, typed.

use super::{MdmWarning, Secret};
use crate::registration::{Hold, Settings};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
};

/// A configuration file that was wholly understood. Keys that are absent are `None`, or their documented default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MdmConfig {
    /// Organisations a user may sign in to, in menu order; the first one is prompted for first. A flat file gives one.
    pub configs: Vec<OrganizationConfig>,
    /// One registration per user of the operating system.
    pub multi_user: bool,
    /// Multi-user: the login screen without pre-login keeps the previous user's registration (default true).
    pub multi_user_keep_previous: bool,
    /// Connects before login.
    pub pre_login: Option<PreLogin>,
    /// How long the pre-login registration stays in force after a login (default: until authenticated).
    pub pre_login_hold: Hold,
    /// Lockdown until authenticated.
    pub no_auth_no_internet: bool,
    /// In lockdown, private addresses are blocked, too.
    pub no_auth_no_internet_block_rfc_1918: bool,
    /// Settings of a whole organisation, by its name in lower case; they override those in `configs`.
    pub organization_configs: BTreeMap<String, OrganizationOverride>,
    /// Which of the keys of [`keys::TOP_LEVEL`](super::keys::TOP_LEVEL) the file sets.
    pub top_level: Vec<&'static str>,
    /// What is odd in the file but does no harm.
    pub warnings: Vec<MdmWarning>,
}

impl Default for MdmConfig {
    fn default() -> Self {
        Self {
            configs: Vec::new(),
            multi_user: false,
            multi_user_keep_previous: true,
            pre_login: None,
            pre_login_hold: Hold::default(),
            no_auth_no_internet: false,
            no_auth_no_internet_block_rfc_1918: false,
            organization_configs: BTreeMap::new(),
            top_level: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

/// A service token that connects before login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PreLogin {
    /// Team name.
    pub organization: String,
    /// The token.
    pub token: ServiceToken,
}

/// A service token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceToken {
    /// `auth_client_id`: 32 hex digits and `.access`.
    pub client_id: String,
    /// `auth_client_secret`.
    pub client_secret: Secret,
}

/// What overrides the settings of an organisation's entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OrganizationOverride {
    /// Which cloud.
    pub environment: Option<Environment>,
    /// Keys in the TPM.
    pub hardware_backed_registration: Option<bool>,
}

/// One organisation: an entry of `configs`, or a flat file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OrganizationConfig {
    /// Team name.
    pub organization: Option<String>,
    /// Menu label.
    pub display_name: Option<String>,
    /// Enrols without a user.
    pub token: Option<ServiceToken>,
    /// What goes through the tunnel (default `warp`).
    pub service_mode: Option<ServiceMode>,
    /// Port of the local proxy (default 40000).
    pub proxy_port: Option<u16>,
    /// Tunnel protocol (default `masque`).
    pub warp_tunnel_protocol: Option<TunnelProtocol>,
    /// Post-quantum key agreement.
    pub enable_post_quantum: Option<bool>,
    /// Path MTU discovery.
    pub enable_pmtud: Option<bool>,
    /// NetBIOS over TCP/IP on the tunnel interface.
    pub enable_netbt: Option<bool>,
    /// Minutes after which the user's switch turns itself on again, 0 to 1440; 0 never does.
    pub auto_connect: Option<u16>,
    /// The user may not turn the switch off.
    pub switch_locked: Option<bool>,
    /// First-launch screens.
    pub onboarding: Option<bool>,
    /// Where feedback goes.
    pub support_url: Option<String>,
    /// DNS location.
    pub gateway_unique_id: Option<String>,
    /// Address of the control API.
    pub override_api_endpoint: Option<IpAddr>,
    /// Address of the DNS endpoint.
    pub override_doh_endpoint: Option<IpAddr>,
    /// Address and port of the tunnel endpoint; port 0 means the protocol's own.
    pub override_warp_endpoint: Option<SocketAddr>,
    /// Which cloud (default `normal`).
    pub environment: Option<Environment>,
    /// Follow the administrator's client versions.
    pub allow_managed_deployments: Option<bool>,
    /// Where the emergency signal is polled.
    pub external_emergency_signal_url: Option<String>,
    /// SHA-256 of that server's certificate, lower-case hex.
    pub external_emergency_signal_fingerprint: Option<String>,
    /// Seconds between polls, at least 30 (default 300).
    pub external_emergency_signal_interval: Option<u32>,
    /// Watch the local emergency file.
    pub local_emergency_signal_enabled: Option<bool>,
    /// Device UUID of a mobile system.
    pub unique_client_id: Option<uuid::Uuid>,
    /// Mobile per-app tunnel.
    pub app_identifier: Option<String>,
    /// Mobile per-app tunnel.
    pub is_browser: Option<bool>,
    /// Old form of `switch_locked` and `auto_connect`.
    pub enabled: Option<bool>,
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        #[serde(into = "&'static str")]
        pub enum $name { $($(#[$variant_meta])* $variant,)* }

        impl $name {
            /// The words of the file, in documented order.
            pub const WORDS: &'static [&'static str] = &[$($word,)*];

            /// As the file spells it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The one of this word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }

        impl From<$name> for &'static str {
            fn from(value: $name) -> Self {
                value.word()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words! {
    /// What goes through the tunnel.
    ServiceMode {
        /// Traffic and DNS.
        Warp = "warp",
        /// DNS only.
        DnsOnly = "1dot1",
        /// Local proxy.
        Proxy = "proxy",
        /// Nothing: device posture only.
        PostureOnly = "postureonly",
        /// Traffic only.
        TunnelOnly = "tunnelonly",
    }
}

words! {
    /// Tunnel protocol.
    TunnelProtocol {
        /// MASQUE.
        Masque = "masque",
        /// WireGuard.
        Wireguard = "wireguard",
    }
}

words! {
    /// Which cloud.
    Environment {
        /// The ordinary one.
        Normal = "normal",
        /// FedRAMP High.
        FedrampHigh = "fedramp_high",
    }
}

impl MdmConfig {
    /// The part that decides about registrations.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let first = self.configs.first();
        let named = self.configs.iter().find(|config| config.organization.is_some());
        Settings {
            by_token: named.is_some_and(|config| config.token.is_some()),
            multi_user: self.multi_user,
            pre_login: self.pre_login.as_ref().map(|pre_login| pre_login.organization.clone()),
            pre_login_hold: self.pre_login_hold,
            keep_previous: self.multi_user_keep_previous,
            organizations: self.configs.iter().filter_map(|config| config.organization.clone()).collect(),
            switch_locked: first.and_then(|config| config.switch_locked).unwrap_or(false),
            auto_connect: first.and_then(|config| config.auto_connect).map(|minutes| u32::from(minutes) * 60),
        }
    }

    /// The entry of a team; names compare in any letter case.
    #[must_use]
    pub fn organization(&self, name: &str) -> Option<&OrganizationConfig> {
        let named = |config: &&OrganizationConfig| {
            config.organization.as_ref().is_some_and(|organization| organization.eq_ignore_ascii_case(name))
        };
        self.configs.iter().find(named)
    }
}
