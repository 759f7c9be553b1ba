//! The kill switch of Windows' receive coalescing (URO): drivers exist that merge datagrams and do not say so.
//!
//! A merged datagram without its `UDP_COALESCED_INFO` looks like one datagram that authenticates nowhere: everything it
//! held would be lost, again and again. Two things betray it. WireGuard's data messages of one session begin with the
//! same eight bytes (type, receiver index), so that these bytes again at a regular distance are another message; chance
//! writes them into ciphertext once in 2^64 places. And no datagram of a tunnel is longer than its path takes.

/// The longest UDP payload of an Ethernet: 1,500 less the headers of IPv4 and UDP. What is longer came over a jumbo
/// link, or merged; in doubt URO goes, which costs speed, and not packets.
const LONGEST: usize = 1472;
/// What a WireGuard data message begins with.
const DATA: [u8; 4] = [4, 0, 0, 0];
/// Type, reserved bytes and receiver index.
const PREFIX: usize = 8;
/// The shortest WireGuard data message: header and tag.
const SHORTEST: usize = 32;
/// So many datagrams that fit an Ethernet are searched byte by byte after a socket was opened, at 1 µs each; a driver that
/// merges small ones silently has shown it by then. What is longer is searched always.
#[cfg(windows)]
pub(super) const SEARCHED: u32 = 4096;

/// What a datagram is that the system calls one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// One datagram.
    One,
    /// Several WireGuard messages, each of so many bytes but the last.
    Messages(usize),
    /// Several, or a jumbo frame; where to cut is unknown.
    TooLong,
}

/// Judges a datagram that came without a coalesced size; one that fits an Ethernet only when `search` says so.
pub(super) fn judge(bytes: &[u8], search: bool) -> Found {
    let long = bytes.len() > LONGEST;
    if !long && !search {
        return Found::One;
    }
    match bytes.split_at_checked(PREFIX) {
        // One message, however long, when there is no other in it: its path takes jumbo frames.
        Some((prefix, _)) if prefix.starts_with(&DATA) => stride(bytes, prefix).map_or(Found::One, Found::Messages),
        _ if long => Found::TooLong,
        _ => Found::One,
    }
}

/// The distance at which `prefix` stands again and again until the end.
fn stride(bytes: &[u8], prefix: &[u8]) -> Option<usize> {
    let stands = |at: usize| bytes.get(at..).is_some_and(|rest| rest.starts_with(prefix));
    // The first place decides nearly always.
    (SHORTEST..=bytes.len().checked_sub(PREFIX)?).find(|at| (*at..bytes.len()).step_by(*at).all(stands))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn message(index: u32, counter: u64, len: usize, fill: u8) -> Vec<u8> {
        let mut bytes = vec![fill; len];
        bytes[..4].copy_from_slice(&DATA);
        bytes[4..8].copy_from_slice(&index.to_le_bytes());
        bytes[8..16].copy_from_slice(&counter.to_le_bytes());
        bytes
    }

    #[test]
    fn merged_wireguard_messages_are_found_and_cut() {
        for (len, count, last) in
            [(96, 3, 96), (1452, 20, 80), (32, 2, 32), (1456, 44, 1456), (1440, 2, 33), (77, 4, 61)]
        {
            let mut merged: Vec<u8> = (0..count - 1).flat_map(|n| message(0x0101_0102, n, len, 0xa5)).collect();
            merged.extend(message(0x0101_0102, count, last, 0xa5));
            assert_eq!(judge(&merged, true), Found::Messages(len), "{count} of {len}");
            let unsearched = if merged.len() > LONGEST { Found::Messages(len) } else { Found::One };
            assert_eq!(judge(&merged, false), unsearched, "{count} of {len}");
        }
    }

    #[test]
    fn single_datagrams_stay_whole_also_jumbo_ones() {
        for len in [32, 33, 148, 1472, 8_900] {
            assert_eq!(judge(&message(7, 1, len, 0), true), Found::One, "{len}");
            assert_eq!(judge(&message(0, 0, len, 0), true), Found::One, "{len} of zeros");
        }
        assert_eq!(judge(&[0x45; 1472], true), Found::One);
        assert_eq!(judge(&[], true), Found::One);
        assert_eq!(judge(&DATA, true), Found::One);
    }

    #[test]
    fn what_no_path_takes_is_suspect() {
        assert_eq!(judge(&[0x45; 1473], false), Found::TooLong);
    }

    #[test]
    fn messages_of_two_sessions_are_not_cut_by_the_first_ones_size() {
        let mut merged = message(1, 1, 96, 0);
        merged.extend(message(2, 1, 96, 0));
        assert_eq!(judge(&merged, true), Found::One);
    }

    proptest! {
        #[test]
        fn nothing_random_is_taken_apart(mut bytes in prop::collection::vec(any::<u8>(), 8..1472)) {
            bytes[..4].copy_from_slice(&DATA);
            prop_assert_eq!(judge(&bytes, true), Found::One);
        }
    }
}
