//! The hop limit, decremented when a packet that somebody else sent enters a tunnel.

use super::Refusal;
use crate::packet::Malformed;
use crate::packet::checksum::Sum;

/// Takes one off the hop limit of a packet that is forwarded into a tunnel, and mends an IPv4 header's checksum. Not for
/// packets that come out of a tunnel, nor for those this end wrote itself (RFC 9484 section 7.2).
///
/// # Errors
/// It was at its end: the packet is unchanged and must be dropped.
pub fn decrement_hop_limit(packet: &mut [u8]) -> Result<(), Refusal> {
    let version = packet.first().ok_or(Refusal::Malformed(Malformed::Empty))? >> 4;
    match (version, packet) {
        (4, [_, _, _, _, _, _, _, _, ttl, protocol, high, low, _, _, _, _, _, _, _, _, ..]) => {
            if *ttl <= 1 {
                return Err(Refusal::HopLimit);
            }
            let word = |ttl: u8| u16::from_be_bytes([ttl, *protocol]);
            // RFC 1624, equation 3: HC' = ~(~HC + ~m + m').
            let sum = Sum::new().with_u16(!u16::from_be_bytes([*high, *low])).with_u16(!word(*ttl));
            *ttl -= 1;
            let checksum = sum.with_u16(word(*ttl)).finish();
            [*high, *low] = checksum.to_be_bytes();
            Ok(())
        }
        (6, [_, _, _, _, _, _, _, hop_limit, rest @ ..]) if rest.len() >= 32 => {
            if *hop_limit <= 1 {
                return Err(Refusal::HopLimit);
            }
            *hop_limit -= 1;
            Ok(())
        }
        (4 | 6, _) => Err(Refusal::Malformed(Malformed::IpHeader)),
        _ => Err(Refusal::Malformed(Malformed::Version)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::packet::testing::{Segment, assert_checksums};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn d10_the_hop_limit_falls_by_one_and_the_checksum_stays_right(v6: bool, ttl: u8, id: u16, tos: u8) {
            let mut packet = Segment { v6, ttl, id, tos, ..Default::default() }.build();
            let before = packet.clone();
            let result = decrement_hop_limit(&mut packet);
            if ttl <= 1 {
                prop_assert_eq!(result, Err(Refusal::HopLimit));
                prop_assert_eq!(packet, before);
            } else {
                prop_assert_eq!(result, Ok(()));
                prop_assert_eq!(packet[if v6 { 7 } else { 8 }], ttl - 1);
                assert_checksums(&packet);
            }
        }
    }

    #[test]
    fn d10_what_is_no_packet_is_left_alone() {
        assert_eq!(decrement_hop_limit(&mut []), Err(Refusal::Malformed(Malformed::Empty)));
        assert_eq!(decrement_hop_limit(&mut [0x45; 19]), Err(Refusal::Malformed(Malformed::IpHeader)));
        assert_eq!(decrement_hop_limit(&mut [0x60; 39]), Err(Refusal::Malformed(Malformed::IpHeader)));
        assert_eq!(decrement_hop_limit(&mut [0x50; 60]), Err(Refusal::Malformed(Malformed::Version)));
    }
}
