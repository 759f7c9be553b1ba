//! `vestibule settings`.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a value is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The MDM file.
    Mdm,
    /// The device's profile, or the organisation's settings that come with it.
    Profile,
    /// The user, or whoever started the daemon.
    User,
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mdm => "mdm",
            Self::Profile => "profile",
            Self::User => "user",
            Self::Default => "default",
        })
    }
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SettingView {
    /// Its name: the profile's where it has one, else the MDM key.
    pub name: String,
    /// Its value; null when there is none.
    pub value: serde_json::Value,
    /// What a number counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Where the value is from.
    pub origin: Origin,
    /// Whether the client acts on it.
    pub enforced: bool,
    /// What is to be said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// `vestibule settings`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SettingsView {
    /// Name of the device's profile, once the gateway has given one.
    pub profile: Option<String>,
    /// Its id.
    pub profile_id: Option<String>,
    /// Every setting.
    pub settings: Vec<SettingView>,
}
