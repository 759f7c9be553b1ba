//! The daemon as a service of the system: how it is installed, how it says that it runs, how the system asks it to stop;
//! and how any process leaves the terminal it was started from.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(any(target_os = "linux", windows)), path = "portable.rs")]
mod imp;
#[cfg(windows)]
pub(crate) mod manager;
#[cfg(any(target_os = "linux", test))]
mod unit;

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The service's name.
pub const NAME: &str = imp::NAME;
/// Whether a process can leave its terminal and go on: [`begin_session`], [`silence`].
pub const BACKGROUND: bool = cfg!(target_os = "linux");
/// Where the daemon keeps its keys and state unless told otherwise.
pub const STATE: &str = imp::STATE;
/// What it is, in one sentence.
const DESCRIPTION: &str = "Connects this device before anyone logs in, and changes identity without losing a packet";

/// What to install.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program; an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Whether to start it at once, too.
    pub start: bool,
    /// Whether one that is installed already keeps its program and arguments.
    pub keep: bool,
}

/// What was installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Where the system keeps it.
    pub place: String,
    /// Whether it took the place of an earlier one.
    pub replaced: bool,
    /// Whether it was started.
    pub started: bool,
    /// What does not hinder the service, and somebody should look at.
    pub warnings: Vec<String>,
}

/// Why the system's service manager did not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// Services are for administrators.
    #[error("{action} a service needs {}", imp::RIGHTS)]
    NotAllowed {
        /// What was tried.
        action: &'static str,
    },
    /// There is none.
    #[error("the service `{NAME}` is not installed: `vestibule service install` does that")]
    NotInstalled,
    /// Nobody manages services here.
    #[error("{reason}: run `vestibule service run` by the service manager of this system")]
    NoManager {
        /// How that shows.
        reason: String,
    },
    /// Run as the service manager runs it, by somebody else.
    #[error("`--managed` is for the service manager alone: leave it out to run in this terminal")]
    NotManaged,
    /// It does not come up.
    #[error("the service was installed and does not start: {reason}")]
    DoesNotStart {
        /// What the system said.
        reason: String,
    },
    /// It does not end.
    #[error("the service does not stop: end its process, then try again ({reason})")]
    DoesNotStop {
        /// What the system said.
        reason: String,
    },
    /// The system refused.
    #[error("cannot {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        #[source]
        cause: io::Error,
    },
    /// No implementation here.
    #[error(transparent)]
    Unsupported(#[from] crate::Unsupported),
}

/// Installs the service so that it starts with the system, before anybody logs in, and again when it fails. One that is
/// installed already is changed.
///
/// # Errors
/// See [`ServiceError`].
pub fn install(plan: &Plan) -> Result<Installed, ServiceError> {
    imp::install(plan)
}

/// Stops the service and takes it out of the system; what it has stored stays. Whether it ran.
///
/// # Errors
/// See [`ServiceError`].
pub fn uninstall() -> Result<bool, ServiceError> {
    imp::uninstall()
}

/// Runs `body` as the service manager wants its services to run; `body` calls [`ready`] when it is. Where the manager
/// wants nothing of a process, `body` is simply run.
///
/// # Errors
/// The service manager has not started this process.
pub fn managed(body: impl FnOnce() -> ExitCode + Send + 'static) -> Result<ExitCode, ServiceError> {
    imp::managed(Box::new(body))
}

/// Whether a service manager that tells of sessions and sleep runs this process.
#[must_use]
pub fn is_managed() -> bool {
    imp::is_managed()
}

/// Tells the service manager, if one has started this process, that the service runs.
pub fn ready() {
    imp::ready();
}

/// A file of the state directory that whoever runs with that directory holds locked, so that there is one at a time.
#[derive(Debug)]
pub struct Alone {
    _file: std::fs::File,
}

impl Alone {
    /// Takes the lock at `path`, in a directory that is there; the system lets go of it when this process ends, however
    /// it ends. `None`: another process has it.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        let file = std::fs::File::options().create(true).append(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Requests that this process end: Ctrl-C everywhere; SIGTERM on Linux; the service manager, the end of the terminal or of
/// the system on Windows.
///
/// From [`listen`](Self::listen) on they no longer end the process by themselves, so it is called before anything is made
/// that would have to be taken back. A request that comes before anybody waits is kept.
pub struct EndRequests(imp::EndRequests);

impl EndRequests {
    /// Listens from now on. A kind of request that cannot be had is logged, and ends the process without tidying up.
    ///
    /// # Panics
    /// Outside a tokio runtime that is enabled for I/O.
    #[must_use]
    pub fn listen() -> Self {
        Self(imp::EndRequests::listen())
    }

    /// The first request since then.
    pub async fn received(&mut self) {
        self.0.received().await;
    }
}

impl std::fmt::Debug for EndRequests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndRequests").finish_non_exhaustive()
    }
}

/// Waits for the next signal of a kind that could be had.
#[cfg(any(target_os = "linux", windows))]
async fn next<S>(signals: Option<&mut S>, receive: impl AsyncFnOnce(&mut S) -> Option<()>) {
    if let Some(signals) = signals
        && receive(signals).await.is_some()
    {
        return;
    }
    // It cannot be had, or no more can come.
    std::future::pending().await
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::files::scratch::Scratch;

    #[test]
    fn one_at_a_time_holds_the_lock_and_the_next_gets_it() {
        let scratch = Scratch::new();
        let path = scratch.path("lock");
        let first = Alone::take(&path).unwrap();
        assert!(first.is_some());
        assert!(Alone::take(&path).unwrap().is_none());
        drop(first);
        assert!(Alone::take(&path).unwrap().is_some());
    }
}
