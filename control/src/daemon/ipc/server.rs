//! The control socket's serving side: threads that read one line at a time and hand requests to the daemon's loop.

use super::{Answer, Failure, MAX_REQUEST, Request};
use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};
use vestibule_platform::local::{Listener, LocalError, Peer, Stream};

/// Connections served at a time; each costs a thread. More are told so and closed.
const MAX_CONNECTIONS: usize = 32;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(60);

/// One request on its way to the daemon's loop.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// By whom, as far as the system tells.
    pub peer: Option<Peer>,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Answer>,
}

/// The serving control socket. Dropping it stops listening and removes the socket file.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Listens at `path`; every request becomes a [`Call`] on `calls`.
    ///
    /// # Errors
    /// The socket could not be opened.
    pub fn start(path: &Path, calls: mpsc::Sender<Call>) -> Result<Self, LocalError> {
        let listener = Listener::bind(path)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("control-socket".into())
            .spawn(move || accept(&listener, &calls, &stopped))
            .map_err(|cause| LocalError::Io { action: "start the thread of", path: path.to_owned(), cause })?;
        Ok(Self { path: path.to_owned(), stop, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if Stream::connect(&self.path).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &Listener, calls: &mpsc::Sender<Call>, stop: &AtomicBool) {
    let connections = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = listener.accept();
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let Ok(mut stream) = stream else {
            // Out of descriptors, most likely: give others time to close some.
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        if stream.set_timeout(IDLE).is_err() {
            continue;
        }
        if connections.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
            connections.fetch_sub(1, Ordering::Relaxed);
            let _ = reply(&mut stream, &refuse("busy", "too many control connections are open: close some"));
            continue;
        }
        let (calls, held) = (calls.clone(), Held(connections.clone()));
        let spawned = std::thread::Builder::new().name("control-connection".into()).spawn(move || {
            let _held = held;
            let who = |stream: &Stream| {
                stream.peer().inspect_err(|error| tracing::warn!(%error, "the system does not tell who asks")).ok()
            };
            if let Err(error) = serve(&mut stream, who, &calls) {
                tracing::debug!(%error, "control connection ended");
            }
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "cannot serve a control connection");
        }
    }
}

struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves one connection until its end or its first bad line. `who` tells whose it is, once something was read.
fn serve<S: Read + Write>(
    stream: &mut S,
    who: impl Fn(&S) -> Option<Peer>,
    calls: &mpsc::Sender<Call>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let line = match take_line(stream, &mut buffer)? {
            Line::Is(line) => line,
            Line::End => return Ok(()),
            Line::TooLong => {
                let message = format!("a request line has at most {MAX_REQUEST} bytes");
                return reply(stream, &refuse("request_too_long", &message));
            }
        };
        let request = match serde_json::from_slice::<Request>(&line) {
            Ok(request) => request,
            Err(error) => {
                let message = format!("not a request: {error}; expected a line like {{\"request\":\"status\"}}");
                return reply(stream, &refuse("bad_request", &message));
            }
        };
        let (answer, answered) = oneshot::channel();
        let gone = || refuse("stopping", "the daemon is stopping");
        let peer = who(stream);
        let answer = match calls.blocking_send(Call { request, peer, answer }) {
            Ok(()) => answered.blocking_recv().unwrap_or_else(|_| gone()),
            Err(_) => gone(),
        };
        reply(stream, &answer)?;
    }
}

enum Line {
    Is(Vec<u8>),
    End,
    TooLong,
}

fn take_line(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<Line> {
    let mut chunk = [0; 1024];
    loop {
        if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let rest = buffer.split_off(end + 1);
            let mut line = std::mem::replace(buffer, rest);
            line.pop();
            return Ok(if line.len() > MAX_REQUEST { Line::TooLong } else { Line::Is(line) });
        }
        if buffer.len() > MAX_REQUEST {
            return Ok(Line::TooLong);
        }
        match stream.read(&mut chunk)? {
            0 => return Ok(Line::End),
            count => buffer.extend_from_slice(&chunk[..count]),
        }
    }
}

fn refuse(code: &str, message: &str) -> Answer {
    Answer::Error(Failure::new(code, message))
}

fn reply(stream: &mut impl Write, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    stream.flush()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::VecDeque;

    struct Wire {
        inbound: VecDeque<u8>,
        outbound: Vec<u8>,
    }

    impl Read for Wire {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.inbound.read(buffer)
        }
    }

    impl Write for Wire {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.outbound.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Serves `input` with a loop that answers every request with its own `Debug` form.
    fn talk(input: &[u8]) -> Vec<Answer> {
        let (calls, mut requests) = mpsc::channel::<Call>(4);
        let echo = std::thread::spawn(move || {
            while let Some(call) = requests.blocking_recv() {
                let _ = call.answer.send(Answer::Ok(format!("{:?}", call.request).into()));
            }
        });
        let mut wire = Wire { inbound: input.iter().copied().collect(), outbound: Vec::new() };
        serve(&mut wire, |_| None, &calls).unwrap();
        drop(calls);
        echo.join().unwrap();
        String::from_utf8(wire.outbound).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn code(answer: &Answer) -> &str {
        match answer {
            Answer::Error(failure) => &failure.code,
            Answer::Ok(_) => "ok",
        }
    }

    #[test]
    fn several_requests_on_one_connection_are_answered_in_order() {
        let answers = talk(
            b"{\"request\":\"status\"}\n{\"request\":\"why\",\"last\":3}\n{\"request\":\"registration_delete\"}\n",
        );
        let expected = ["Status", "Why { last: Some(3) }", "RegistrationDelete { id: None }"];
        assert_eq!(answers, expected.map(|text| Answer::Ok(text.into())));
    }

    #[test]
    fn garbage_is_answered_with_an_error_and_the_connection_closes() {
        for line in
            [&b"hello"[..], b"{}", b"{\"request\":\"fly\"}", b"{\"request\":\"why\",\"last\":-1}", b"\xff\xfe", b""]
        {
            let input = [line, b"\n{\"request\":\"status\"}\n"].concat();
            let answers = talk(&input);
            assert_eq!(answers.iter().map(code).collect::<Vec<_>>(), ["bad_request"], "{line:?}");
        }
    }

    #[test]
    fn an_oversized_line_is_refused_without_being_read_to_its_end() {
        let mut input = vec![b'x'; 1 << 20];
        input.extend_from_slice(b"\n{\"request\":\"status\"}\n");
        let answers = talk(&input);
        assert_eq!(answers.iter().map(code).collect::<Vec<_>>(), ["request_too_long"]);
    }

    #[test]
    fn a_request_without_its_newline_is_not_executed() {
        assert_eq!(talk(b"{\"request\":\"disconnect\"}"), []);
    }

    #[test]
    fn a_daemon_that_is_gone_says_so() {
        let (calls, requests) = mpsc::channel::<Call>(1);
        drop(requests);
        let mut wire = Wire { inbound: b"{\"request\":\"status\"}\n".iter().copied().collect(), outbound: Vec::new() };
        serve(&mut wire, |_| None, &calls).unwrap();
        assert_eq!(code(&serde_json::from_slice(&wire.outbound).unwrap()), "stopping");
    }
}
