//! Strict, panic-free views of IPv4 and IPv6 packets.

mod extension;
mod malformed;
mod tcp;
#[cfg(test)]
mod tests;
mod transport;

pub use malformed::Malformed;
pub use tcp::Tcp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IP protocol number of ICMP for IPv4.
pub const ICMP: u8 = 1;
/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;
/// IP protocol number of ICMP for IPv6.
pub const ICMPV6: u8 = 58;

/// What the headers of one packet say. Plain values: it borrows nothing and costs no allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Who sent it.
    pub source: IpAddr,
    /// Whom it is for.
    pub destination: IpAddr,
    /// The protocol above IP, behind all IPv6 extension headers.
    pub protocol: u8,
    /// Where the transport header starts.
    pub transport_offset: usize,
    /// Length of the packet as its IP header says; never above the bytes given. What follows is padding.
    pub total_len: usize,
    /// Which part of a fragmented packet this is.
    pub fragment: Fragment,
    /// What the transport header says.
    pub transport: Transport,
    /// IPv4 type of service or IPv6 traffic class.
    pub tos: u8,
    /// IPv4 time to live or IPv6 hop limit.
    pub ttl: u8,
}

/// A packet's place in a fragmented one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// The whole packet (RFC 6946 atomic fragments, too).
    Whole,
    /// The first fragment: it holds the transport header.
    First {
        /// The identification all fragments share.
        id: u32,
    },
    /// A later fragment: it holds no transport header.
    Later {
        /// The identification all fragments share.
        id: u32,
    },
}

/// The transport header's facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A TCP segment.
    Tcp(Tcp),
    /// A UDP datagram.
    Udp {
        /// Source port.
        source_port: u16,
        /// Destination port.
        destination_port: u16,
    },
    /// An ICMP or ICMPv6 echo request or reply.
    Echo {
        /// The identifier both carry.
        id: u16,
        /// True for the reply.
        reply: bool,
    },
    /// An ICMP or ICMPv6 error, which quotes the packet it complains about.
    IcmpError {
        /// Where the quoted packet starts.
        quote_offset: usize,
    },
    /// Any other ICMP or ICMPv6 message.
    Icmp,
    /// Another protocol, or a later fragment: nothing is known.
    Opaque,
}

