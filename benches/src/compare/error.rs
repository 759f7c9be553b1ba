//! What can go wrong with one engine or one test.

use super::iperf::IperfError;
use std::io;
use vestibule_platform::sandbox::SandboxError;

/// Why something was not measured.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    /// The place.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A command did not start.
    #[error("cannot start `{command}`: {cause}")]
    Start {
        /// Which one.
        command: String,
        /// The system's reason.
        cause: io::Error,
    },
    /// A command failed or took too long.
    #[error("`{command}` {how}: {said}")]
    Failed {
        /// Which one.
        command: String,
        /// Its status.
        how: String,
        /// What it printed.
        said: String,
    },
    /// An engine's process ended by itself, or never made its socket.
    #[error("{what}; it said:\n{said}")]
    Engine {
        /// What it did or did not do.
        what: String,
        /// The end of its output.
        said: String,
    },
    /// What iperf3 printed.
    #[error(transparent)]
    Iperf(#[from] IperfError),
    /// ping had no answer.
    #[error("no answer to ping: {0}")]
    NoAnswer(String),
    /// The load did not use the tunnel.
    #[error("{arrived} payload bytes arrived, but only {counted} went through the tunnel's interface")]
    Outside {
        /// By iperf3's count.
        arrived: u64,
        /// By the interface's.
        counted: u64,
    },
    /// A file of `/proc`, or our own.
    #[error("cannot read {0}")]
    Unreadable(String),
    /// A test needs the result of another one.
    #[error("needs the result of `{0}`, which failed")]
    Needs(&'static str),
}
