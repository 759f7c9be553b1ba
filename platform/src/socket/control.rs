//! Windows' control messages and socket addresses as plain bytes, so that what is read and written is tested everywhere.
//!
//! A message is a header (length with the header, level, kind), padding to the machine's natural alignment, and data.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Alignment of headers and data.
const ALIGN: usize = size_of::<usize>();
/// A header with its padding: `WSA_CMSG_LEN(0)`.
const HEADER: usize = (size_of::<usize>() + 2 * size_of::<i32>()).next_multiple_of(ALIGN);
/// Room for three messages of four bytes.
const ROOM: usize = 3 * (HEADER + ALIGN);
/// `AF_INET` and `AF_INET6`.
const FAMILIES: [u16; 2] = [2, 23];
/// Bytes of a `SOCKADDR_IN6`, the larger of the two.
pub(crate) const NAME: usize = 28;

/// Control messages of one datagram, or room for them.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(super) struct Control {
    bytes: [u8; ROOM],
    used: usize,
}

impl Control {
    pub(super) fn new() -> Self {
        Self { bytes: [0; ROOM], used: 0 }
    }

    /// Adds a message of the number `value`. What does not fit is left out.
    pub(super) fn push(&mut self, level: i32, kind: i32, value: u32) {
        let Some(room) = self.bytes.get_mut(self.used..self.used + HEADER + ALIGN) else { return };
        let word = size_of::<usize>();
        room[..word].copy_from_slice(&(HEADER + size_of::<u32>()).to_ne_bytes());
        room[word..word + 4].copy_from_slice(&level.to_ne_bytes());
        room[word + 4..word + 8].copy_from_slice(&kind.to_ne_bytes());
        room[HEADER..HEADER + 4].copy_from_slice(&value.to_ne_bytes());
        self.used += HEADER + ALIGN;
    }

    /// All messages.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }

    /// The whole room, for the system to write to.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// So many bytes were written to [`Self::room`].
    pub(super) fn set_used(&mut self, used: usize) {
        self.used = used.min(ROOM);
    }

    /// The numbers, with their level and kind. A message that says more than there is ends it.
    pub(super) fn numbers(&self) -> impl Iterator<Item = (i32, i32, u32)> + '_ {
        let mut rest = self.bytes();
        std::iter::from_fn(move || {
            loop {
                let word = size_of::<usize>();
                let len = usize::from_ne_bytes(rest.get(..word)?.try_into().ok()?);
                let level = i32::from_ne_bytes(rest.get(word..word + 4)?.try_into().ok()?);
                let kind = i32::from_ne_bytes(rest.get(word + 4..word + 8)?.try_into().ok()?);
                let message = rest.get(..len).filter(|message| message.len() >= HEADER)?;
                rest = rest.get(len.next_multiple_of(ALIGN)..).unwrap_or_default();
                if let Some(value) = message.get(HEADER..HEADER + 4).and_then(|bytes| bytes.try_into().ok()) {
                    return Some((level, kind, u32::from_ne_bytes(value)));
                }
            }
        })
    }
}

/// An address as Windows writes it, and how many of the bytes it takes.
pub(crate) fn name(address: SocketAddr) -> ([u8; NAME], usize) {
    let mut bytes = [0; NAME];
    bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
    match address {
        SocketAddr::V4(v4) => {
            bytes[..2].copy_from_slice(&FAMILIES[0].to_ne_bytes());
            bytes[4..8].copy_from_slice(&v4.ip().octets());
            (bytes, 16)
        }
        SocketAddr::V6(v6) => {
            bytes[..2].copy_from_slice(&FAMILIES[1].to_ne_bytes());
            bytes[4..8].copy_from_slice(&v6.flowinfo().to_be_bytes());
            bytes[8..24].copy_from_slice(&v6.ip().octets());
            bytes[24..].copy_from_slice(&v6.scope_id().to_ne_bytes());
            (bytes, NAME)
        }
    }
}

