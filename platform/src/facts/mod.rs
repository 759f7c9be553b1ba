//! What the system says of itself.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(any(target_os = "linux", windows)), path = "portable.rs")]
mod imp;

/// The system's name as policies spell it: `linux`, `windows`, `mac`.
pub const OS: &str = if cfg!(target_os = "macos") { "mac" } else { std::env::consts::OS };

/// What goes beyond the version's three numbers. What the system does not tell is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// What is finer than three numbers: the revision of a Windows build.
    pub version_extra: String,
    /// The distribution: `ID` of `/etc/os-release`.
    pub distro_name: String,
    /// Its release: `VERSION_ID` of `/etc/os-release`.
    pub distro_revision: String,
}

/// The machine's name on the network, as far as the system tells.
#[must_use]
pub fn host_name() -> Option<String> {
    imp::host_name()
}

/// The system's version as `MAJOR.MINOR.PATCH`, as far as it tells: the kernel's on Linux, `10.0.BUILD` on Windows.
#[must_use]
pub fn os_version() -> Option<String> {
    imp::os_version()
}

/// What else the system tells of its version, read anew.
#[must_use]
pub fn system() -> System {
    imp::system()
}

/// The leading `1.2.3` of a release like `6.1.0-18-amd64`.
#[cfg_attr(not(any(target_os = "linux", windows)), allow(dead_code))]
fn semantic(release: &str) -> Option<String> {
    let numbers: String = release.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let mut parts: Vec<&str> = numbers.split('.').filter(|part| !part.is_empty()).take(3).collect();
    if parts.is_empty() {
        return None;
    }
    parts.resize(3, "0");
    Some(parts.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_become_three_numbers() {
        assert_eq!(semantic("6.1.0-18-amd64").as_deref(), Some("6.1.0"));
        assert_eq!(semantic("6.18").as_deref(), Some("6.18.0"));
        assert_eq!(semantic("5.15.167.4-microsoft-standard").as_deref(), Some("5.15.167"));
        assert_eq!(semantic("rolling"), None);
    }
}
