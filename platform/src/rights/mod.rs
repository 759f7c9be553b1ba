//! What this process may do to the machine, asked before anything is touched.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(any(target_os = "linux", windows)), path = "portable.rs")]
mod imp;

#[cfg(target_os = "linux")]
pub(crate) use imp::effective_capabilities;

/// This process may not make network devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this needs {}", imp::NEEDED)]
pub struct Missing;

/// Whether this process may make network devices, addresses and routes. Where the system does not tell, it may try.
///
/// # Errors
/// It may not.
pub fn check() -> Result<(), Missing> {
    if imp::may_change_the_network() { Ok(()) } else { Err(Missing) }
}
