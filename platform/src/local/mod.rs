//! The local control socket: a byte stream between two processes of one machine.
//!
//! Linux: a Unix socket of mode 0660, so that root and the socket's group may steer the daemon. Windows: not yet
//! ([`LocalError::Unsupported`]); a named pipe fits behind the same three types.

use std::{io, path::PathBuf};

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(not(unix), path = "unsupported.rs")]
mod imp;

pub use imp::{Listener, Stream};

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
