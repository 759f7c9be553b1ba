//! How connections and streams fail.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use vestibule_engine::core::{StreamLoss, TunnelEnd};
use vestibule_engine::masque::request::ResponseError;
use vestibule_engine::masque::session::TunnelError;

/// What a connection was busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// TCP's handshake.
    Tcp,
    /// TLS's handshake.
    Tls,
    /// HTTP/2's first settings.
    Settings,
    /// The answer to the request.
    Answer,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp => "the TCP handshake",
            Self::Tls => "the TLS handshake",
            Self::Settings => "HTTP/2's settings",
            Self::Answer => "the answer to the request",
        })
    }
}

/// Why there is no tunnel, or no longer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CarrierError {
    /// TCP failed.
    #[error("the TCP connection failed")]
    Tcp(#[source] Arc<io::Error>),
    /// TLS failed: not believed, or not understood.
    #[error("the TLS handshake failed")]
    Tls(#[source] Arc<io::Error>),
    /// The peer speaks TLS and not HTTP/2.
    #[error("the peer did not choose HTTP/2 (ALPN `h2`)")]
    Alpn,
    /// It took too long.
    #[error("{stage} took longer than {} s", .limit.as_secs())]
    Timeout {
        /// What was waited for.
        stage: Stage,
        /// How long.
        limit: Duration,
    },
    /// HTTP/2 failed.
    #[error("the HTTP/2 connection failed")]
    Http2(#[source] Arc<h2::Error>),
    /// The gateway serves no extended CONNECT.
    #[error("the peer does not offer extended CONNECT, which IP proxying needs")]
    NoExtendedConnect,
    /// The request cannot be said in HTTP/2.
    #[error("the request cannot be made: {what}")]
    Request {
        /// What is wrong.
        what: &'static str,
    },
    /// The gateway said no.
    #[error("the request was not accepted")]
    Response(#[source] ResponseError),
    /// The peer reset the stream.
    #[error("the peer reset the stream with {code:#x}")]
    Reset {
        /// HTTP/2's error code.
        code: u32,
    },
    /// The peer fell silent.
    #[error("the peer was silent for {} s", .0.as_secs())]
    Silent(Duration),
    /// The connection ended.
    #[error("the connection ended")]
    Closed,
}

impl CarrierError {
    /// What the engine is told.
    #[must_use]
    pub fn end(&self) -> TunnelEnd {
        TunnelEnd::Stream(match self {
            Self::Response(error) => return TunnelEnd::Tunnel(TunnelError::Response(error.clone())),
            Self::Tls(_) => StreamLoss::Tls(self.told()),
            Self::NoExtendedConnect => StreamLoss::NoExtendedConnect,
            _ => StreamLoss::Other(self.told()),
        })
    }

    /// The error with its causes.
    fn told(&self) -> String {
        let (mut told, mut cause) = (self.to_string(), self.source());
        while let Some(below) = cause {
            told = format!("{told}: {below}");
            cause = below.source();
        }
        told
    }

    /// What an error of a stream means.
    pub(super) fn of_stream(error: h2::Error) -> Self {
        match error.reason() {
            Some(reason) if error.is_reset() && error.is_remote() => Self::Reset { code: reason.into() },
            _ => Self::Http2(Arc::new(error)),
        }
    }
}
