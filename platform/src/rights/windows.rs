use crate::win32::security;

pub(super) const NEEDED: &str = "an administrator: try again in a terminal that was started as administrator";

/// Services run as the system, which is a member of the group, too.
pub(super) fn may_change_the_network() -> bool {
    security::is_administrator().unwrap_or(true)
}
