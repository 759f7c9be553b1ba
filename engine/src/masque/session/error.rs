//! How connections end.

use super::TunnelError;
use crate::masque::tunnel::Fault;
use h3wire::H3Code;

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
}

/// What the stream is aborted with when we find out.
pub(super) fn code(error: &TunnelError) -> H3Code {
    match error.fault() {
        Fault::Malformed => H3Code::MESSAGE_ERROR,
        Fault::Excessive => H3Code::EXCESSIVE_LOAD,
        Fault::None => H3Code::REQUEST_CANCELLED,
    }
}
