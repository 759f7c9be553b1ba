use std::fs::read_to_string;

pub(super) fn host_name() -> Option<String> {
    let name = read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

pub(super) fn os_version() -> Option<String> {
    super::semantic(read_to_string("/proc/sys/kernel/osrelease").ok()?.trim())
}
