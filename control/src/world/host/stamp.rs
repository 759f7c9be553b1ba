//! What a measuring datagram holds: who sent it, which one it is, when, and a body that can be checked byte for byte.
//!
//! ```text
//! 0        4        8                16               24       26
//! | "vest" | flow   | sequence       | sent, ns       | length | body...
//! ```

use crate::splitmix::mix;

/// Bytes before the body.
pub(crate) const HEADER: usize = 26;
/// Bytes of the IPv4 and UDP headers around a datagram.
pub(crate) const OVERHEAD: usize = 28;
/// Smallest packet sent, with its headers.
pub(crate) const SMALLEST: usize = 64;
const MAGIC: [u8; 4] = *b"vest";

/// The payload size of datagram `sequence`: from 64-byte packets to full ones of `mtu`, in strides that visit every
/// size.
pub(crate) fn size(sequence: u64, mtu: u16) -> usize {
    let span = usize::from(mtu).saturating_sub(SMALLEST) + 1;
    // A stride coprime to the span visits every size once per round; small and large ones alternate.
    let stride = (span * 5 / 8..).find(|stride| gcd(*stride, span) == 1).unwrap_or(1);
    let position = usize::try_from(sequence % span as u64).unwrap_or(0);
    SMALLEST + (position * stride) % span - OVERHEAD
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Writes datagram `sequence` of `flow` into `buffer`, which is as long as the datagram.
pub(crate) fn write(buffer: &mut [u8], flow: u32, sequence: u64, sent_ns: u64) {
    let length = u16::try_from(buffer.len()).unwrap_or(u16::MAX);
    buffer[..4].copy_from_slice(&MAGIC);
    buffer[4..8].copy_from_slice(&flow.to_be_bytes());
    buffer[8..16].copy_from_slice(&sequence.to_be_bytes());
    buffer[16..24].copy_from_slice(&sent_ns.to_be_bytes());
    buffer[24..26].copy_from_slice(&length.to_be_bytes());
    fill(&mut buffer[HEADER..], seed(flow, sequence), 0);
}

/// The sequence number of a datagram of `flow`, or `None` when any byte is not as it was sent.
pub(crate) fn read(buffer: &[u8], flow: u32) -> Option<u64> {
    let (header, body) = buffer.split_at_checked(HEADER)?;
    let sequence = u64::from_be_bytes(header[8..16].try_into().ok()?);
    let intact = header[..4] == MAGIC
        && header[4..8] == flow.to_be_bytes()
        && usize::from(u16::from_be_bytes([header[24], header[25]])) == buffer.len()
        && matches(body, seed(flow, sequence), 0);
    intact.then_some(sequence)
}

fn seed(flow: u32, sequence: u64) -> u64 {
    mix(u64::from(flow) << 40 ^ sequence, 1)
}

/// Fills `buffer` with the stream of `seed` from byte `position` on.
pub(crate) fn fill(buffer: &mut [u8], seed: u64, position: u64) {
    words(buffer.len(), seed, position, |at, bytes| buffer[at..at + bytes.len()].copy_from_slice(bytes));
}

fn matches(buffer: &[u8], seed: u64, position: u64) -> bool {
    let mut same = true;
    words(buffer.len(), seed, position, |at, bytes| same &= buffer[at..at + bytes.len()] == *bytes);
    same
}

/// Walks `length` bytes of a stream in pieces of at most eight bytes.
fn words(length: usize, seed: u64, position: u64, mut piece: impl FnMut(usize, &[u8])) {
    let mut at = 0;
    while at < length {
        let place = position + at as u64;
        let word = mix(seed ^ (place / 8), 1).to_le_bytes();
        let skip = usize::try_from(place % 8).unwrap_or(0);
        let count = (8 - skip).min(length - at);
        piece(at, &word[skip..skip + count]);
        at += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_from_64_bytes_to_the_mtu_is_sent() {
        let mut sizes: Vec<usize> = (0..1420 - 64 + 1).map(|sequence| size(sequence, 1420) + OVERHEAD).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, (64..=1420).collect::<Vec<_>>());
    }

    #[test]
    fn a_datagram_is_read_back_and_any_changed_byte_is_seen() {
        for sequence in [0, 1, 77, 1 << 40] {
            let mut bytes = vec![0; size(sequence, 1420)];
            write(&mut bytes, 3, sequence, 99);
            assert_eq!(read(&bytes, 3), Some(sequence));
            assert_eq!(read(&bytes, 4), None);
            // The time it was sent, bytes 16 to 24, is information, not content.
            for place in (0..bytes.len()).filter(|place| !(16..24).contains(place)) {
                bytes[place] ^= 0x20;
                assert_ne!(read(&bytes, 3), Some(sequence), "byte {place}");
                bytes[place] ^= 0x20;
            }
            assert_eq!(read(&bytes[..bytes.len() - 1], 3), None);
        }
    }

    #[test]
    fn a_stream_is_the_same_however_it_is_cut() {
        let mut whole = vec![0; 1000];
        fill(&mut whole, 5, 12_345);
        let mut parts = vec![0; 1000];
        let (mut at, mut step) = (0, 1);
        while at < 1000 {
            let end = (at + step).min(1000);
            fill(&mut parts[at..end], 5, 12_345 + at as u64);
            (at, step) = (end, step % 13 + 1);
        }
        assert_eq!(whole, parts);
        assert!(matches(&whole, 5, 12_345));
        whole[999] ^= 1;
        assert!(!matches(&whole, 5, 12_345));
    }
}
