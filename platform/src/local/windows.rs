//! Named pipes. A path that is no pipe's name stands for the pipe `\\.\pipe\Vestibule\PATH`, its backslashes turned.
#![allow(unsafe_code, reason = "named pipes have no safe wrapper that knows their security")]

use super::{LocalError, Peer};
use crate::win32::{
    check, is,
    overlapped::{self, Event},
    own,
    security::{self, Descriptor, SYSTEM},
    wide,
};
use std::{
    io::{self, Read, Write},
    os::windows::io::{AsHandle, AsRawHandle, OwnedHandle},
    path::Path,
    ptr::{null, null_mut},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use windows_sys::Win32::{
    Foundation::{
        ERROR_ACCESS_DENIED, ERROR_BROKEN_PIPE, ERROR_FILE_NOT_FOUND, ERROR_NO_DATA, ERROR_PIPE_BUSY,
        ERROR_PIPE_CONNECTED, ERROR_PIPE_NOT_CONNECTED, GetLastError, HANDLE, SetLastError,
    },
    Security::{Authorization::SE_KERNEL_OBJECT, RevertToSelf, TOKEN_QUERY},
    Storage::FileSystem::{
        CreateFileW, FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, OPEN_EXISTING, PIPE_ACCESS_DUPLEX, ReadFile,
        SECURITY_IDENTIFICATION, SECURITY_SQOS_PRESENT, WriteFile,
    },
    System::{
        IO::CancelIoEx,
        Pipes::{
            ConnectNamedPipe, CreateNamedPipeW, GetNamedPipeClientProcessId, ImpersonateNamedPipeClient,
            PIPE_READMODE_BYTE, PIPE_REJECT_REMOTE_CLIENTS, PIPE_TYPE_BYTE, PIPE_UNLIMITED_INSTANCES, PIPE_WAIT,
            WaitNamedPipeW,
        },
        Threading::{GetCurrentThread, INFINITE, OpenThreadToken},
    },
};

/// Only administrators and services may make pipes with this prefix, so nobody can be there before the service.
pub(super) const CONTROL: &str = r"\\.\pipe\ProtectedPrefix\Administrators\Vestibule\control";

const PREFIX: &str = r"\\.\pipe\";
/// What the system keeps of what nobody has read yet, each way.
const BUFFER: u32 = 64 << 10;
/// What a client may do: read, write and look at the pipe, but make no further instance of it (`FILE_APPEND_DATA`).
const CLIENT: u32 = 0x0012_019b;
/// How long a client waits for a listener that serves somebody else just now.
const BUSY: Duration = Duration::from_secs(5);

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
        let rights = format!("D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;{me}){others}");
        let rights = Descriptor::parse(&rights).map_err(io("set the rights of"))?;
        let name = pipe_name(path);
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

/// The pipe's name of a path.
fn pipe_name(path: &Path) -> Vec<u16> {
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
fn instance(name: &[u16], rights: &Descriptor, flags: u32) -> io::Result<OwnedHandle> {
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

/// Opens the pipe as a client; waits a while for one that is busy.
fn open(name: &[u16]) -> io::Result<OwnedHandle> {
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
fn taken(name: &[u16], path: &Path, me: &str, refused: io::Error) -> LocalError {
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::PathBuf;

    fn name(of: &str) -> PathBuf {
        PathBuf::from(format!(r"{PREFIX}Vestibule-test-{}-{of}", std::process::id()))
    }

    #[test]
    fn a_path_becomes_a_pipes_name() {
        let text = |path: &str| String::from_utf16(&pipe_name(Path::new(path))).unwrap().replace('\0', "");
        assert_eq!(text(CONTROL), CONTROL);
        assert_eq!(text(r"C:\Temp\a\control.sock"), r"\\.\pipe\Vestibule\C//Temp/a/control.sock");
        assert_eq!(text("/run/vestibule/control.sock"), r"\\.\pipe\Vestibule\run/vestibule/control.sock");
        let long = format!(r"C:\{}\z", "y".repeat(400));
        assert!(text(&long).len() < 256 && text(&long).ends_with("/z"));
    }

    #[test]
    fn carries_more_bytes_than_the_buffer_and_tells_who_asks() {
        let path = name("bytes");
        let listener = Listener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap();
            let mut first = [0; 1];
            stream.read_exact(&mut first).unwrap();
            let peer = stream.peer().unwrap();
            let mut all = first.to_vec();
            Read::by_ref(&mut stream).take((BUFFER as u64) * 3 - 1).read_to_end(&mut all).unwrap();
            stream.write_all(&all).unwrap();
            peer
        });
        let mut stream = Stream::connect(&path).unwrap();
        let sent: Vec<u8> = (0..BUFFER * 3).map(|i| (i % 251) as u8).collect();
        stream.write_all(&sent).unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert!(back == sent, "{} bytes came back", back.len());
        let peer = server.join().unwrap();
        assert_eq!(peer.user, security::current_user().unwrap());
        assert_eq!(peer.process, Some(std::process::id()));
        assert_eq!(peer.administrator, security::is_administrator().unwrap());
        let gone = Stream::connect(&path).unwrap_err();
        assert!(matches!(gone, LocalError::Io { action: "connect to", .. }), "{gone:?}");
    }

    #[test]
    fn several_clients_are_served_at_once_and_one_after_another() {
        let path = name("several");
        let listener = Arc::new(Listener::bind(&path).unwrap());
        let accepted = listener.clone();
        let server = std::thread::spawn(move || {
            let serve = |mut stream: Stream| {
                std::thread::spawn(move || {
                    let mut byte = [0];
                    while stream.read(&mut byte).unwrap() == 1 {
                        stream.write_all(&byte).unwrap();
                    }
                })
            };
            let all: Vec<_> = (0..8).map(|_| serve(accepted.accept().unwrap())).collect();
            all.into_iter().for_each(|thread| thread.join().unwrap());
        });
        let mut clients: Vec<Stream> = (0..8).map(|_| Stream::connect(&path).unwrap()).collect();
        for (number, client) in (0..).zip(&mut clients) {
            client.write_all(&[number]).unwrap();
        }
        for (number, client) in (0..).zip(&mut clients) {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            assert_eq!(byte, [number]);
        }
        drop(clients);
        server.join().unwrap();
    }

    #[test]
    fn a_second_listener_is_refused_and_a_removed_one_gives_way() {
        let path = name("second");
        let first = Listener::bind_private(&path).unwrap();
        let second = Listener::bind(&path).unwrap_err();
        assert!(matches!(second, LocalError::InUse { .. }), "{second:?}");
        // That look has used the first one's instance up.
        drop(first.accept().unwrap());
        assert!(first.is_in_place());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| first.accept());
            first.remove();
            assert!(waiting.join().unwrap().is_err());
        });
        assert!(!first.is_in_place());
        drop(Listener::bind(&path).unwrap());
    }

    #[test]
    fn a_silent_peer_does_not_hold_a_reader_up_for_ever() {
        let path = name("silent");
        let listener = Listener::bind(&path).unwrap();
        let mut client = Stream::connect(&path).unwrap();
        let _server = listener.accept().unwrap();
        client.set_timeout(Duration::from_millis(50)).unwrap();
        let error = client.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
