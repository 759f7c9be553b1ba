//! The system's event objects.

use std::ptr::null;
use windows_sys::Win32::{
    Foundation::{CloseHandle, HANDLE, WAIT_OBJECT_0},
    System::Threading::{CreateEventW, SetEvent, WaitForSingleObject},
};

/// An event that resets itself.
#[derive(Debug)]
pub(crate) struct Event(HANDLE);

// SAFETY: a handle is a number that is good in every thread of the process.
unsafe impl Send for Event {}
// SAFETY: as above; the calls below may be made at any time from any thread.
unsafe impl Sync for Event {}

impl Event {
    pub(crate) fn new() -> Option<Self> {
        // SAFETY: no security attributes and no name, so both pointers may be null; not manual, not set.
        let event = unsafe { CreateEventW(null(), 0, 0, null()) };
        (!event.is_null()).then_some(Self(event))
    }

    pub(crate) fn set(&self) {
        // SAFETY: open as long as `self` is.
        unsafe { SetEvent(self.0) };
    }

    /// False after so many milliseconds.
    pub(crate) fn wait(&self, milliseconds: u32) -> bool {
        // SAFETY: open as long as `self` is.
        unsafe { WaitForSingleObject(self.0, milliseconds) == WAIT_OBJECT_0 }
    }

    pub(crate) fn handle(&self) -> HANDLE {
        self.0
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: ours, and closed nowhere else.
        unsafe { CloseHandle(self.0) };
    }
}
