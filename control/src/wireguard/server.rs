//! The configuration socket: a thread per client, requests one after the other.

use super::device::Device;
use super::protocol::{MAX_LINE, RequestError, SetParser, status};
use crate::causes::chain;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use vestibule_platform::local::{Listener, LocalError, Stream};
use vestibule_platform::netcfg;
use zeroize::{Zeroize, Zeroizing};

/// Clients served at a time; each costs a thread. More wait.
const MAX_CLIENTS: usize = 64;
/// How long a client may be silent.
const IDLE: Duration = Duration::from_secs(60);
/// Bytes read at a time.
const CHUNK: usize = 16 * 1024;

/// The serving socket. Dropping it stops listening and removes the socket file.
#[derive(Debug)]
pub(super) struct Server {
    listener: Arc<Listener>,
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(listener: Listener, path: &Path, device: Arc<Mutex<Device>>) -> Result<Self, LocalError> {
        let (listener, stop) = (Arc::new(listener), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::Builder::new().name("configuration".into()).spawn({
            let (listener, stop) = (listener.clone(), stop.clone());
            move || accept(&listener, &device, &stop)
        });
        let thread =
            thread.map_err(|cause| LocalError::Io { action: "start the thread of", path: path.to_owned(), cause })?;
        Ok(Self { listener, path: path.to_owned(), stop, thread: Some(thread) })
    }

    /// What clients come to.
    pub(super) fn listener(&self) -> &Arc<Listener> {
        &self.listener
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Without its file the thread cannot be woken; it ends with the process.
        if self.listener.is_in_place()
            && Stream::connect(&self.path).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
        self.listener.remove();
    }
}

fn accept(listener: &Listener, device: &Arc<Mutex<Device>>, stop: &AtomicBool) {
    let clients = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = listener.accept();
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let served = stream.and_then(|stream| {
            stream.set_timeout(IDLE)?;
            while clients.load(Ordering::Relaxed) >= MAX_CLIENTS {
                std::thread::sleep(Duration::from_millis(20));
            }
            clients.fetch_add(1, Ordering::Relaxed);
            let (device, held) = (device.clone(), Held(clients.clone()));
            std::thread::Builder::new().name("configuration-client".into()).spawn(move || {
                let _held = held;
                if let Err(error) = serve(stream, &device) {
                    tracing::debug!(%error, "a configuration client has left");
                }
            })
        });
        if let Err(error) = served {
            tracing::warn!(%error, "a configuration client cannot be served");
            // Out of descriptors or threads, most likely: give others time to end.
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock(device: &Mutex<Device>) -> MutexGuard<'_, Device> {
    device.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one client until it leaves, or says what is no request.
pub(super) fn serve(mut stream: impl Read + Write, device: &Mutex<Device>) -> io::Result<()> {
    let mut lines = Lines::new();
    loop {
        let operation = match lines.next(&mut stream)? {
            Line::End => return Ok(()),
            Line::Is(line) => match line {
                b"get=1" => Operation::Get,
                b"set=1" => Operation::Set,
                _ => Operation::Unknown,
            },
            Line::TooLong => Operation::Unknown,
        };
        let errno = match operation {
            Operation::Unknown => {
                tracing::error!("configuration: expected `get=1` or `set=1`");
                return Ok(());
            }
            Operation::Get => match read_get(&mut lines, &mut stream)? {
                Err(error) => refused(&error, error.errno()),
                Ok(()) => {
                    let answer = lock(device).get();
                    match answer {
                        Ok(text) => {
                            stream.write_all(text.as_bytes())?;
                            0
                        }
                        Err(error) => refused(&error, error.errno()),
                    }
                }
            },
            Operation::Set => match read_set(&mut lines, &mut stream)? {
                Err(error) => refused(&error, error.errno()),
                Ok(changes) => {
                    let applied = lock(device).set(changes);
                    applied.map_or_else(|error| refused(&error, error.errno()), |()| 0)
                }
            },
        };
        stream.write_all(status(errno).as_bytes())?;
        stream.flush()?;
    }
}

enum Operation {
    Get,
    Set,
    Unknown,
}

fn refused(error: &dyn std::error::Error, errno: i32) -> i32 {
    tracing::error!("configuration: {}", chain(error));
    errno
}

fn read_get(lines: &mut Lines, stream: &mut impl Read) -> io::Result<Result<(), RequestError>> {
    let mut outcome = Ok(());
    loop {
        match lines.next(stream)? {
            Line::Is(b"") => return Ok(outcome),
            Line::Is(_) | Line::TooLong => outcome = Err(RequestError::GetTakesNothing),
            Line::End => return Ok(Err(RequestError::Unfinished)),
        }
    }
}

fn read_set(lines: &mut Lines, stream: &mut impl Read) -> io::Result<Result<super::protocol::Changes, RequestError>> {
    let mut parser = SetParser::new(netcfg::interface_index);
    loop {
        match lines.next(stream)? {
            Line::Is(b"") => return Ok(parser.finish()),
            Line::Is(line) => parser.line(line),
            Line::TooLong => parser.too_long(),
            Line::End => return Ok(Err(RequestError::Unfinished)),
        }
    }
}

enum Line<'a> {
    Is(&'a [u8]),
    TooLong,
    End,
}

/// Lines out of a stream, through memory that is wiped: keys pass here.
struct Lines {
    chunk: Zeroizing<Vec<u8>>,
    /// What of `chunk` is not used yet.
    rest: std::ops::Range<usize>,
    line: Zeroizing<Vec<u8>>,
}

impl Lines {
    fn new() -> Self {
        Self {
            chunk: Zeroizing::new(vec![0; CHUNK]),
            rest: 0..0,
            line: Zeroizing::new(Vec::with_capacity(MAX_LINE + 1)),
        }
    }

    fn next(&mut self, stream: &mut impl Read) -> io::Result<Line<'_>> {
        self.line.zeroize();
        let mut too_long = false;
        loop {
            if self.rest.is_empty() {
                let len = match stream.read(&mut self.chunk) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    read => read?,
                };
                self.rest = 0..len;
                if len == 0 {
                    return Ok(Line::End);
                }
            }
            let rest = &self.chunk[self.rest.clone()];
            let end = rest.iter().position(|byte| *byte == b'\n');
            let part = &rest[..end.unwrap_or(rest.len())];
            // Never beyond its capacity: a line that grows would leave copies behind.
            too_long |= self.line.len() + part.len() > MAX_LINE;
            if !too_long {
                self.line.extend_from_slice(part);
            }
            self.rest.start += part.len() + usize::from(end.is_some());
            if end.is_some() {
                return Ok(if too_long { Line::TooLong } else { Line::Is(&self.line) });
            }
        }
    }
}
