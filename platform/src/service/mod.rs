//! How a service leaves the terminal it was started from, and how the system asks it to stop.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "portable.rs")]
mod imp;

use std::io;

/// Returns when the system asks this process to end (SIGTERM on Linux). An interrupt from the keyboard is the runtime's
/// own (`tokio::signal::ctrl_c`). A system without such a request never returns.
pub async fn terminated() {
    imp::terminated().await;
}

/// Begins a session of its own: what ends the terminal or its shell does not end this process. For a child that was just
/// started, before any other thread.
///
/// # Errors
/// This process leads a group of processes already, or the system has no sessions.
pub fn begin_session() -> io::Result<()> {
    imp::begin_session()
}

/// Lets process `pid` stand still, as in a machine that sleeps, or go on.
///
/// # Errors
/// There is no such process, it is somebody else's, or the system cannot.
pub fn freeze(pid: u32, frozen: bool) -> io::Result<()> {
    imp::freeze(pid, frozen)
}

/// Gives up the standard streams: input and output, and with `errors` the error stream as well, lead nowhere from now on.
///
/// # Errors
/// The system has no such place.
pub fn silence(errors: bool) -> io::Result<()> {
    imp::silence(errors)
}
