//! One input or output at a time on a handle opened with `FILE_FLAG_OVERLAPPED`, waited for as long as the caller says.

use super::{check, is, own};
use std::{
    io,
    os::windows::io::{AsRawHandle, OwnedHandle},
    ptr::null,
};
use windows_sys::Win32::{
    Foundation::{ERROR_IO_PENDING, ERROR_OPERATION_ABORTED, HANDLE, WAIT_OBJECT_0, WAIT_TIMEOUT},
    System::{
        IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED},
        Threading::{CreateEventW, WaitForSingleObject},
    },
};

/// The event that tells when an operation has ended.
#[derive(Debug)]
pub(crate) struct Event(OwnedHandle);

impl Event {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no name and no attributes; the handle is ours alone.
        unsafe { own(CreateEventW(null(), 1, 0, null())) }.map(Self)
    }
}

/// Begins an operation by `begin` and waits for its end: how many bytes it moved. After `limit` milliseconds it is
/// cancelled, and the error's kind is [`io::ErrorKind::TimedOut`].
///
/// The operation is over when this returns, so `begin` may hand the system memory that the caller borrows until then.
pub(crate) fn run(
    handle: HANDLE,
    event: &Event,
    limit: u32,
    begin: impl FnOnce(&mut OVERLAPPED) -> i32,
) -> io::Result<usize> {
    let mut operation = OVERLAPPED { hEvent: event.0.as_raw_handle(), ..OVERLAPPED::default() };
    if let Err(error) = check(begin(&mut operation))
        && !is(&error, ERROR_IO_PENDING)
    {
        return Err(error);
    }
    // SAFETY: the event is open as long as `event` is borrowed.
    let outcome = unsafe { WaitForSingleObject(event.0.as_raw_handle(), limit) };
    if outcome != WAIT_OBJECT_0 {
        // SAFETY: the operation was begun on this handle and lives on this stack frame. It may have ended meanwhile, in
        // which case there is nothing to cancel.
        unsafe { CancelIoEx(handle, &raw const operation) };
    }
    let mut moved = 0;
    // SAFETY: as above; waits until the system has let go of `operation` and of the memory it was given.
    match check(unsafe { GetOverlappedResult(handle, &raw const operation, &raw mut moved, 1) }) {
        Ok(()) => Ok(moved as usize),
        Err(error) if is(&error, ERROR_OPERATION_ABORTED) && outcome == WAIT_TIMEOUT => {
            Err(io::ErrorKind::TimedOut.into())
        }
        Err(error) => Err(error),
    }
}
