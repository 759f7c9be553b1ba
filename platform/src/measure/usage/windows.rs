//! `GetProcessMemoryInfo`, `GetProcessHandleCount`, `GetProcessTimes`.
#![allow(unsafe_code, reason = "the functions that measure a process")]

use super::Usage;
use std::{
    io,
    os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle},
    time::Duration,
};
use windows_sys::Win32::{
    Foundation::FILETIME,
    System::{
        ProcessStatus::{K32GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS},
        Threading::{GetProcessHandleCount, GetProcessTimes, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION},
    },
};

pub(super) fn of(pid: u32) -> io::Result<Usage> {
    // SAFETY: no pointers; a null handle is checked below.
    let process = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid) };
    if process.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `process` was just opened, is not null, and nobody else closes it.
    let process = unsafe { OwnedHandle::from_raw_handle(process) };

    let mut memory = PROCESS_MEMORY_COUNTERS::default();
    let size = u32::try_from(size_of::<PROCESS_MEMORY_COUNTERS>()).unwrap_or(0);
    memory.cb = size;
    // SAFETY: the handle is open for querying, and `memory` is a whole structure of the size given.
    checked(unsafe { K32GetProcessMemoryInfo(process.as_raw_handle(), &raw mut memory, size) })?;

    let mut handles = 0;
    // SAFETY: the handle is open for querying, and `handles` is writable.
    checked(unsafe { GetProcessHandleCount(process.as_raw_handle(), &raw mut handles) })?;

    let [mut created, mut ended, mut kernel, mut user] = [FILETIME::default(); 4];
    // SAFETY: the handle is open for querying, and all four times are writable.
    checked(unsafe {
        GetProcessTimes(process.as_raw_handle(), &raw mut created, &raw mut ended, &raw mut kernel, &raw mut user)
    })?;
    let cpu = span(kernel) + span(user);
    Ok(Usage { resident: memory.WorkingSetSize as u64, handles: u64::from(handles), cpu })
}

fn checked(result: i32) -> io::Result<()> {
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A span in units of 100 ns.
fn span(time: FILETIME) -> Duration {
    let units = u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime);
    Duration::from_nanos(units.saturating_mul(100))
}