impl Headers {
    /// Reads the headers of the packet at the start of `bytes`. Trailing bytes are tolerated.
    ///
    /// # Errors
    /// What makes the packet unfit to travel.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut headers = Self::parse_ip(bytes, false)?;
        let packet = bytes.get(..headers.total_len).ok_or(Malformed::TotalLength)?;
        headers.transport = transport::parse(packet, &headers)?;
        Ok(headers)
    }

    /// Payload bytes above IP.
    #[must_use]
    pub fn transport_len(&self) -> usize {
        self.total_len.saturating_sub(self.transport_offset)
    }

    /// What `packet`, whose headers these are, carries above TCP or UDP; nothing of other protocols.
    #[must_use]
    pub fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        let header_len = match self.transport {
            Transport::Tcp(tcp) => tcp.header_len,
            Transport::Udp { .. } => 8,
            _ => return &[],
        };
        packet.get(self.transport_offset + header_len..self.total_len).unwrap_or_default()
    }

    /// True for a first or later fragment.
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        self.fragment != Fragment::Whole
    }

    /// The TCP header's facts, if it is TCP and not a later fragment.
    #[must_use]
    pub fn tcp(&self) -> Option<&Tcp> {
        match &self.transport {
            Transport::Tcp(tcp) => Some(tcp),
            _ => None,
        }
    }

    /// IP headers alone; `transport` is `Opaque`. A quote inside an ICMP error is cut short (`quoted`), which is
    /// not held against it.
    fn parse_ip(bytes: &[u8], quoted: bool) -> Result<Self, Malformed> {
        match bytes.first().ok_or(Malformed::Empty)? >> 4 {
            4 => Self::parse_v4(bytes, quoted),
            6 => Self::parse_v6(bytes, quoted),
            _ => Err(Malformed::Version),
        }
    }

    fn parse_v4(bytes: &[u8], quoted: bool) -> Result<Self, Malformed> {
        let (fixed, _) = bytes.split_first_chunk::<20>().ok_or(Malformed::IpHeader)?;
        let header_len = usize::from(fixed[0] & 0x0f) * 4;
        if header_len < 20 {
            return Err(Malformed::IpHeader);
        }
        let options = bytes.get(20..header_len).ok_or(Malformed::IpHeader)?;
        let mut total_len = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        if total_len < header_len || (total_len > bytes.len() && !quoted) {
            return Err(Malformed::TotalLength);
        }
        total_len = total_len.min(bytes.len());
        if has_source_route(options) {
            return Err(Malformed::SourceRoute);
        }
        let word = u16::from_be_bytes([fixed[6], fixed[7]]);
        let id = u32::from(u16::from_be_bytes([fixed[4], fixed[5]]));
        let part = Part { offset: usize::from(word & 0x1fff) * 8, more: word & 0x2000 != 0, id };
        let protocol = fixed[9];
        Ok(Self {
            source: IpAddr::V4(Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15])),
            destination: IpAddr::V4(Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19])),
            protocol,
            transport_offset: header_len,
            total_len,
            fragment: part.judge(protocol, total_len - header_len, quoted)?,
            transport: Transport::Opaque,
            tos: fixed[1],
            ttl: fixed[8],
        })
    }

    fn parse_v6(bytes: &[u8], quoted: bool) -> Result<Self, Malformed> {
        let (fixed, _) = bytes.split_first_chunk::<40>().ok_or(Malformed::IpHeader)?;
        let total_len = 40 + usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
        if total_len > bytes.len() && !quoted {
            return Err(Malformed::TotalLength);
        }
        let total_len = total_len.min(bytes.len());
        let packet = bytes.get(..total_len).ok_or(Malformed::TotalLength)?;
        let (source, destination) = (address_v6(fixed, 8), address_v6(fixed, 24));
        let chain = extension::walk(packet, fixed[6])?;
        let fragment = match chain.part {
            Some(part) => part.judge(chain.protocol, total_len - chain.offset, quoted)?,
            None => Fragment::Whole,
        };
        Ok(Self {
            source: IpAddr::V6(source),
            destination: IpAddr::V6(destination),
            protocol: chain.protocol,
            transport_offset: chain.offset,
            total_len,
            fragment,
            transport: Transport::Opaque,
            tos: (fixed[0] << 4) | (fixed[1] >> 4),
            ttl: fixed[7],
        })
    }

    /// The packet that an ICMP error quotes, as far as it was quoted; `headers` belong to `packet`.
    /// Of TCP and UDP the ports are read, nothing more is promised to be there.
    #[must_use]
    pub fn parse_quote(packet: &[u8], headers: &Headers) -> Option<Self> {
        let Transport::IcmpError { quote_offset } = headers.transport else { return None };
        let quote = packet.get(quote_offset..headers.total_len)?;
        let mut inner = Self::parse_ip(quote, true).ok()?;
        inner.transport = transport::parse_quoted(quote.get(inner.transport_offset..)?, &inner)?;
        Some(inner)
    }
}

/// The bytes a fragment claims.
#[derive(Clone, Copy)]
struct Part {
    offset: usize,
    more: bool,
    id: u32,
}

impl Part {
    /// RFC 1858 and RFC 3128: a later fragment must not reach into a TCP header that was judged; RFC 791 and
    /// RFC 8200: every fragment but the last is a multiple of 8 bytes, and all end within 65,535 bytes.
    fn judge(self, protocol: u8, len: usize, quoted: bool) -> Result<Fragment, Malformed> {
        let fragment = match (self.offset, self.more) {
            (0, false) => return Ok(Fragment::Whole),
            (0, true) => Fragment::First { id: self.id },
            _ => Fragment::Later { id: self.id },
        };
        let overlaps = protocol == TCP && self.offset > 0 && self.offset < 20;
        let beyond = self.offset + len > usize::from(u16::MAX);
        if !quoted && (overlaps || beyond || len == 0 || (self.more && !len.is_multiple_of(8))) {
            return Err(Malformed::Fragment);
        }
        Ok(fragment)
    }
}

fn address_v6(fixed: &[u8; 40], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&fixed[at..at + 16]);
    Ipv6Addr::from(octets)
}

/// Loose (131) or strict (137) source and record route.
fn has_source_route(mut options: &[u8]) -> bool {
    while let [kind, rest @ ..] = options {
        match kind {
            0 => return false,
            1 => options = rest,
            131 | 137 => return true,
            _ => {
                let len = usize::from(rest.first().copied().unwrap_or(0)).max(2);
                options = options.get(len..).unwrap_or_default();
            }
        }
    }
    false
}
