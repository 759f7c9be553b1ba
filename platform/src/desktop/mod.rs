//! The user's desktop, as a service sees it: how to open an address in the browser of whoever is logged on.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(any(target_os = "linux", windows)), path = "unsupported.rs")]
mod imp;

use std::{io, process::ExitStatus};

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
    /// What is to be opened is no address of a page.
    #[error("`{url}` is no address to open: expected https:// or http:// and no spaces or quotes")]
    Address {
        /// What it is.
        url: String,
    },
    /// Somebody else's desktop.
    #[error("reaching the desktop of `{user}` needs the rights of the system (root on Linux, the service on Windows)")]
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
    #[error("this system's way to reach a desktop is not known")]
    Unsupported,
}

/// A browser that is being opened.
#[derive(Debug)]
pub struct Opener(imp::Opener);

impl Opener {
    /// Waits for the program that opens the browser; its end says whether that went well.
    ///
    /// # Errors
    /// The system's, or it takes too long.
    pub fn wait(self) -> io::Result<ExitStatus> {
        self.0.wait()
    }
}

/// Opens `url` in the browser of `user` (a name as [`crate::session`] gives it), as that user and on their desktop.
///
/// # Errors
/// See [`DesktopError`]. The address is then for the user to open by hand.
pub fn open_browser(user: &str, url: &str) -> Result<Opener, DesktopError> {
    // It becomes a word of a command line.
    let page = url.starts_with("https://") || url.starts_with("http://");
    if !page || !url.chars().all(|c| c.is_ascii_graphic() && c != '"') {
        return Err(DesktopError::Address { url: url.to_owned() });
    }
    imp::open_browser(user, url).map(Opener)
}

/// Shows `user` a message on their desktop, which they close when they like.
///
/// # Errors
/// See [`DesktopError`]; Linux has no such message that works on every desktop.
pub fn show_message(user: &str, title: &str, text: &str) -> Result<(), DesktopError> {
    imp::show_message(user, title, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pages_address_is_opened() {
        for url in ["file:///etc/passwd", "calc.exe", "https://gw/ & calc", "https://gw/\"x", "https://gw/\nx", ""] {
            assert!(matches!(open_browser("nobody", url), Err(DesktopError::Address { .. })), "{url}");
        }
    }
}
