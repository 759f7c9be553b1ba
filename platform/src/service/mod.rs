//! How the system asks a service to stop.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "portable.rs")]
mod imp;

/// Returns when the system asks this process to end (SIGTERM on Linux). An interrupt from the keyboard is the runtime's
/// own (`tokio::signal::ctrl_c`). A system without such a request never returns.
pub async fn terminated() {
    imp::terminated().await;
}
