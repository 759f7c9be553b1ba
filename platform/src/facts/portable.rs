pub(super) fn host_name() -> Option<String> {
    std::env::var("COMPUTERNAME").or_else(|_| std::env::var("HOSTNAME")).ok().filter(|name| !name.is_empty())
}

pub(super) fn os_version() -> Option<String> {
    None
}
