//! The tick count, and the generator behind `RtlGenRandom`.
#![allow(unsafe_code, reason = "two functions of the system's own libraries")]

use crate::Unsupported;
use std::{io, time::Duration};

#[link(name = "kernel32")]
unsafe extern "system" {
    /// Milliseconds since the system started, sleep included.
    safe fn GetTickCount64() -> u64;
}

#[link(name = "advapi32")]
unsafe extern "system" {
    /// `RtlGenRandom` by its exported name: fills `length` bytes at `buffer`, zero on failure.
    fn SystemFunction036(buffer: *mut u8, length: u32) -> u8;
}

// The signature is shared with systems where the clock can fail.
#[allow(clippy::unnecessary_wraps)]
pub(super) fn since_boot() -> io::Result<Duration> {
    Ok(Duration::from_millis(GetTickCount64()))
}

pub(super) fn entropy(bytes: &mut [u8]) -> io::Result<()> {
    for part in bytes.chunks_mut(1 << 20) {
        // SAFETY: the call writes exactly the given number of bytes to `part`, which is that long (at most 1 MiB, so
        // the cast keeps its value) and borrowed meanwhile.
        if unsafe { SystemFunction036(part.as_mut_ptr(), part.len() as u32) } == 0 {
            return Err(io::Error::other("the system gave no randomness"));
        }
    }
    Ok(())
}

pub(super) fn boot_id() -> io::Result<String> {
    Err(Unsupported { what: "naming this start of the system" }.into())
}
