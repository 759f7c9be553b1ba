//! What can go wrong, in terms of what was asked for.

use super::clients::PoolError;
use super::front::FrontError;
use super::host::HostError;
use super::identity::IdentityError;
use std::io;
use vestibule_engine::core::TunnelEnd;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MasqueError {
    /// No certificate, or nobody to believe.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No addresses for clients.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The machine refused.
    #[error(transparent)]
    Host(#[from] HostError),
    /// TLS does not take what it was given.
    #[error("the certificate and its key are of no use")]
    Tls(#[from] rustls::Error),
    /// No proxy.
    #[error(transparent)]
    Front(#[from] FrontError),
    /// No address of the peer.
    #[error("cannot find {host}")]
    Resolve {
        /// Its name.
        host: String,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
    /// The peer refuses, and will again.
    #[error("{peer} refuses a tunnel{}", .advice.as_ref().map_or(String::new(), |advice| format!(" ({advice})")))]
    Refused {
        /// The authority asked.
        peer: String,
        /// What may help.
        advice: Option<&'static str>,
        /// What it said.
        #[source]
        end: TunnelEnd,
    },
    /// More routes than a host wants.
    #[error("the peer advertises {got} routes, at most {most} are set: name those you want by --route")]
    TooManyRoutes {
        /// Prefixes.
        got: usize,
        /// Most.
        most: usize,
    },
}
