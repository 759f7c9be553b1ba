//! `CLOCK_BOOTTIME`, `getrandom`, and the kernel's boot id.
#![allow(unsafe_code, reason = "two system calls without safe wrappers here")]

use nix::{errno::Errno, libc};
use std::{fs, io, time::Duration};

pub(super) fn since_boot() -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one `timespec`, which `time` is and which outlives it.
    Errno::result(unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) })?;
    let out_of_range = |_| io::Error::other("the clock shows a time before the system's start");
    Ok(Duration::new(
        u64::try_from(time.tv_sec).map_err(out_of_range)?,
        u32::try_from(time.tv_nsec).map_err(out_of_range)?,
    ))
}

pub(super) fn entropy(bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // SAFETY: the call writes at most `rest.len()` bytes to `rest`, which is borrowed for its whole length.
        let more = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match Errno::result(more) {
            Ok(more) => filled += usize::try_from(more).unwrap_or(0),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

pub(super) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}
