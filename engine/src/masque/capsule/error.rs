//! What is wrong with a capsule.

use super::route::RouteError;

/// Why a peer's capsules are malformed: the request stream must be aborted (RFC 9297 section 3.3, RFC 9484 section 4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CapsuleError {
    /// The stream ended inside a capsule.
    #[error("the stream ended inside a capsule: {missing} more bytes were announced")]
    StreamEnded {
        /// Bytes that were announced and did not come; 0 if not even the length was known.
        missing: u64,
    },
    /// The capsule's value ends inside an entry.
    #[error("a capsule of type {kind:#x} ends inside an entry, {got} bytes into it")]
    Truncated {
        /// The capsule's type.
        kind: u64,
        /// Bytes of the last entry there were.
        got: usize,
    },
    /// An IP version other than 4 and 6.
    #[error("IP version {got} in a capsule of type {kind:#x}; it must be 4 or 6")]
    IpVersion {
        /// The capsule's type.
        kind: u64,
        /// What stood there.
        got: u8,
    },
    /// A prefix longer than the address.
    #[error("prefix length {got} in a capsule of type {kind:#x}; an address has {most} bits")]
    PrefixLength {
        /// The capsule's type.
        kind: u64,
        /// What stood there.
        got: u8,
        /// Bits of the address.
        most: u8,
    },
    /// Bits are set that the prefix does not cover.
    #[error("an address in a capsule of type {kind:#x} has bits set below its prefix length {prefix_len}")]
    HostBits {
        /// The capsule's type.
        kind: u64,
        /// The prefix length beside it.
        prefix_len: u8,
    },
    /// A request with Request ID 0, which means "unprompted".
    #[error("an ADDRESS_REQUEST names Request ID 0; it must not be zero")]
    RequestIdZero,
    /// A Request ID that was used before.
    #[error("an ADDRESS_REQUEST names Request ID {id} for the second time; each request needs its own")]
    RequestIdReused {
        /// The id.
        id: u64,
    },
    /// A request for nothing.
    #[error("an ADDRESS_REQUEST without any entry; at least one is needed")]
    NothingRequested,
    /// Ranges that break the order or overlap.
    #[error("a ROUTE_ADVERTISEMENT is invalid")]
    Routes(#[source] RouteError),
    /// More entries than we hold for one peer.
    #[error("a capsule of type {kind:#x} has more than {most} entries")]
    TooMany {
        /// The capsule's type.
        kind: u64,
        /// The limit.
        most: usize,
    },
}
