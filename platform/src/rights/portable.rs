pub(super) const NEEDED: &str = "the system's rights";

pub(super) fn may_change_the_network() -> bool {
    true
}
