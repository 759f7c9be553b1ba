//! Which packets a request was made for (RFC 9484 sections 4.6 and 4.8).

use crate::masque::capsule::{IpAddressRange, Routes};
use crate::packet::header::{ICMP, ICMPV6};
use ipnet::IpNet;
use std::net::IpAddr;

/// The part of the network a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    targets: Option<Vec<IpNet>>,
    protocol: Option<u8>,
}

/// Why a scope is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScopeError {
    /// The number names an IPv6 extension header, which no packet is matched by.
    #[error("ipproto {got} is an IPv6 extension header; name the protocol above it")]
    ExtensionHeader {
        /// The number.
        got: u8,
    },
}

impl Scope {
    /// All packets.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Packets between the client and `targets` (`None`: everywhere) of `protocol` (`None`: all).
    ///
    /// # Errors
    /// The protocol is an extension header's number (RFC 9484 section 4.8 allows to refuse those).
    pub fn new(targets: Option<Vec<IpNet>>, protocol: Option<u8>) -> Result<Self, ScopeError> {
        match protocol {
            // IANA's IPv6 Extension Header Types, save ESP (50): what is behind it cannot be seen, so it is matched by.
            Some(got @ (0 | 43 | 44 | 51 | 60 | 135 | 139 | 140)) => Err(ScopeError::ExtensionHeader { got }),
            _ => Ok(Self { targets, protocol }),
        }
    }

    /// True for a packet to or from `far`, whose outermost protocol that is no extension header is `protocol`.
    #[must_use]
    pub fn contains(&self, far: IpAddr, protocol: u8) -> bool {
        let icmp = protocol == if far.is_ipv4() { ICMP } else { ICMPV6 };
        let of_protocol = icmp || self.protocol.is_none_or(|only| only == protocol);
        of_protocol && self.contains_address(far)
    }

    /// True for an address of the targets.
    #[must_use]
    pub fn contains_address(&self, far: IpAddr) -> bool {
        self.targets.as_ref().is_none_or(|targets| targets.iter().any(|target| target.contains(&far)))
    }

    /// What to advertise for this scope: its targets, of the IP versions the client has addresses of.
    #[must_use]
    pub fn routes(&self, v4: bool, v6: bool) -> Routes {
        let everywhere = [IpNet::V4(ipnet::Ipv4Net::default()), IpNet::V6(ipnet::Ipv6Net::default())];
        let targets = self.targets.as_deref().unwrap_or(&everywhere);
        let usable = targets.iter().filter(|target| if target.addr().is_ipv4() { v4 } else { v6 });
        Routes::normalised(usable.map(|target| IpAddressRange::from_prefix(*target, self.protocol.unwrap_or(0))))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::packet::header::{TCP, UDP};

    fn scope(targets: &[&str], protocol: Option<u8>) -> Scope {
        Scope::new(Some(targets.iter().map(|text| text.parse().unwrap()).collect()), protocol).unwrap()
    }

    #[test]
    fn u6_icmp_is_always_in_the_protocol_scope() {
        let udp = Scope::new(None, Some(UDP)).unwrap();
        let (v4, v6) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        assert!(udp.contains(v4, UDP) && udp.contains(v4, ICMP) && udp.contains(v6, ICMPV6));
        assert!(!udp.contains(v4, TCP) && !udp.contains(v4, ICMPV6) && !udp.contains(v6, ICMP), "not the other's ICMP");
        let elsewhere = scope(&["10.0.0.0/8"], None);
        assert!(!elsewhere.contains(v4, ICMP), "the target still counts");
    }

    #[test]
    fn u9_routes_for_all_addresses_of_the_assigned_versions() {
        let name = scope(&["192.0.2.7/32", "192.0.2.1/32", "2001:db8::1/128"], Some(TCP));
        let starts = |routes: Routes| routes.ranges().iter().map(|range| range.start.to_string()).collect::<Vec<_>>();
        assert_eq!(starts(name.routes(true, true)), ["192.0.2.1", "192.0.2.7", "2001:db8::1"]);
        assert_eq!(starts(name.routes(false, true)), ["2001:db8::1"]);
        assert!(name.routes(true, true).ranges().iter().all(|range| range.protocol == TCP));
        assert_eq!(starts(Scope::all().routes(true, true)), ["0.0.0.0", "::"]);
    }

    #[test]
    fn u10_scopes_that_name_extension_headers_are_refused() {
        for got in [0, 43, 44, 51, 60, 135, 139, 140] {
            assert_eq!(Scope::new(None, Some(got)), Err(ScopeError::ExtensionHeader { got }));
        }
        assert!(Scope::new(None, Some(50)).is_ok());
    }
}
