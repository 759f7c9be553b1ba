//! Pipes by name: making, finding, and whose one is.
#![allow(unsafe_code, reason = "named pipes have no safe wrapper that knows their security")]

use super::{CLIENT, PREFIX};
use crate::{
    local::LocalError,
    win32::{
        is, own,
        security::{self, Descriptor},
        wide,
    },
};
use std::{
    io,
    os::windows::io::{AsHandle, OwnedHandle},
    path::Path,
    ptr::{null, null_mut},
    time::{Duration, Instant},
};
use windows_sys::Win32::{
    Foundation::{ERROR_FILE_NOT_FOUND, ERROR_PIPE_BUSY},
    Security::Authorization::SE_KERNEL_OBJECT,
    Storage::FileSystem::{
        CreateFileW, FILE_FLAG_OVERLAPPED, OPEN_EXISTING, PIPE_ACCESS_DUPLEX, SECURITY_IDENTIFICATION,
        SECURITY_SQOS_PRESENT,
    },
    System::Pipes::{
        CreateNamedPipeW, NMPWAIT_NOWAIT, PIPE_READMODE_BYTE, PIPE_REJECT_REMOTE_CLIENTS, PIPE_TYPE_BYTE,
        PIPE_UNLIMITED_INSTANCES, PIPE_WAIT, WaitNamedPipeW,
    },
};

/// What the system keeps of what nobody has read yet, each way.
pub(super) const BUFFER: u32 = 64 << 10;
/// How long a client waits for a listener that serves somebody else just now.
const BUSY: Duration = Duration::from_secs(5);

/// The pipe's name of a path.
pub(super) fn pipe_name(path: &Path) -> Vec<u16> {
    let text = path.to_string_lossy();
    if text.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX)) {
        return wide(path);
    }
    // Beyond 256 units the system refuses: the end of a path tells it apart from others.
    let turned: Vec<char> = text.replace(['\\', ':'], "/").chars().collect();
    let kept: String = turned[turned.len().saturating_sub(200)..].iter().collect();
    wide(format!(r"{PREFIX}Vestibule\{}", kept.trim_start_matches('/')))
}

/// Makes an instance of the pipe that waits for a client.
pub(super) fn instance(name: &[u16], rights: &Descriptor, flags: u32) -> io::Result<OwnedHandle> {
    let attributes = rights.attributes();
    // SAFETY: the name ends with a zero, and it, the attributes and the descriptor they point at outlive the call; the
    // handle is ours alone.
    unsafe {
        own(CreateNamedPipeW(
            name.as_ptr(),
            PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | flags,
            PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS,
            PIPE_UNLIMITED_INSTANCES,
            BUFFER,
            BUFFER,
            0,
            &raw const attributes,
        ))
    }
}

/// Whether somebody has the pipe. A system is known that makes a further instance where none may be (Wine 8).
pub(super) fn exists(name: &[u16]) -> bool {
    // SAFETY: the name ends with a zero and outlives the call, which does not wait.
    unsafe {
        WaitNamedPipeW(name.as_ptr(), NMPWAIT_NOWAIT) != 0 || !is(&io::Error::last_os_error(), ERROR_FILE_NOT_FOUND)
    }
}

/// Opens the pipe as a client; waits a while for one that is busy.
pub(super) fn open(name: &[u16]) -> io::Result<OwnedHandle> {
    let given_up = Instant::now() + BUSY;
    loop {
        let flags = FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION;
        // SAFETY: the name ends with a zero and outlives the call; the handle is ours alone.
        let opened = unsafe { own(CreateFileW(name.as_ptr(), CLIENT, 0, null(), OPEN_EXISTING, flags, null_mut())) };
        match opened {
            Err(error) if is(&error, ERROR_PIPE_BUSY) && Instant::now() < given_up => {
                // SAFETY: as above. Whether it waited or not, the next try tells.
                unsafe { WaitNamedPipeW(name.as_ptr(), 50) };
            }
            other => return other,
        }
    }
}

/// Why the pipe could not be made: somebody has it, or this user may not.
pub(super) fn taken(name: &[u16], path: &Path, me: &str, refused: io::Error) -> LocalError {
    let path = || path.to_owned();
    match open(name) {
        Ok(pipe) => match security::owner(pipe.as_handle(), SE_KERNEL_OBJECT) {
            Ok(owner) if !security::is_trusted(&owner, me) => LocalError::Squatted { path: path(), owner },
            _ => LocalError::InUse { path: path() },
        },
        Err(error) if is(&error, ERROR_FILE_NOT_FOUND) => LocalError::NotAllowed { path: path(), cause: refused },
        Err(_) => LocalError::InUse { path: path() },
    }
}
