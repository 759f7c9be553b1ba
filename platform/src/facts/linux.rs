use super::System;
use std::fs::read_to_string;

pub(super) fn host_name() -> Option<String> {
    let name = read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

pub(super) fn os_version() -> Option<String> {
    super::semantic(read_to_string("/proc/sys/kernel/osrelease").ok()?.trim())
}

pub(super) fn system() -> System {
    let text = read_to_string("/etc/os-release").or_else(|_| read_to_string("/usr/lib/os-release"));
    parse(&text.unwrap_or_default())
}

/// os-release(5): `NAME=value` lines, values quoted as in a shell.
fn parse(text: &str) -> System {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
    };
    System { version_extra: String::new(), distro_name: value("ID"), distro_revision: value("VERSION_ID") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_are_named_quoted_or_not() {
        let debian = parse("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n");
        assert_eq!((debian.distro_name.as_str(), debian.distro_revision.as_str()), ("debian", "12"));
        let rolling = parse("ID='arch'\nBUILD_ID=rolling\n");
        assert_eq!((rolling.distro_name.as_str(), rolling.distro_revision.as_str()), ("arch", ""));
    }

    #[test]
    fn this_machine_has_a_kernel_version() {
        let version = os_version().unwrap_or_default();
        assert_eq!(version.split('.').filter(|part| part.parse::<u32>().is_ok()).count(), 3, "{version}");
    }
}
