//! QUIC's variable-length integers (RFC 9000 section 16).

/// The greatest number a variable-length integer holds: 2^62 - 1.
pub const MAX: u64 = (1 << 62) - 1;
/// The longest encoding in bytes.
pub const MAX_LEN: usize = 8;

/// How many bytes the encoding that starts with `first` takes.
#[must_use]
pub const fn len_from_first(first: u8) -> usize {
    1 << (first >> 6)
}

/// How many bytes the shortest encoding of `number` takes; above [`MAX`] there is none, and [`MAX`] is meant.
#[must_use]
pub const fn encoded_len(number: u64) -> usize {
    match number {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0x3fff_ffff => 4,
        _ => 8,
    }
}

/// Reads the number at the start of `bytes` and how long it is; `None`: cut short. Longer encodings than needed are
/// valid (RFC 9297 section 1.1).
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<(u64, usize)> {
    let len = len_from_first(*bytes.first()?);
    let encoded = bytes.get(..len)?;
    let number = encoded.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    // The two length bits stand above the value's.
    Some((number & (MAX >> (64 - 8 * len)), len))
}

/// Appends the shortest encoding of `number`, which [`MAX`] caps.
pub fn encode(number: u64, out: &mut Vec<u8>) {
    let (bytes, len) = to_array(number);
    out.extend_from_slice(&bytes[..len]);
}

/// The shortest encoding of `number`, which [`MAX`] caps, and its length.
#[must_use]
pub fn to_array(number: u64) -> ([u8; MAX_LEN], usize) {
    let number = number.min(MAX);
    let len = encoded_len(number);
    let tag = (len.trailing_zeros() as u64) << (8 * len - 2);
    let mut bytes = [0; MAX_LEN];
    bytes[..len].copy_from_slice(&(number | tag).to_be_bytes()[8 - len..]);
    (bytes, len)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc_9000_examples() {
        // Appendix A.1.
        for (bytes, number) in [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d][..], 494_878_333),
            (&[0x7b, 0xbd][..], 15_293),
            (&[0x25][..], 37),
        ] {
            assert_eq!(decode(bytes), Some((number, bytes.len())));
            let mut out = Vec::new();
            encode(number, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(decode(&[0x40, 0x25]), Some((37, 2)), "need not be minimal");
        assert_eq!(decode(&[]), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number in 0..=MAX, shift in 0u32..62, rest: [u8; 3]) {
            let number = number >> shift;
            let mut out = Vec::new();
            encode(number, &mut out);
            prop_assert_eq!(out.len(), encoded_len(number));
            out.extend(rest);
            prop_assert_eq!(decode(&out), Some((number, encoded_len(number))));
        }
    }
}
