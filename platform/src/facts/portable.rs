pub(super) fn host_name() -> Option<String> {
    std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty())
}

pub(super) fn os_version() -> Option<String> {
    None
}

pub(super) fn system() -> super::System {
    super::System::default()
}
