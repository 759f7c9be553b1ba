//! Entries of ADDRESS_ASSIGN and ADDRESS_REQUEST, which have one layout.

use super::{ADDRESS_REQUEST, CapsuleError};
use crate::masque::varint;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU64;

/// One address or prefix a peer may use as source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssignedAddress {
    /// The request this answers; 0: none.
    pub request_id: u64,
    /// The prefix. Bits below its length are zero on the wire.
    pub prefix: IpNet,
}

/// One address or prefix a peer wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestedAddress {
    /// Never used twice in a session.
    pub request_id: NonZeroU64,
    /// The prefix; an all-zero address means "any of this length".
    pub prefix: IpNet,
}

impl AssignedAddress {
    /// The answer that refuses `request`.
    #[must_use]
    pub fn refusal(request: &RequestedAddress) -> Self {
        let any: IpAddr =
            if request.prefix.addr().is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        Self { request_id: request.request_id.get(), prefix: any.into() }
    }

    /// True for the all-zero address with full prefix length: nothing was assigned.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.prefix.addr().is_unspecified() && self.prefix.prefix_len() == self.prefix.max_prefix_len()
    }

    pub(super) fn encoded_len(&self) -> usize {
        encoded_len(self.request_id, &self.prefix)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        encode(self.request_id, &self.prefix, out);
    }
}

impl RequestedAddress {
    /// True when any address of this version and prefix length will do.
    #[must_use]
    pub fn has_no_preference(&self) -> bool {
        self.prefix.addr().is_unspecified()
    }

    pub(super) fn encoded_len(&self) -> usize {
        encoded_len(self.request_id.get(), &self.prefix)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        encode(self.request_id.get(), &self.prefix, out);
    }
}

fn encoded_len(request_id: u64, prefix: &IpNet) -> usize {
    varint::encoded_len(request_id) + 2 + usize::from(prefix.max_prefix_len() / 8)
}

fn encode(request_id: u64, prefix: &IpNet, out: &mut Vec<u8>) {
    varint::encode(request_id, out);
    encode_ip(prefix.network(), true, out);
    out.push(prefix.prefix_len());
}

/// Appends an address, behind its version if `tagged`.
pub(super) fn encode_ip(address: IpAddr, tagged: bool, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(v4) => {
            out.extend(tagged.then_some(4));
            out.extend(v4.octets());
        }
        IpAddr::V6(v6) => {
            out.extend(tagged.then_some(6));
            out.extend(v6.octets());
        }
    }
}

/// The bytes of an address of `version`.
pub(super) fn address_len(kind: u64, version: u8) -> Result<usize, CapsuleError> {
    match version {
        4 => Ok(4),
        6 => Ok(16),
        got => Err(CapsuleError::IpVersion { kind, got }),
    }
}

/// The address in 4 or 16 bytes.
pub(super) fn read_ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

/// How many bytes the entry that starts with `bytes` takes at least; exactly, once so many are there.
pub(super) fn needed(kind: u64, bytes: &[u8]) -> Result<usize, CapsuleError> {
    let Some(&first) = bytes.first() else { return Ok(1) };
    let id_len = varint::len_from_first(first);
    match bytes.get(id_len) {
        None => Ok(id_len + 1),
        Some(&version) => Ok(id_len + 2 + address_len(kind, version)?),
    }
}

/// Reads one entry, which is as long as [`needed`] says.
pub(super) fn read(kind: u64, bytes: &[u8]) -> Result<AssignedAddress, CapsuleError> {
    let truncated = CapsuleError::Truncated { kind, got: bytes.len() };
    let (request_id, id_len) = varint::decode(bytes).ok_or(truncated)?;
    let (&prefix_len, address) = bytes.get(id_len + 1..).and_then(<[u8]>::split_last).ok_or(truncated)?;
    let address = read_ip(address).ok_or(truncated)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix =
        IpNet::new(address, prefix_len).map_err(|_| CapsuleError::PrefixLength { kind, got: prefix_len, most })?;
    if prefix.network() != address {
        return Err(CapsuleError::HostBits { kind, prefix_len });
    }
    Ok(AssignedAddress { request_id, prefix })
}

/// The same entry as a request.
pub(super) fn read_request(bytes: &[u8]) -> Result<RequestedAddress, CapsuleError> {
    let entry = read(ADDRESS_REQUEST, bytes)?;
    let request_id = NonZeroU64::new(entry.request_id).ok_or(CapsuleError::RequestIdZero)?;
    Ok(RequestedAddress { request_id, prefix: entry.prefix })
}
