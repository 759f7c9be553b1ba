//! What the system says of itself.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "portable.rs")]
mod imp;

/// The machine's name on the network, as far as the system tells.
#[must_use]
pub fn host_name() -> Option<String> {
    imp::host_name()
}

/// The system's version as `MAJOR.MINOR.PATCH`, as far as it tells.
#[must_use]
pub fn os_version() -> Option<String> {
    imp::os_version()
}

/// The leading `1.2.3` of a release like `6.1.0-18-amd64`.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
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
