//! How large a ring is.

use std::time::Duration;

/// What it must bear: a link of 10 Gb/s,
const RATE: u64 = 10_000_000_000;
/// for as long as the worker may leave it alone: the longest between two looks (`runtime`), a thread's turn included.
const SERVICE_GAP: Duration = Duration::from_millis(10);
/// The limits of the interface (`wintun.h`).
const SMALLEST: u64 = 0x2_0000;
const LARGEST: u64 = 0x400_0000;

/// Bytes of each of the two rings: what arrives at [`RATE`] in [`SERVICE_GAP`], as the power of two that a ring must be.
/// 12.5 MB, so 16 MiB.
pub(in crate::adapter) const fn ring_capacity() -> u32 {
    holding(RATE, SERVICE_GAP)
}

const fn holding(bits_per_second: u64, gap: Duration) -> u32 {
    let bytes = (bits_per_second / 8 * gap.as_micros() as u64 / 1_000_000).next_power_of_two();
    if bytes < SMALLEST {
        SMALLEST as u32
    } else if bytes > LARGEST {
        LARGEST as u32
    } else {
        bytes as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_times_gap_as_a_power_of_two_within_the_limits() {
        assert_eq!(ring_capacity(), 16 << 20);
        assert_eq!(holding(1_000_000_000, Duration::from_millis(10)), 2 << 20);
        assert_eq!(holding(1_000_000, Duration::from_millis(1)), 128 << 10);
        assert_eq!(holding(100_000_000_000, Duration::from_secs(1)), 64 << 20);
    }
}
