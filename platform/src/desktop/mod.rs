//! The user's desktop, as a service sees it: how to open an address in the browser of whoever is logged on.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "unsupported.rs")]
mod imp;

use std::process::Child;

/// Why no browser was opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DesktopError {
    /// The system knows no such user.
    #[error("there is no user `{user}` on this system")]
    NoUser {
        /// Who was asked for.
        user: String,
    },
    /// The user has no desktop that a window could be shown on.
    #[error("`{user}` has no graphical session to open a browser in")]
    NoDesktop {
        /// Who was asked for.
        user: String,
    },
    /// Somebody else's desktop.
    #[error("opening a browser for `{user}` needs root, or to be that user")]
    NotAllowed {
        /// Who was asked for.
        user: String,
    },
    /// The program that opens addresses does not start.
    #[error("`{program}` does not start")]
    Start {
        /// The program.
        program: &'static str,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Nobody has taught us this system.
    #[error("this system's way to open a browser is not known: open the address by hand")]
    Unsupported,
}

/// Opens `url` in the browser of `user` (a name as [`crate::session`] gives it), as that user and on their desktop.
///
/// The child opens the browser and ends; its end says whether that went well.
///
/// # Errors
/// See [`DesktopError`]. The address is then for the user to open by hand.
pub fn open_browser(user: &str, url: &str) -> Result<Child, DesktopError> {
    imp::open_browser(user, url)
}
