//! The Capsule Protocol (RFC 9297 section 3) with the capsules of CONNECT-IP (RFC 9484 section 4.7).

mod address;
#[cfg(test)]
mod corpus_tests;
mod decoder;
mod error;
mod list;
#[cfg(test)]
mod properties;
mod route;
#[cfg(test)]
mod tests;

pub use address::{AssignedAddress, RequestedAddress};
pub use decoder::{Decoder, Limits};
pub use error::CapsuleError;
pub use route::{IpAddressRange, RouteError, Routes};

use super::varint;

/// HTTP datagram (RFC 9297 section 3.5).
pub const DATAGRAM: u64 = 0x00;
/// Addresses the receiver may use (RFC 9484 section 4.7.1).
pub const ADDRESS_ASSIGN: u64 = 0x01;
/// Addresses the sender wants (RFC 9484 section 4.7.2).
pub const ADDRESS_REQUEST: u64 = 0x02;
/// Where the sender forwards packets to (RFC 9484 section 4.7.3).
pub const ROUTE_ADVERTISEMENT: u64 = 0x03;

/// A capsule that means something to us. All others are skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capsule<'a> {
    /// An HTTP datagram: Context ID and payload (see [`super::datagram`]).
    Datagram(&'a [u8]),
    /// All addresses the receiver has from now on; what was not repeated is gone.
    AddressAssign(Vec<AssignedAddress>),
    /// Addresses asked for; at least one.
    AddressRequest(Vec<RequestedAddress>),
    /// All ranges the sender forwards to from now on; what was not repeated is withdrawn.
    RouteAdvertisement(Routes),
}

impl Capsule<'_> {
    /// The type on the wire.
    #[must_use]
    pub fn kind(&self) -> u64 {
        match self {
            Self::Datagram(_) => DATAGRAM,
            Self::AddressAssign(_) => ADDRESS_ASSIGN,
            Self::AddressRequest(_) => ADDRESS_REQUEST,
            Self::RouteAdvertisement(_) => ROUTE_ADVERTISEMENT,
        }
    }

    /// Appends the capsule to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let value_len: usize = match self {
            Self::Datagram(payload) => payload.len(),
            Self::AddressAssign(addresses) => addresses.iter().map(AssignedAddress::encoded_len).sum(),
            Self::AddressRequest(addresses) => addresses.iter().map(RequestedAddress::encoded_len).sum(),
            Self::RouteAdvertisement(routes) => routes.ranges().iter().map(IpAddressRange::encoded_len).sum(),
        };
        varint::encode(self.kind(), out);
        varint::encode(value_len as u64, out);
        match self {
            Self::Datagram(payload) => out.extend_from_slice(payload),
            Self::AddressAssign(addresses) => addresses.iter().for_each(|address| address.encode(out)),
            Self::AddressRequest(addresses) => addresses.iter().for_each(|address| address.encode(out)),
            Self::RouteAdvertisement(routes) => routes.ranges().iter().for_each(|range| range.encode(out)),
        }
    }
}

/// The `n`th type that is reserved to be ignored (RFC 9297 section 5.4).
#[must_use]
pub fn grease_type(n: u64) -> u64 {
    let most = (varint::MAX - 0x17) / 0x29;
    0x29 * (n % (most + 1)) + 0x17
}

/// Appends a capsule that every receiver must skip, so that nobody's handling of unknown types rusts.
pub fn encode_grease(n: u64, value: &[u8], out: &mut Vec<u8>) {
    varint::encode(grease_type(n), out);
    varint::encode(value.len() as u64, out);
    out.extend_from_slice(value);
}
