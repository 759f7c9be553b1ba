//! What several concerns need of Windows: text, handles, and who may use what.
#![allow(unsafe_code, reason = "the system's own functions")]

pub(crate) mod overlapped;
pub(crate) mod registry;
pub(crate) mod security;

use std::{
    ffi::{OsStr, c_void},
    io,
    os::windows::{
        ffi::OsStrExt,
        io::{FromRawHandle, OwnedHandle},
    },
};
use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE, LocalFree};

/// UTF-16 with the zero that ends it.
pub(crate) fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}

/// The outcome of a call that answers zero for failure.
pub(crate) fn check(outcome: i32) -> io::Result<()> {
    if outcome == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The outcome of a call that answers an error's number.
pub(crate) fn check_code(code: u32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code.cast_signed())) }
}

/// Whether `error` is the system's `code`.
pub(crate) fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code.cast_signed())
}

/// A handle that a call has just given, or its failure.
///
/// # Safety
/// The handle is open, `CloseHandle` closes it, and nobody else does.
pub(crate) unsafe fn own(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() || handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Text that ends with a zero.
///
/// # Safety
/// `text` is null, or points at UTF-16 that ends with a zero and outlives the call.
pub(crate) unsafe fn text(text: *const u16) -> String {
    if text.is_null() {
        return String::new();
    }
    let mut length = 0;
    // SAFETY: every unit up to the zero may be read.
    while unsafe { *text.add(length) } != 0 {
        length += 1;
    }
    // SAFETY: that many units were just read.
    String::from_utf16_lossy(unsafe { std::slice::from_raw_parts(text, length) })
}

/// Memory that a call has allocated for us, freed by `LocalFree`.
#[derive(Debug)]
pub(crate) struct Local(pub(crate) *mut c_void);

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: this owns the memory, or it is null, which is allowed.
        unsafe { LocalFree(self.0) };
    }
}
