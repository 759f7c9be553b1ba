//! Fragmenting IPv4 packets whose senders allow it (RFC 791 section 2.3).

use super::checksum::checksum;

/// The packet must not be fragmented.
const DONT: u16 = 0x4000;
/// More fragments follow.
const MORE: u16 = 0x2000;
/// The flag of options that every fragment has.
const COPIED: u8 = 0x80;

/// Hands an IPv4 packet's fragments, of at most `most` bytes each, to `each`. False, and nothing happens, when the packet
/// is of IPv6 or must not be fragmented, or `most` leaves no room.
pub(crate) fn fragments(packet: &[u8], most: usize, mut each: impl FnMut(&[u8])) -> bool {
    let Some((header, payload)) = split(packet) else { return false };
    let word = u16::from_be_bytes([header[6], header[7]]);
    if word & DONT != 0 || most < header.len() + 8 {
        return false;
    }
    let (mut head, mut fragment) = (header.to_vec(), Vec::with_capacity(most));
    let mut start = 0;
    while start < payload.len() {
        let (room, rest) = (most - head.len(), payload.len() - start);
        // All but the last are of whole words of eight bytes.
        let len = if rest <= room { rest } else { room & !7 };
        let more = if start + len < payload.len() { MORE } else { word & MORE };
        let offset = (word & 0x1fff) + (start / 8) as u16;
        head[6..8].copy_from_slice(&(more | offset).to_be_bytes());
        let total = (head.len() + len) as u16;
        head[2..4].copy_from_slice(&total.to_be_bytes());
        head[10..12].fill(0);
        let sum = checksum(&head);
        head[10..12].copy_from_slice(&sum.to_be_bytes());
        fragment.clear();
        fragment.extend_from_slice(&head);
        fragment.extend_from_slice(&payload[start..start + len]);
        each(&fragment);
        if start == 0 {
            keep_copied(&mut head);
        }
        start += len;
    }
    true
}

/// An IPv4 packet's header and payload.
fn split(packet: &[u8]) -> Option<(&[u8], &[u8])> {
    let fixed = packet.first_chunk::<20>().filter(|fixed| fixed[0] >> 4 == 4)?;
    let header_len = usize::from(fixed[0] & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    packet.get(..total_len)?.split_at_checked(header_len.max(20))
}

/// Takes the options out of a header that only the first fragment has.
fn keep_copied(head: &mut Vec<u8>) {
    let options = head.split_off(20);
    let mut rest = &options[..];
    while let [kind, after @ ..] = rest {
        // The end of the list, or one byte of nothing; all others tell their length.
        let len = match kind {
            0 => break,
            1 => 1,
            _ => after.first().map_or(1, |len| usize::from(*len).max(2)),
        };
        let (option, others) = rest.split_at(len.min(rest.len()));
        if kind & COPIED != 0 {
            head.extend_from_slice(option);
        }
        rest = others;
    }
    head.resize(head.len().next_multiple_of(4), 0);
    head[0] = 0x40 | (head.len() / 4) as u8;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::packet::testing::{rfc1071, udp};
    use proptest::prelude::*;

    /// A packet that may be fragmented, with these options.
    fn packet(payload: &[u8], options: &[u8], word: u16) -> Vec<u8> {
        let whole = udp(false, (1, 2), payload);
        let mut packet = whole[..20].to_vec();
        packet.extend_from_slice(options);
        packet[0] = 0x40 | (packet.len() / 4) as u8;
        packet.extend_from_slice(&whole[20..]);
        let total = packet.len() as u16;
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet[4..6].copy_from_slice(&[0xab, 0xcd]);
        packet[6..8].copy_from_slice(&word.to_be_bytes());
        packet
    }

    fn all(packet: &[u8], most: usize) -> Option<Vec<Vec<u8>>> {
        let mut all = Vec::new();
        fragments(packet, most, |fragment| all.push(fragment.to_vec())).then_some(all)
    }

    #[test]
    fn what_forbids_it_is_left_alone() {
        assert_eq!(all(&packet(&[1; 100], &[], DONT), 60), None);
        assert_eq!(all(&udp(true, (1, 2), &[1; 100]), 60), None);
        assert_eq!(all(&packet(&[1; 100], &[], 0), 27), None, "eight bytes do not fit");
        assert_eq!(all(&packet(&[1; 100], &[], 0)[..60], 60), None, "cut short");
        assert_eq!(all(&[], 60), None);
    }

    #[test]
    fn the_first_has_all_options_and_the_others_those_that_are_copied() {
        // No operation, a timestamp (not copied), a router alert (copied), the end.
        let options = [1, 68, 4, 5, 0, 148, 4, 0, 0, 0, 0, 0];
        let all = all(&packet(&[7; 100], &options, 0), 100).unwrap();
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [96, 68]);
        assert_eq!((&all[0][20..32], &all[1][20..24]), (&options[..], &[148, 4, 0, 0][..]));
        assert_eq!((all[0][0], all[1][0]), (0x48, 0x46));
    }

    proptest! {
        /// Whoever puts them together again has the packet, wherever it was cut before.
        #[test]
        fn together_they_are_the_packet(len in 0usize..3000, most in 28usize..1500, before in 0u16..100, more: bool) {
            let payload: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let word = before | if more { MORE } else { 0 };
            let whole = packet(&payload, &[], word);
            let all = all(&whole, most).unwrap();
            let mut together = Vec::new();
            for (number, fragment) in all.iter().enumerate() {
                prop_assert!(fragment.len() <= most);
                prop_assert_eq!(usize::from(u16::from_be_bytes([fragment[2], fragment[3]])), fragment.len());
                prop_assert_eq!(rfc1071(&fragment[..20]), 0);
                prop_assert_eq!((&fragment[4..6], &fragment[8..10]), (&whole[4..6], &whole[8..10]));
                prop_assert_eq!(&fragment[12..20], &whole[12..20]);
                let word = u16::from_be_bytes([fragment[6], fragment[7]]);
                prop_assert_eq!(word & MORE != 0, more || number + 1 < all.len());
                prop_assert_eq!(usize::from(word & 0x1fff) * 8, usize::from(before) * 8 + together.len());
                together.extend_from_slice(&fragment[20..]);
            }
            prop_assert_eq!(&together, &whole[20..]);
        }
    }
}
