//! Sessions told by lines on a local socket, each answered `ok` or `error: ...`. They are kept in a file beside the
//! socket (`SOCKET.state`), if there can be one: a service that was killed finds the same sessions when it starts again.

use super::{SessionError, SessionSource, Watch, memory::MemorySessions, script::Script};
use crate::{
    clock, files,
    local::{Listener, Stream, is_in_file_system},
};
use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// The longest line read from anybody.
const MAX_LINE: u64 = 1024;

/// Sessions told by lines on a local socket, which is removed when this is dropped.
#[derive(Debug)]
pub struct Scripted {
    machine: MemorySessions,
    socket: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Scripted {
    /// Listens at `socket`, for the owner alone; its directory is made when it is missing (`/run` is empty after a
    /// boot). A socket that nobody answers at any more is replaced.
    ///
    /// # Errors
    /// Somebody else listens there, the directory is not writable, or the stored sessions are damaged.
    pub fn listen(socket: &Path) -> Result<Self, SessionError> {
        let failed = |action| move |cause| SessionError::Io { action, path: socket.to_owned(), cause };
        let state = state_file(socket);
        let system_boot = clock::boot_id().map_err(|cause| SessionError::Io {
            action: "read the boot id for",
            path: socket.to_owned(),
            cause,
        })?;
        let directory = socket.parent().filter(|directory| state.is_some() && !directory.as_os_str().is_empty());
        if let Some(directory) = directory {
            fs::create_dir_all(directory).map_err(failed("create the directory of"))?;
        }
        let script = match &state {
            Some(state) => load(state, &system_boot)?,
            None => Script::new(&system_boot),
        };
        let listener = Listener::bind_private(socket)?;
        let machine = MemorySessions::with(script);
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("vestibule-sessions".to_owned()).spawn({
            let (machine, stop) = (machine.clone(), stop.clone());
            move || serve(&listener, &machine, state.as_deref(), &stop)
        });
        let thread = Some(thread.map_err(failed("start a thread for"))?);
        Ok(Self { machine, socket: socket.to_owned(), stop, thread })
    }
}

impl SessionSource for Scripted {
    fn watch(&self) -> Result<Watch, SessionError> {
        self.machine.watch()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread, which waits for somebody to connect.
        let woken = Stream::connect(&self.socket).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

fn state_file(socket: &Path) -> Option<PathBuf> {
    let mut name = socket.as_os_str().to_owned();
    name.push(".state");
    is_in_file_system(socket).then(|| name.into())
}

fn load(state: &Path, system_boot: &str) -> Result<Script, SessionError> {
    match fs::read_to_string(state) {
        Ok(text) => Script::load(&text, system_boot).map_err(|(line, reason)| SessionError::State {
            path: state.to_owned(),
            line,
            reason,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Script::new(system_boot)),
        Err(cause) => Err(SessionError::Io { action: "read", path: state.to_owned(), cause }),
    }
}

/// One thread per connection: a script that keeps one open does not shut out another.
fn serve(listener: &Listener, machine: &MemorySessions, state: Option<&Path>, stop: &AtomicBool) {
    loop {
        let stream = listener.accept();
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let (machine, state) = (machine.clone(), state.map(Path::to_owned));
        let spawned = stream.and_then(|stream| {
            let name = "vestibule-session-script".to_owned();
            thread::Builder::new().name(name).spawn(move || converse(stream, &machine, state.as_deref()))
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "a connection to the session script was lost");
            // Out of descriptors or threads, perhaps: give it time.
            thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

fn converse(stream: Stream, machine: &MemorySessions, state: Option<&Path>) {
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        match lines.by_ref().take(MAX_LINE).read_line(&mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let too_long = !line.ends_with('\n') && line.len() as u64 == MAX_LINE;
        let done = if too_long {
            Err(format!("the line is longer than {MAX_LINE} bytes"))
        } else {
            machine.run_stored(line.trim(), |next| state.map_or(Ok(()), |state| store(state, next)))
        };
        let answer = done.map_or_else(|error| format!("error: {error}\n"), |()| "ok\n".to_owned());
        if lines.get_mut().write_all(answer.as_bytes()).is_err() || too_long {
            return;
        }
    }
}

fn store(state: &Path, script: &Script) -> Result<(), String> {
    files::write_atomic(state, script.store().as_bytes())
        .map_err(|error| format!("cannot store the sessions in {}: {error}", state.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{files::scratch::Scratch, session::SessionEvent};
    use std::time::Duration;

    fn tell(socket: &Path, lines: &str) -> Vec<String> {
        let mut stream = Stream::connect(socket).unwrap();
        stream.write_all(lines.as_bytes()).unwrap();
        let answers = lines.lines().count();
        BufReader::new(stream).lines().take(answers).map(Result::unwrap).collect()
    }

    #[test]
    fn lines_become_events_and_are_answered() {
        let scratch = Scratch::new();
        let socket = scratch.path("run/sessions");
        let source = Scripted::listen(&socket).unwrap();
        let watch = source.watch().unwrap();
        assert_eq!(watch.boot_id, clock::boot_id().unwrap());
        let answers = tell(&socket, "logon anna 1\nlogoff 9\nlock\n");
        assert_eq!((answers[0].as_str(), answers[2].as_str()), ("ok", "ok"));
        assert!(answers[1].starts_with("error: no session `9`"), "{answers:?}");
        let first = watch.events.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(matches!(first, SessionEvent::Logon { .. }));
        assert_eq!(watch.events.recv_timeout(Duration::from_secs(5)).unwrap(), SessionEvent::Lock);
    }

    #[cfg(unix)]
    #[test]
    fn a_killed_service_finds_its_sessions_again() {
        let scratch = Scratch::new();
        let socket = scratch.path("sessions");
        let first = Scripted::listen(&socket).unwrap();
        assert_eq!(tell(&socket, "boot\nlogon anna 1\nlogon ben 2\n"), ["ok"; 3]);
        let before = first.watch().unwrap();
        // As by SIGKILL: neither the socket nor the file is taken away. The old listener lives in this process, so
        // the socket is made stale by hand.
        std::mem::forget(first);
        fs::remove_file(&socket).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let second = Scripted::listen(&socket).unwrap();
        let after = second.watch().unwrap();
        assert_eq!((&after.boot_id, &after.sessions), (&before.boot_id, &before.sessions));
        assert_eq!(after.sessions.len(), 2);
    }

    #[test]
    fn a_living_listener_is_not_pushed_aside_and_a_stopped_one_leaves_no_socket() {
        let scratch = Scratch::new();
        let socket = scratch.path("sessions");
        let first = Scripted::listen(&socket).unwrap();
        assert!(matches!(Scripted::listen(&socket), Err(SessionError::Local(_))));
        assert_eq!(tell(&socket, "lock\n"), ["ok"]);
        drop(first);
        assert!(!socket.exists());
    }

    #[cfg(windows)]
    #[test]
    fn a_pipe_has_no_file_beside_it() {
        let socket = PathBuf::from(format!(r"\\.\pipe\Vestibule-sessions-{}", std::process::id()));
        let source = Scripted::listen(&socket).unwrap();
        assert_eq!(tell(&socket, "logon anna 1\nlock\n"), ["ok", "ok"]);
        assert_eq!(source.watch().unwrap().sessions.len(), 1);
    }

    #[test]
    fn damage_and_endless_lines_are_told() {
        let scratch = Scratch::new();
        let socket = scratch.path("sessions");
        let state = state_file(&socket).unwrap();
        fs::write(&state, "nonsense\n").unwrap();
        let error = Scripted::listen(&socket).unwrap_err();
        assert!(error.to_string().contains("sessions.state line 1"), "{error}");
        fs::remove_file(state).unwrap();
        let _source = Scripted::listen(&socket).unwrap();
        let answers = tell(&socket, &"x".repeat(1024));
        assert_eq!(answers, ["error: the line is longer than 1024 bytes"]);
    }
}
