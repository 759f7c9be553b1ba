//! Why a gateway does not start, or stops.

use super::store::StoreError;
use crate::crypto::RandomError;
use std::{io, path::PathBuf};
use vestibule_platform::runtime::{StopReason, Stopped};

/// Why a gateway does not start, or stops.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// A file of the data directory, or the given certificate.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The data directory, or a secret in it.
    #[error("the data directory is not usable")]
    Secret(#[from] vestibule_platform::secrets::SecretError),
    /// A file whose content is not what it must be.
    #[error("`{}` is not usable: expected {expected}", path.display())]
    Content {
        /// Where.
        path: PathBuf,
        /// What should be there.
        expected: String,
    },
    /// The database.
    #[error("the gateway's store failed: {0}")]
    Store(String, #[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// The data directory belongs to another organisation.
    #[error("`--data` belongs to the organisation `{stored}`, got `--organization {asked}`: use another directory")]
    OtherOrganization {
        /// In the database.
        stored: String,
        /// On the command line.
        asked: String,
    },
    /// A setting that cannot be.
    #[error("`{option}` is wrong: expected {expected}, got `{got}`")]
    Option {
        /// Its name on the command line.
        option: &'static str,
        /// What would be right.
        expected: &'static str,
        /// What it is.
        got: String,
    },
    /// The HTTPS port.
    #[error("cannot serve HTTPS at {address}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// TLS refused the certificate or key.
    #[error("TLS refused the certificate or its key")]
    Tls(#[from] rustls::Error),
    /// No certificate could be made.
    #[error("no certificate could be made")]
    Certificate(#[from] rcgen::Error),
    /// The tunnel's interface, socket, addresses or routes.
    #[error("cannot set up the tunnel ({step})")]
    Tunnel {
        /// Which part.
        step: &'static str,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The host's addresses and routes.
    #[error("cannot set up the host's network for the tunnel")]
    Network(#[from] vestibule_platform::netcfg::NetConfigError),
    /// The packet worker stopped.
    #[error("the packet worker has stopped: {0}")]
    Worker(StopReason),
    /// No random bytes.
    #[error("no keys could be made")]
    Random(#[from] RandomError),
}

impl From<StoreError> for GatewayError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string(), std::error::Error::source(&error).map(|cause| cause.to_string().into()))
    }
}

impl From<Stopped> for GatewayError {
    fn from(stopped: Stopped) -> Self {
        Self::Worker(stopped.reason)
    }
}
