//! How long a packet may be (RFC 9484 section 7.2).

use crate::masque::datagram::Prefix;

/// The least MTU of a link that carries IPv6.
pub const IPV6_MINIMUM_MTU: usize = 1280;

/// The least size of QUIC's first packets from which IPv6's least MTU follows: 1280 and 51 bytes of overhead, by the
/// RFC's count (1 type, 20 connection ID, 4 packet number, 1 frame type, 8 Quarter Stream ID, 1 Context ID, 16 tag).
pub const MIN_INITIAL: u16 = 1331;

/// The tunnel is too narrow for IPv6: its request stream must be aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tunnel carries packets of {got} bytes; IPv6 needs 1280")]
pub struct BelowIpv6Minimum {
    /// What fits.
    pub got: usize,
}

/// The longest packet that fits into a QUIC DATAGRAM frame of `max_datagram` bytes for the request stream `stream_id`.
#[must_use]
pub fn inner_mtu(max_datagram: usize, stream_id: u64) -> usize {
    max_datagram.saturating_sub(Prefix::quic(stream_id).bytes().len()).min(usize::from(u16::MAX))
}

/// Checks that a tunnel that carries IPv6 is wide enough for it.
///
/// # Errors
/// It is not.
pub fn check_ipv6_minimum(carries_ipv6: bool, inner_mtu: usize) -> Result<(), BelowIpv6Minimum> {
    if carries_ipv6 && inner_mtu < IPV6_MINIMUM_MTU { Err(BelowIpv6Minimum { got: inner_mtu }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d11_initials_are_padded_so_that_ipv6_fits_by_the_rfcs_count() {
        let overhead = 1 + 20 + 4 + 1 + 16;
        let widest_stream_id = (1 << 62) - 4;
        let frame = usize::from(MIN_INITIAL) - overhead;
        assert_eq!(inner_mtu(frame, widest_stream_id), IPV6_MINIMUM_MTU);
        assert_eq!(inner_mtu(frame, 0), IPV6_MINIMUM_MTU + 7);
        assert_eq!(inner_mtu(1, 0), 0);
    }

    #[test]
    fn d12_a_tunnel_too_narrow_for_ipv6_is_given_up_only_if_it_carries_ipv6() {
        assert_eq!(check_ipv6_minimum(true, 1279), Err(BelowIpv6Minimum { got: 1279 }));
        assert_eq!(check_ipv6_minimum(true, 1280), Ok(()));
        assert_eq!(check_ipv6_minimum(false, 1160), Ok(()));
    }
}
