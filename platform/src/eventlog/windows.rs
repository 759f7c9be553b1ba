//! Windows' event log, under `Application`.
//!
//! An entry's text comes from a library of messages that its source names. Ours are one text each, so that the source
//! names one of the system's own, whose messages 1 to 1000 are just that text.
#![allow(unsafe_code, reason = "the event log's and the registry's own functions")]

use super::Severity;
use crate::{
    service::NAME,
    win32::{check, check_code, wide},
};
use std::{
    io,
    ptr::{null, null_mut},
};
use windows_sys::Win32::{
    Foundation::{ERROR_FILE_NOT_FOUND, HANDLE},
    System::{
        EventLog::{
            DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE,
            RegisterEventSourceW, ReportEventW,
        },
        Registry::{HKEY_LOCAL_MACHINE, REG_DWORD, REG_EXPAND_SZ, RegDeleteKeyW, RegSetKeyValueW},
    },
};

const SOURCES: &str = r"SYSTEM\CurrentControlSet\Services\EventLog\Application";
/// Has a message `%1` for each of the numbers 1 to 1000.
const MESSAGES: &str = r"%SystemRoot%\System32\EventCreate.exe";
const INFORMATION: u32 = 1;
const WARNING: u32 = 2;
const ERROR: u32 = 3;
/// The system takes 31,839 units of text.
const LONGEST: usize = 30_000;

#[derive(Debug)]
pub(super) struct EventLog(HANDLE);

// SAFETY: the log's calls may come from any thread, one after another and at once.
unsafe impl Send for EventLog {}
// SAFETY: as above.
unsafe impl Sync for EventLog {}

impl EventLog {
    pub(super) fn open() -> io::Result<Self> {
        let name = wide(NAME);
        // SAFETY: the name ends with a zero and outlives the call.
        let log = unsafe { RegisterEventSourceW(null(), name.as_ptr()) };
        if log.is_null() { Err(io::Error::last_os_error()) } else { Ok(Self(log)) }
    }

    pub(super) fn report(&self, severity: Severity, text: &str) -> io::Result<()> {
        let (kind, number) = match severity {
            Severity::Information => (EVENTLOG_INFORMATION_TYPE, INFORMATION),
            Severity::Warning => (EVENTLOG_WARNING_TYPE, WARNING),
            Severity::Error => (EVENTLOG_ERROR_TYPE, ERROR),
        };
        // Two percent signs and a number would be replaced by a text of the source's.
        let mut text = wide(text.replace("%%", "% %").replace('\0', " "));
        text.truncate(LONGEST);
        text.push(0);
        let texts = [text.as_ptr()];
        // SAFETY: the log is open; one text is announced and given, which ends with a zero and outlives the call; no
        // user and no data.
        check(unsafe { ReportEventW(self.0, kind, 0, number, null_mut(), 1, 0, texts.as_ptr(), null()) })
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        // SAFETY: this owns the handle.
        unsafe { DeregisterEventSource(self.0) };
    }
}

/// Tells the system how to show our entries.
pub(crate) fn register() -> io::Result<()> {
    let key = wide(format!(r"{SOURCES}\{NAME}"));
    let (messages, types) = (wide(MESSAGES), EVENTLOG_ERROR_TYPE | EVENTLOG_WARNING_TYPE | EVENTLOG_INFORMATION_TYPE);
    let types = u32::from(types).to_ne_bytes();
    let set = |name: &str, kind, data: *const u8, length: usize| {
        let name = wide(name);
        // SAFETY: the key and the name end with a zero; the data has the length that is told; all outlive the call.
        check_code(unsafe {
            RegSetKeyValueW(HKEY_LOCAL_MACHINE, key.as_ptr(), name.as_ptr(), kind, data.cast(), length as u32)
        })
    };
    set("EventMessageFile", REG_EXPAND_SZ, messages.as_ptr().cast(), size_of_val(&messages[..]))?;
    set("TypesSupported", REG_DWORD, types.as_ptr(), types.len())
}

/// Undoes that.
pub(crate) fn unregister() -> io::Result<()> {
    let key = wide(format!(r"{SOURCES}\{NAME}"));
    // SAFETY: the name ends with a zero and outlives the call.
    match check_code(unsafe { RegDeleteKeyW(HKEY_LOCAL_MACHINE, key.as_ptr()) }) {
        Err(error) if crate::win32::is(&error, ERROR_FILE_NOT_FOUND) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_entry_of_any_text_is_taken() {
        register().unwrap();
        let log = EventLog::open().unwrap();
        for text in ["one", "", "100 % of %1 and %%2", "zero\0inside", &"long ".repeat(10_000)] {
            log.report(Severity::Warning, text).unwrap();
        }
        unregister().unwrap();
        unregister().unwrap();
    }
}
