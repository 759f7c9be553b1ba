//! Named pipes. A path that is no pipe's name stands for the pipe `\\.\pipe\Vestibule\PATH`, its backslashes turned.
#![allow(unsafe_code, reason = "named pipes have no safe wrapper that knows their security")]

#[path = "windows/pipe.rs"]
mod pipe;

use super::{LocalError, Peer};
use crate::win32::{
    check, is,
    overlapped::{self, Event},
    own,
    security::{self, Descriptor, SYSTEM},
};
use pipe::{exists, instance, open, pipe_name, taken};
use std::{
    io::{self, Read, Write},
    os::windows::io::{AsHandle, AsRawHandle, OwnedHandle},
    path::{Path, PathBuf},
    ptr::{null, null_mut},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};
use windows_sys::Win32::{
    Foundation::{
        ERROR_ACCESS_DENIED, ERROR_BROKEN_PIPE, ERROR_NO_DATA, ERROR_PIPE_BUSY, ERROR_PIPE_CONNECTED,
        ERROR_PIPE_NOT_CONNECTED, GetLastError, HANDLE, SetLastError,
    },
    Security::{Authorization::SE_KERNEL_OBJECT, RevertToSelf, TOKEN_QUERY},
    Storage::FileSystem::{FILE_FLAG_FIRST_PIPE_INSTANCE, ReadFile, WriteFile},
    System::{
        IO::CancelIoEx,
        Pipes::{ConnectNamedPipe, GetNamedPipeClientProcessId, ImpersonateNamedPipeClient},
        Threading::{GetCurrentThread, INFINITE, OpenThreadToken},
    },
};

/// Only administrators and services may make pipes with this prefix, so nobody can be there before the service.
pub(super) const CONTROL: &str = r"\\.\pipe\ProtectedPrefix\Administrators\Vestibule\control";

/// The prefix is as protected as ours. WireGuard's tools also want the pipe to be the system's: what is run as the system
/// makes it so.
pub(super) fn wireguard(name: &str) -> PathBuf {
    format!(r"\\.\pipe\ProtectedPrefix\Administrators\WireGuard\{name}").into()
}

const PREFIX: &str = r"\\.\pipe\";
/// What a client may do: read, write and look at the pipe, but make no further instance of it (`FILE_APPEND_DATA`).
const CLIENT: u32 = 0x0012_019b;

/// Waits for connections. The pipe is gone when this and all its streams are.
#[derive(Debug)]
pub struct Listener {
    name: Vec<u16>,
    rights: Descriptor,
    /// The instance that the next client finds.
    next: Mutex<Option<Arc<OwnedHandle>>>,
    removed: AtomicBool,
}

// SAFETY: the descriptor is memory that nobody changes once it is made; the rest is safe to share by itself.
unsafe impl Send for Listener {}
// SAFETY: as above.
unsafe impl Sync for Listener {}

impl Listener {
    /// Listens at `path`. The system and administrators may do everything; whoever sits at one of the machine's desktops
    /// may ask.
    ///
    /// # Errors
    /// Somebody listens there, or the system refuses.
    pub fn bind(path: &Path) -> Result<Self, LocalError> {
        Self::bind_with(path, &format!("(A;;0x{CLIENT:x};;;IU)"))
    }

    /// As [`Self::bind`], for nobody but this user, the system and administrators.
    ///
    /// # Errors
    /// As there.
    pub fn bind_private(path: &Path) -> Result<Self, LocalError> {
        Self::bind_with(path, "")
    }

    fn bind_with(path: &Path, others: &str) -> Result<Self, LocalError> {
        let io = |action| move |cause| LocalError::Io { action, path: path.to_owned(), cause };
        let me = security::current_user().map_err(io("find out who may use"))?;
        // Said, since what owns a process's things by default differs; clients look at it.
        let owner = security::own_owner(&me).map_err(io("find out who may use"))?;
        let rights = format!("O:{owner}D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;{me}){others}");
        let rights = Descriptor::parse(&rights).map_err(io("set the rights of"))?;
        let name = pipe_name(path);
        if exists(&name) {
            return Err(taken(&name, path, &me, io::Error::from_raw_os_error(ERROR_ACCESS_DENIED.cast_signed())));
        }
        // Of two that begin at the same moment, one gets it.
        match instance(&name, &rights, FILE_FLAG_FIRST_PIPE_INSTANCE) {
            Ok(first) => {
                Ok(Self { name, rights, next: Mutex::new(Some(Arc::new(first))), removed: AtomicBool::new(false) })
            }
            Err(error) if is(&error, ERROR_ACCESS_DENIED) || is(&error, ERROR_PIPE_BUSY) => {
                Err(taken(&name, path, &me, error))
            }
            Err(error) => Err(io("listen on")(error)),
        }
    }

    /// Takes the pipe away, so that nobody finds it any more; connections go on. Whoever waits in [`Self::accept`] gets
    /// an error.
    pub fn remove(&self) {
        self.removed.store(true, Ordering::SeqCst);
        if let Some(next) = self.next().take() {
            // SAFETY: the handle is open as long as `next` lives; all its operations are meant.
            unsafe { CancelIoEx(next.as_raw_handle(), null()) };
        }
    }

