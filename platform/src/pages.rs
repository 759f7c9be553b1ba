//! The size of the pages that this process's memory comes in.

/// Asks for small pages alone, for a process whose memory should be what it uses. The allocator advises the system to
/// back its arenas by pages of 2 MiB, each of which counts whole from its first byte on: a client holds 30 MB instead of
/// 12, at the same throughput. Best effort; without effect where there are no such pages.
pub fn small_only() {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_thp_disable(true) {
        tracing::debug!(%error, "large pages stay in use");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn the_process_says_so() {
        super::small_only();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        assert!(status.contains("THP_enabled:\t0"), "{status}");
    }
}
