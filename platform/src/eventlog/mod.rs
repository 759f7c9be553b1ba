//! The system's log of events, for those who look there first. Linux has none beside the journal, which takes the
//! standard error stream.

#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(windows), path = "portable.rs")]
mod imp;

#[cfg(windows)]
pub(crate) use imp::{register, unregister};

use std::io;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// For the record.
    Information,
    /// Somebody may want to look.
    Warning,
    /// Something does not work.
    Error,
}

/// The system's log, opened.
#[derive(Debug)]
pub struct EventLog(imp::EventLog);

impl EventLog {
    /// Opens it, where there is one.
    ///
    /// # Errors
    /// The system has no such log, or refuses.
    pub fn open() -> io::Result<Self> {
        imp::EventLog::open().map(Self)
    }

    /// Adds an entry; a text that is too long for the system is cut.
    ///
    /// # Errors
    /// The system refuses.
    pub fn report(&self, severity: Severity, text: &str) -> io::Result<()> {
        self.0.report(severity, text)
    }
}
