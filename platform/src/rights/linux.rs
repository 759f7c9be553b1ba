use std::fs;

pub(super) const NEEDED: &str =
    "CAP_NET_ADMIN, which root has: try again with sudo (in a container: --cap-add NET_ADMIN)";
/// Its bit, from capability.h.
const NET_ADMIN: u32 = 12;

pub(super) fn may_change_the_network() -> bool {
    effective_capabilities().is_none_or(|mask| mask & (1 << NET_ADMIN) != 0)
}

/// This process's capabilities that are in force, as bits; `None` where `/proc` does not tell.
pub(crate) fn effective_capabilities() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}
