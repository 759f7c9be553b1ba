//! Time that runs on while the machine sleeps, and the system's entropy.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(any(target_os = "linux", windows)), path = "unsupported.rs")]
mod imp;
pub mod memory;

use std::{io, time::Duration};

/// A clock.
pub trait Clock: Send + Sync {
    /// Time since the system started, sleep included. Never goes back, whatever happens to the wall clock.
    ///
    /// # Errors
    /// The system has no such clock.
    fn since_boot(&self) -> io::Result<Duration>;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn since_boot(&self) -> io::Result<Duration> {
        imp::since_boot()
    }
}

/// Fills `bytes` with the system's cryptographic randomness.
///
/// # Errors
/// The system has none to give.
pub fn entropy(bytes: &mut [u8]) -> io::Result<()> {
    imp::entropy(bytes)
}

/// Names this start of the system: the same until it is started again.
///
/// # Errors
/// The system does not tell.
pub fn boot_id() -> io::Result<String> {
    imp::boot_id()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn time_runs_and_never_back() {
        let first = SystemClock.since_boot().unwrap();
        std::thread::sleep(Duration::from_millis(20));
        let second = SystemClock.since_boot().unwrap();
        assert!(second - first >= Duration::from_millis(15), "{first:?} {second:?}");
    }

    #[test]
    fn entropy_fills_every_part_and_differs() {
        let (mut one, mut two) = ([0; 1000], [0; 1000]);
        entropy(&mut one).unwrap();
        entropy(&mut two).unwrap();
        assert_ne!(one, two);
        // Sixteen zeros in a row come by chance once in 2^118 runs.
        assert!(!one.windows(16).any(|part| part == [0; 16]));
    }

    #[cfg(any(target_os = "linux", windows))]
    #[test]
    fn a_boot_has_one_name() {
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
        assert!(boot_id().unwrap().len() >= 32);
    }
}
