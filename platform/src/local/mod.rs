//! The local control socket: a byte stream between two processes of one machine.
//!
//! Linux: a Unix socket of mode 0660, so that root and the socket's group may steer the daemon. Windows: a named pipe
//! that the system, administrators and whoever sits at a desktop may use, under a name that only administrators and
//! services can take. On both a client refuses one that is somebody else's.

use std::{io, path::PathBuf};

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(any(unix, windows)), path = "unsupported.rs")]
mod imp;

pub use imp::{Listener, Stream};

/// Where the daemon listens unless told otherwise.
pub const CONTROL: &str = imp::CONTROL;

/// Where WireGuard's own tools look for the configuration of the interface called `name`.
#[must_use]
pub fn wireguard(name: &str) -> PathBuf {
    imp::wireguard(name)
}

/// Whether a path is a place in the file system, where files may lie beside it; a pipe's own name is not.
#[must_use]
pub fn is_in_file_system(path: &std::path::Path) -> bool {
    !(cfg!(windows) && path.to_string_lossy().to_ascii_lowercase().starts_with(r"\\.\pipe\"))
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Their SID on Windows, their login name (else the number) on Linux: as [`crate::session`] names users.
    pub user: String,
    /// The process that connected.
    pub process: Option<u32>,
    /// Whether they may do everything: administrators on Windows; everybody whom the socket's mode lets in, on Linux.
    pub administrator: bool,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.user)?;
        self.process.map_or(Ok(()), |process| write!(f, " (process {process})"))
    }
}

/// Why a local socket could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// Somebody listens there already.
    #[error("another process already listens on {}: stop it, or choose another socket", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The path holds something that is not a socket; it is left alone.
    #[error("{} exists and is not a socket: move it away, or choose another path", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// What listens there is somebody else's, who would learn what is asked and could answer anything.
    #[error(
        "{} belongs to {owner}: expected one of the system, of administrators or of this user; nothing was sent. An \
         administrator should end the process that holds it and start the service",
        path.display()
    )]
    Squatted {
        /// The socket.
        path: PathBuf,
        /// Whose it is.
        owner: String,
    },
    /// The directory is somebody else's, who could put another socket, or a link, in its place.
    #[error(
        "the directory {} {trouble}: expected one of root or of this user that nobody else may write to; choose \
         another socket", path.display()
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Whose it is, or who may write to it.
        trouble: String,
    },
    /// This user may not listen there.
    #[error("this user may not listen on {}: it takes an administrator, or another name", path.display())]
    NotAllowed {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        #[source]
        cause: io::Error,
    },
    /// The system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        #[source]
        cause: io::Error,
    },
    /// No local socket on this system yet.
    #[error("local control sockets are not supported on this system yet ({})", path.display())]
    Unsupported {
        /// The socket.
        path: PathBuf,
    },
}
