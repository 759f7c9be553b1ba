//! Device posture as devices report it.

use serde::{Deserialize, Serialize};

/// What a device's system says of itself now. What it does not tell is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct PostureReport {
    /// `linux`, `windows`, `mac`.
    pub os: String,
    /// Three numbers: the kernel's on Linux, the build's on Windows.
    pub os_version: String,
    /// What is finer than three numbers: the update's revision on Windows.
    pub os_version_extra: String,
    /// `ID` of `/etc/os-release`.
    pub os_distro_name: String,
    /// `VERSION_ID` of `/etc/os-release`.
    pub os_distro_revision: String,
}

/// When a device reports next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PostureSchedule {
    /// Seconds between reports; nothing is asked for when there is no rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u32>,
}