/// The address in bytes that Windows wrote; IPv4-mapped ones as IPv4. `None` for another family.
pub(crate) fn address(bytes: &[u8; NAME]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes([bytes[0], bytes[1]]);
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    if family == FAMILIES[0] {
        return Some((Ipv4Addr::new(bytes[4], bytes[5], bytes[6], bytes[7]), port).into());
    }
    if family != FAMILIES[1] {
        return None;
    }
    let ip = Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[8..24]).ok()?);
    Some(match ip.to_ipv4_mapped() {
        Some(v4) => SocketAddr::from((v4, port)),
        None => {
            let scope = u32::from_ne_bytes([bytes[24], bytes[25], bytes[26], bytes[27]]);
            SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope))
        }
    })
}

/// The value of `IP_UNICAST_IF` (IPv4: in network byte order) or `IPV6_UNICAST_IF` for an interface; 0 is any.
pub(super) fn unicast_interface(towards: IpAddr, index: u32) -> u32 {
    if towards.is_ipv4() { index.to_be() } else { index }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_lies_as_the_system_wants_it() {
        let mut control = Control::new();
        control.push(17, 2, 1400);
        let mut wanted = Vec::new();
        wanted.extend_from_slice(&(HEADER + 4).to_ne_bytes());
        wanted.extend_from_slice(&17i32.to_ne_bytes());
        wanted.extend_from_slice(&2i32.to_ne_bytes());
        wanted.resize(HEADER, 0);
        wanted.extend_from_slice(&1400u32.to_ne_bytes());
        wanted.resize(HEADER + ALIGN, 0);
        assert_eq!(control.bytes(), wanted);
        // What the C headers of 64-bit Windows compute: WSA_CMSG_LEN(4) and WSA_CMSG_SPACE(4).
        #[cfg(target_pointer_width = "64")]
        assert_eq!((HEADER + 4, control.bytes().len(), align_of::<Control>()), (20, 24, 8));
    }

    #[test]
    fn what_is_written_is_read_and_what_does_not_fit_is_left_out() {
        let mut control = Control::new();
        let all = [(17, 3, 1400), (0, 50, 3), (41, 50, u32::MAX)];
        for (level, kind, value) in all {
            control.push(level, kind, value);
        }
        control.push(1, 1, 1);
        assert_eq!(control.numbers().collect::<Vec<_>>(), all);
        control.set_used(usize::MAX);
        assert_eq!(control.bytes().len(), ROOM);
    }

    proptest! {
        #[test]
        fn no_bytes_of_the_system_make_reading_fail(bytes in prop::collection::vec(any::<u8>(), ROOM), used in 0..=ROOM,
            len in 0usize..200) {
            let mut control = Control::new();
            control.room().copy_from_slice(&bytes);
            control.room()[..size_of::<usize>()].copy_from_slice(&len.to_ne_bytes());
            control.set_used(used);
            prop_assert!(control.numbers().count() <= 3);
        }

        #[test]
        fn an_address_is_read_as_it_was_written(v6 in any::<bool>(), ip in any::<u128>(), port in any::<u16>()) {
            let wanted = if v6 {
                SocketAddr::from((Ipv6Addr::from(ip | 1 << 127), port))
            } else {
                SocketAddr::from((Ipv4Addr::from(ip as u32), port))
            };
            let (bytes, len) = name(wanted);
            prop_assert_eq!(address(&bytes), Some(wanted));
            prop_assert_eq!(len, if v6 { 28 } else { 16 });
        }
    }

    #[test]
    fn mapped_addresses_are_ipv4_and_other_families_nothing() {
        let (bytes, _) = name("[::ffff:192.0.2.1]:9".parse().unwrap());
        assert_eq!(address(&bytes), Some("192.0.2.1:9".parse().unwrap()));
        assert_eq!(address(&[0; NAME]), None);
    }

    #[test]
    fn only_ipv4_wants_an_interface_in_network_order() {
        assert_eq!(unicast_interface(Ipv4Addr::LOCALHOST.into(), 7), 7u32.to_be());
        assert_eq!(unicast_interface(Ipv6Addr::LOCALHOST.into(), 7), 7);
    }
}
