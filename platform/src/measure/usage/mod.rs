//! What a process holds: resident memory, handles, and the processor time it has used.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(any(target_os = "linux", windows)), path = "unsupported.rs")]
mod imp;

use std::{io, time::Duration};

/// What a process held at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of memory that are in place: the resident set on Linux, the working set on Windows.
    pub resident: u64,
    /// Open file descriptors on Linux; handles on Windows, where threads and events are among them.
    pub handles: u64,
    /// Processor time so far, in user and kernel mode, of all its threads.
    pub cpu: Duration,
}

/// What process `pid` holds.
///
/// # Errors
/// There is no such process, it is somebody else's, or the system does not tell.
pub fn of(pid: u32) -> io::Result<Usage> {
    imp::of(pid)
}

#[cfg(all(test, any(target_os = "linux", windows)))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Instant;

    #[test]
    fn memory_handles_and_time_that_are_taken_are_seen() {
        let own = std::process::id();
        let before = of(own).unwrap();
        assert!(before.resident > 100_000, "{before:?}");
        let memory = vec![1_u8; 64 << 20];
        let files: Vec<_> = (0..64).map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        // Other tests run beside this one, so that "more" is all that can be said.
        let patience = Instant::now();
        while of(own).unwrap().cpu <= before.cpu {
            assert!(patience.elapsed() < Duration::from_secs(30), "no time passes");
        }
        let during = of(own).unwrap();
        assert!(during.resident > before.resident + (32 << 20), "{before:?} {during:?}");
        drop((memory, files));
        #[cfg(windows)]
        if crate::late::is_wine() && before.handles == 0 {
            println!("left out: handles in memory_handles_and_time_that_are_taken_are_seen: Wine 8 counts none");
            return;
        }
        assert!(during.handles > before.handles + 32, "{before:?} {during:?}");
    }

    #[test]
    fn a_process_that_does_not_exist_is_an_error() {
        assert!(of(u32::MAX - 3).is_err());
    }
}
