//! Who is logged on: the sessions of the operating system and their events.
//!
//! [`Native`] takes them from the system: systemd-logind on Linux, the terminal services on Windows. [`Scripted`] takes
//! them from lines on a local socket; [`memory`] is the twin. The events are those that Windows tells a service
//! (`SESSION_CHANGE`): session ids and user names are opaque text.

#[cfg_attr(any(unix, windows), path = "scripted.rs")]
#[cfg_attr(not(any(unix, windows)), path = "unsupported.rs")]
mod imp;
#[cfg(target_os = "linux")]
mod logind;
pub mod memory;
#[cfg(not(any(target_os = "linux", windows)))]
mod no_logind;
mod script;
#[cfg(any(target_os = "linux", windows, test))]
mod seen;
#[cfg(windows)]
pub(crate) mod windows;
#[cfg(any(windows, test))]
pub(crate) mod wts;

pub use imp::Scripted;
#[cfg(target_os = "linux")]
pub use logind::Logind as Native;
#[cfg(not(any(target_os = "linux", windows)))]
pub use no_logind::Logind as Native;
#[cfg(windows)]
pub use windows::TerminalServices as Native;

use crossbeam_channel::Receiver;
use std::{io, path::PathBuf};

/// A source of session events.
pub trait SessionSource: Send {
    /// What holds now, and everything that happens from then on: no event is missed, none is told twice. Each call
    /// gives a view of its own; events end when the source is dropped.
    ///
    /// # Errors
    /// The system does not tell.
    fn watch(&self) -> Result<Watch, SessionError>;
}

/// A view on a source.
#[derive(Debug)]
pub struct Watch {
    /// Names this start of the system.
    pub boot_id: String,
    /// Everybody who is logged on, in the order of their last activation.
    pub sessions: Vec<Session>,
    /// What happens from now on.
    pub events: Receiver<SessionEvent>,
}

/// Someone who is logged on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Which.
    pub id: String,
    /// Whose: the SID on Windows, the login name on Linux.
    pub user: String,
    /// Where it is shown.
    pub seat: Seat,
    /// On a desktop now, not switched away or disconnected.
    pub active: bool,
}

/// Where a session is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// Screen and keyboard of the machine: one session at a time.
    Console,
    /// A remote desktop: any number at a time.
    Remote,
}

/// Something that happened to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// The system started again: nobody is logged on. Only scripts tell it; a real start ends the process.
    Boot {
        /// Its name.
        boot_id: String,
    },
    /// A user logged on; the session takes the desktop.
    Logon {
        /// Who.
        user: String,
        /// Which.
        session: String,
        /// Where.
        seat: Seat,
    },
    /// A session ended.
    Logoff {
        /// Which.
        session: String,
    },
    /// A session came to a desktop.
    Activated {
        /// Which.
        session: String,
        /// Where.
        seat: Seat,
    },
    /// A session left its desktop, still logged on.
    Deactivated {
        /// Which.
        session: String,
    },
    /// The desktop was locked.
    Lock,
    /// The desktop was unlocked.
    Unlock,
    /// The system is about to sleep.
    Suspend,
    /// The system woke up.
    Resume,
}

/// Why there are no session events.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The socket or the file beside it failed.
    #[error("failed to {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        cause: io::Error,
    },
    /// The file of sessions is damaged.
    #[error("{} line {line}: {reason}; remove the file to start without sessions", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The socket cannot be listened on.
    #[error(transparent)]
    Local(#[from] crate::local::LocalError),
    /// Windows does not tell.
    #[error("Windows does not tell who is logged on: is the service `TermService` there?")]
    TerminalServices {
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The bus or logind is not there.
    #[error("logind does not tell who is logged on: is the system bus running?")]
    Logind {
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No implementation here.
    #[error(transparent)]
    Unsupported(#[from] crate::Unsupported),
}
