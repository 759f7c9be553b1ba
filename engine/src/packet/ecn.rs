//! Explicit congestion notification through the tunnel: RFC 6040, normal mode.
//!
//! A packet's outer header gets the inner one's ECN field on the way out. On the way in, a mark that a router has made on
//! the outer header moves to the inner one, by the table below. The inner DSCP stays inside: what kind of traffic flows
//! is nobody's affair on the way.

use super::checksum::Sum;

/// The two bits of the ECN field (RFC 3168, section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Ecn {
    /// The transport cannot be told of congestion but by loss.
    #[default]
    NotEct = 0b00,
    /// ECN-capable, the second codepoint (RFC 9331: L4S).
    Ect1 = 0b01,
    /// ECN-capable.
    Ect0 = 0b10,
    /// Congestion was met on the way.
    Ce = 0b11,
}

impl Ecn {
    /// The field in a type of service or traffic class.
    #[must_use]
    #[inline]
    pub fn from_tos(tos: u8) -> Self {
        match tos & 0b11 {
            0b00 => Self::NotEct,
            0b01 => Self::Ect1,
            0b10 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// The field of the IP packet at the start of `packet`; Not-ECT when it is too short for one.
    #[must_use]
    #[inline]
    pub fn of(packet: &[u8]) -> Self {
        match packet {
            [first, second, ..] if first >> 4 == 4 => Self::from_tos(*second),
            [first, second, ..] if first >> 4 == 6 => Self::from_tos(second >> 4),
            _ => Self::NotEct,
        }
    }

    /// The bits, as they stand in a type of service or traffic class.
    #[must_use]
    pub fn bits(self) -> u8 {
        self as u8
    }

    /// Whether an outer header with this field may change the inner one: by the table, ECT(1) and CE alone do.
    #[must_use]
    #[inline]
    pub fn changes_inner(self) -> bool {
        self as u8 & 0b01 != 0
    }

    /// The field of the packet that goes on, by that of the inner header and of the outer one (`self`); `None`: it must
    /// be dropped, since its transport would take the mark for nothing.
    ///
    /// RFC 6040, figure 4 (section 4.2):
    ///
    /// ```text
    /// |  Arriving |               Arriving Outer Header            |
    /// |   Inner   +---------+------------+------------+------------+
    /// |   Header  | Not-ECT |   ECT(0)   |   ECT(1)   |     CE     |
    /// +-----------+---------+------------+------------+------------+
    /// |  Not-ECT  | Not-ECT |Not-ECT(!!!)|Not-ECT(!!!)| <drop>(!!!)|
    /// |   ECT(0)  |  ECT(0) |   ECT(0)   |   ECT(1)   |     CE     |
    /// |   ECT(1)  |  ECT(1) | ECT(1) (!) |   ECT(1)   |     CE     |
    /// |     CE    |    CE   |     CE     |   CE(!!!)  |     CE     |
    /// ```
    #[must_use]
    pub fn onto(self, inner: Self) -> Option<Self> {
        match (inner, self) {
            (Self::NotEct, Self::Ce) => None,
            (Self::NotEct, _) => Some(Self::NotEct),
            (Self::Ce, _) | (_, Self::Ce) => Some(Self::Ce),
            (_, Self::Ect1) => Some(Self::Ect1),
            (inner, _) => Some(inner),
        }
    }

    /// Gives the IP packet at the start of `packet` the field that the table demands, `self` being its outer header's,
    /// and keeps an IPv4 header's checksum as right or wrong as it was. False: the packet must be dropped. What is no IP
    /// packet is left alone.
    #[must_use]
    pub fn carry_into(self, packet: &mut [u8]) -> bool {
        let inner = Self::of(packet);
        let Some(outgoing) = self.onto(inner) else { return !is_ip(packet) };
        if outgoing == inner {
            return true;
        }
        match packet.first().map(|first| first >> 4) {
            Some(4) => {
                if let Some(header) = packet.first_chunk_mut::<20>() {
                    mark_v4(header, outgoing);
                }
            }
            Some(6) => packet[1] = packet[1] & !0x30 | outgoing.bits() << 4,
            _ => {}
        }
        true
    }
}

fn is_ip(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| matches!(first >> 4, 4 | 6))
}

/// RFC 1624, equation 3: `HC' = ~(~HC + ~m + m')`, `m` being the header's first word.
fn mark_v4(header: &mut [u8; 20], ecn: Ecn) {
    let former = u16::from_be_bytes([header[0], header[1]]);
    header[1] = header[1] & !0b11 | ecn.bits();
    let now = u16::from_be_bytes([header[0], header[1]]);
    let checksum = u16::from_be_bytes([header[10], header[11]]);
    let sum = Sum::new().with_u16(!checksum).with_u16(!former).with_u16(now);
    header[10..12].copy_from_slice(&sum.finish().to_be_bytes());
}

#[cfg(test)]
#[path = "ecn_tests.rs"]
mod tests;
