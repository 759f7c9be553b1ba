//! Why bytes are no packet.

use super::extension::MAX_EXTENSIONS;

/// Why bytes are not a packet that may travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// No bytes at all.
    #[error("empty packet")]
    Empty,
    /// Neither 4 nor 6.
    #[error("IP version is neither 4 nor 6")]
    Version,
    /// The IP header is cut short, or its length field is below the minimum.
    #[error("IP header is cut short or its length is below 20 bytes")]
    IpHeader,
    /// The total length is below the header's or above the bytes there are.
    #[error("IP total length does not fit the bytes there are")]
    TotalLength,
    /// An IPv6 extension header is cut short.
    #[error("IPv6 extension header is cut short")]
    Extension,
    /// More extension headers than anyone needs.
    #[error("more than {} IPv6 extension headers", MAX_EXTENSIONS)]
    ExtensionCount,
    /// The packet asks to be forwarded on to somewhere that no rule has judged.
    #[error("source route: the packet names a destination other than the one it is judged by")]
    SourceRoute,
    /// A fragment that would overwrite a transport header, reach beyond 65,535 bytes, or is no multiple of 8.
    #[error("fragment overlaps the transport header, ends beyond 65535 bytes, or is no multiple of 8 bytes long")]
    Fragment,
    /// The transport header is cut short.
    #[error("transport header is cut short")]
    Transport,
    /// TCP's data offset or UDP's length does not fit the packet.
    #[error("TCP data offset or UDP length does not fit the packet")]
    TransportLength,
}
