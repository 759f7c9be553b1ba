//! How connections end.

use super::TunnelError;
use crate::masque::tunnel::Fault;
use h3wire::H3Code;
use std::time::Duration;

/// Why a QUIC connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// QUIC or TLS failed, or the peer closed.
    #[error("the QUIC connection was lost")]
    Quic(#[source] quinn_proto::ConnectionError),
    /// The peer broke HTTP/3's rules: closed with this code.
    #[error("closed for an HTTP/3 error {code:#x}: {reason}")]
    Http3 {
        /// The code on the wire.
        code: u64,
        /// Which rule.
        reason: &'static str,
    },
    /// A client had no tunnel for so long, nor asked for one.
    #[error("closed, for there was no tunnel in it for {} s", .after.as_secs())]
    Unused {
        /// How long.
        after: Duration,
    },
}

impl ConnectionError {
    /// What the peer did wrong.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Http3 { code, .. } if *code == H3Code::EXCESSIVE_LOAD.0 => Fault::Excessive,
            Self::Http3 { .. } => Fault::Malformed,
            Self::Quic(quinn_proto::ConnectionError::TransportError(_)) if !self.is_handshake() => Fault::Malformed,
            _ => Fault::None,
        }
    }

    /// True when the handshake failed: the two ends do not fit, or one does not believe the other.
    #[must_use]
    pub fn is_handshake(&self) -> bool {
        use quinn_proto::ConnectionError::{ConnectionClosed, TransportError, VersionMismatch};
        // RFC 9001, section 4.8: alerts of TLS are codes from 0x100 to 0x1ff. Bad parameters are found out then, too.
        let code = |code: u64| matches!(code, 0x08 | 0x100..=0x1ff);
        match self {
            Self::Quic(VersionMismatch) => true,
            Self::Quic(TransportError(error)) => code(error.code.into()),
            Self::Quic(ConnectionClosed(close)) => code(close.error_code.into()),
            _ => false,
        }
    }
}

impl ConnectionError {
    /// True when the peer closed the connection in good order.
    #[must_use]
    pub fn is_in_order(&self) -> bool {
        let no_error = |close: &quinn_proto::ApplicationClose| close.error_code.into_inner() == H3Code::NO_ERROR.0;
        matches!(self, Self::Quic(quinn_proto::ConnectionError::ApplicationClosed(close)) if no_error(close))
    }

    /// True when TLS failed: one end did not believe or did not understand the other.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        let Self::Quic(error) = self else { return false };
        let code = match error {
            quinn_proto::ConnectionError::TransportError(error) => error.code,
            quinn_proto::ConnectionError::ConnectionClosed(close) => close.error_code,
            _ => return false,
        };
        // CRYPTO_ERROR: 0x100 and the alert (RFC 9001 section 4.8).
        (0x100..0x200).contains(&u64::from(code))
    }
}

/// What the stream is aborted with when we find out.
pub(super) fn code(error: &TunnelError) -> H3Code {
    match error.fault() {
        Fault::Malformed => H3Code::MESSAGE_ERROR,
        Fault::Excessive => H3Code::EXCESSIVE_LOAD,
        Fault::None => H3Code::REQUEST_CANCELLED,
    }
}
