//! The settings in force: what the MDM file says beats the device's profile, and that beats the user and the defaults.
//!
//! ```text
//! mdm.xml --------------+
//! profile (gateway) ----+--> Effective --> the user's switch, routes, resolver, `vestibule settings`
//! command line, user ---+
//! ```

mod held;
mod merge;
mod split;
mod view;

pub(super) use held::HeldProfiles;
pub use held::StoredProfiles;
pub(super) use merge::{Local, Sources};
pub(super) use split::split_routes;
pub use view::{Origin, SettingView, SettingsView};

use crate::api::profile::{FallbackDomain, Mode, SplitTunnel};
use crate::registration;

/// What the client acts on, and what it shows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Effective {
    /// The user may not turn the switch off.
    pub(super) switch_locked: bool,
    /// Seconds after which the switch turns itself on again; 0 never does.
    pub(super) auto_connect: u32,
    /// The user may delete the registration.
    pub(super) allowed_to_leave: bool,
    /// What the client does.
    pub(super) mode: Mode,
    /// What goes through the tunnel.
    pub(super) split_tunnel: SplitTunnel,
    /// What the resolver does, were the tunnel up.
    pub(super) dns: Dns,
    /// All of them, for people.
    pub(super) settings: Vec<SettingView>,
}

/// What the device's resolver is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dns {
    /// Whether the tunnel carries traffic: only then are the domains the resolver's.
    pub(super) connected: bool,
    /// Domains that are resolved by servers of their own.
    pub(super) fallback_domains: Vec<FallbackDomain>,
    /// Suffixes tried for short names, in order.
    pub(super) search_suffixes: Vec<String>,
    /// Whether a domain without servers goes to the system's resolvers.
    pub(super) auto_fallback: bool,
}

impl Default for Effective {
    fn default() -> Self {
        Sources::default().settle()
    }
}

impl Effective {
    /// The registration machine's settings: the file's, with what the profile adds about the user's switch.
    pub(super) fn machine(&self, file: registration::Settings) -> registration::Settings {
        let auto_connect = Some(self.auto_connect).filter(|seconds| *seconds > 0);
        registration::Settings { switch_locked: self.switch_locked, auto_connect, ..file }
    }

    /// Where a setting's value is from.
    pub(super) fn origin(&self, name: &str) -> Origin {
        self.settings.iter().find(|setting| setting.name == name).map_or(Origin::Default, |setting| setting.origin)
    }
}
