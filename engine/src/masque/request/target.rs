//! The template's variables `target` and `ipproto` (RFC 9484 section 4.6).

use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a tunnel leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Everywhere.
    #[default]
    Any,
    /// One prefix.
    Prefix(IpNet),
    /// Whatever addresses the gateway resolves this name to.
    Name(String),
}

/// Why a variable is invalid: the request is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Neither `*` nor an address, prefix or name.
    #[error("`target` must be `*`, an IP address or prefix, or a DNS name")]
    Target,
    /// A prefix length that is no number or beyond the address.
    #[error("the prefix length in `target` must be a decimal number up to {most}")]
    PrefixLength {
        /// Bits of the address.
        most: u8,
    },
    /// Bits below the prefix are set.
    #[error("`target` has bits set below its prefix length")]
    HostBits,
    /// No protocol number.
    #[error("`ipproto` must be `*` or a decimal number up to 255")]
    Protocol,
    /// A variable is there and says nothing.
    #[error("a variable of the template is empty")]
    Empty,
}

impl Target {
    /// Reads the decoded variable.
    ///
    /// # Errors
    /// It breaks the RFC's grammar.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        if text.is_empty() {
            return Err(TargetError::Empty);
        }
        if text == "*" {
            return Ok(Self::Any);
        }
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address = if address.contains(':') {
            IpAddr::V6(address.parse::<Ipv6Addr>().map_err(|_| TargetError::Target)?)
        } else if let Ok(v4) = address.parse::<Ipv4Addr>() {
            IpAddr::V4(v4)
        } else if length.is_none() && is_name(address) {
            return Ok(Self::Name(address.to_ascii_lowercase()));
        } else {
            return Err(TargetError::Target);
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            Some(digits) => {
                number(digits).filter(|length| *length <= most).ok_or(TargetError::PrefixLength { most })?
            }
            None => most,
        };
        let prefix = IpNet::new(address, length).map_err(|_| TargetError::PrefixLength { most })?;
        if prefix.network() == address { Ok(Self::Prefix(prefix)) } else { Err(TargetError::HostBits) }
    }

    /// Reads the decoded variable `ipproto`; `None`: all protocols.
    ///
    /// # Errors
    /// It is no number up to 255.
    pub fn parse_protocol(text: &str) -> Result<Option<u8>, TargetError> {
        match text {
            "" => Err(TargetError::Empty),
            "*" => Ok(None),
            digits => number(digits).map(Some).ok_or(TargetError::Protocol),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Prefix(prefix) if prefix.prefix_len() == prefix.max_prefix_len() => prefix.addr().fmt(f),
            Self::Prefix(prefix) => prefix.trunc().fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// One to three digits.
fn number(digits: &str) -> Option<u8> {
    ((1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok())?
}

/// A DNS name whose last label is not all digits: such would be a broken IPv4 address.
fn is_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last_is_number = name.rsplit('.').next().is_none_or(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    name.len() <= 253 && name.split('.').all(is_label) && !last_is_number
}