    /// True until [`Self::remove`].
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        !self.removed.load(Ordering::SeqCst)
    }

    /// The next connection; blocks.
    ///
    /// # Errors
    /// The system's.
    pub fn accept(&self) -> io::Result<Stream> {
        let waiting = {
            let mut next = self.next();
            if self.removed.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::NotConnected.into());
            }
            match &*next {
                Some(waiting) => waiting.clone(),
                // The last one could not be made; that may work now.
                None => next.insert(Arc::new(instance(&self.name, &self.rights, 0)?)).clone(),
            }
        };
        let (pipe, event) = (waiting.as_raw_handle(), Event::new()?);
        // SAFETY: the pipe is open as long as `waiting` lives, and `run` waits for the operation's end; the error's number
        // is this thread's own.
        let connected = overlapped::run(pipe, &event, INFINITE, |operation| unsafe {
            let outcome = ConnectNamedPipe(pipe, operation);
            let reason = GetLastError();
            if self.removed.load(Ordering::SeqCst) {
                // Too late for `remove` to have cancelled this.
                CancelIoEx(pipe, operation);
            }
            SetLastError(reason);
            outcome
        });
        match connected {
            Ok(_) => {}
            // They were faster, or are gone again: a stream that ends at once.
            Err(error) if is(&error, ERROR_PIPE_CONNECTED) || is(&error, ERROR_NO_DATA) => {}
            Err(error) => {
                *self.next() = None;
                return Err(error);
            }
        }
        // Before the connection is served, so that the next client finds somebody.
        let mut next = self.next();
        if !self.removed.load(Ordering::SeqCst) {
            *next = instance(&self.name, &self.rights, 0).ok().map(Arc::new);
        }
        Ok(Stream { pipe: waiting, event, limit: AtomicU32::new(INFINITE) })
    }

    fn next(&self) -> MutexGuard<'_, Option<Arc<OwnedHandle>>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection.
#[derive(Debug)]
pub struct Stream {
    pipe: Arc<OwnedHandle>,
    event: Event,
    /// In milliseconds.
    limit: AtomicU32,
}

impl Stream {
    /// Connects to the listener at `path`, unless it is of somebody who is not to be trusted. It learns who this user
    /// is, and cannot act in their name.
    ///
    /// # Errors
    /// Nobody listens there, it may not be used by this user, or it is not the service's.
    pub fn connect(path: &Path) -> Result<Self, LocalError> {
        let io = |cause| LocalError::Io { action: "connect to", path: path.to_owned(), cause };
        let pipe = open(&pipe_name(path)).map_err(io)?;
        let owner = security::owner(pipe.as_handle(), SE_KERNEL_OBJECT).map_err(io)?;
        if !security::is_trusted(&owner, &security::current_user().map_err(io)?) {
            return Err(LocalError::Squatted { path: path.to_owned(), owner });
        }
        Ok(Self { pipe: Arc::new(pipe), event: Event::new().map_err(io)?, limit: AtomicU32::new(INFINITE) })
    }

    /// Limits how long each single read and write may block.
    ///
    /// # Errors
    /// Never here.
    pub fn set_timeout(&self, limit: Duration) -> io::Result<()> {
        let limit = u32::try_from(limit.as_millis()).unwrap_or(INFINITE).min(INFINITE - 1);
        self.limit.store(limit, Ordering::Relaxed);
        Ok(())
    }

    /// Who is at the other end of an accepted connection. Known once something was read from them.
    ///
    /// # Errors
    /// The system's; nothing was read yet, or they are gone.
    pub fn peer(&self) -> io::Result<Peer> {
        let pipe = self.pipe.as_raw_handle();
        let mut process = 0;
        // SAFETY: the pipe is open; the call writes to `process` only.
        let process = check(unsafe { GetNamedPipeClientProcessId(pipe, &raw mut process) }).ok().map(|()| process);
        let token = impersonated(pipe)?;
        let user = security::user_of(&token)?;
        let administrator = user == SYSTEM || security::is_administrator_token(&token)?;
        Ok(Peer { user, process, administrator })
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let pipe = self.pipe.as_raw_handle();
        let length = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let read = overlapped::run(pipe, &self.event, self.limit.load(Ordering::Relaxed), |operation| {
            // SAFETY: the pipe is open as long as `self` lives; the buffer has room for `length` bytes and is borrowed
            // until `run` has seen the operation's end.
            unsafe { ReadFile(pipe, buffer.as_mut_ptr(), length, null_mut(), operation) }
        });
        match read {
            Err(error) if [ERROR_BROKEN_PIPE, ERROR_PIPE_NOT_CONNECTED].iter().any(|code| is(&error, *code)) => Ok(0),
            other => other,
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let pipe = self.pipe.as_raw_handle();
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let written = overlapped::run(pipe, &self.event, self.limit.load(Ordering::Relaxed), |operation| {
            // SAFETY: as in `read`; the system only reads the bytes.
            unsafe { WriteFile(pipe, bytes.as_ptr(), length, null_mut(), operation) }
        });
        match written {
            Err(error) if is(&error, ERROR_NO_DATA) => Err(io::ErrorKind::BrokenPipe.into()),
            other => other,
        }
    }

    /// What is written is with the system at once.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The token of the client, by acting in their name for a moment.
fn impersonated(pipe: HANDLE) -> io::Result<OwnedHandle> {
    // SAFETY: the pipe is open.
    check(unsafe { ImpersonateNamedPipeClient(pipe) })?;
    let mut token: HANDLE = null_mut();
    // SAFETY: the thread's own handle needs no closing; opened as this process, since the client's rights may not
    // suffice; the call writes one handle to `token`.
    let opened = check(unsafe { OpenThreadToken(GetCurrentThread(), TOKEN_QUERY, 1, &raw mut token) });
    // SAFETY: takes no arguments. A thread that could not be itself again must not go on.
    if unsafe { RevertToSelf() } == 0 {
        std::process::abort();
    }
    opened?;
    // SAFETY: the call gave this handle to us alone.
    unsafe { own(token) }
}

#[cfg(test)]
#[path = "windows/tests.rs"]
mod tests;
