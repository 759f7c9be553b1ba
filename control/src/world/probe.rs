//! Questions that the device's programs ask: does a server answer, is it refused, how fast.

use super::{
    host::services::{DIRECTORY_ANSWER, WEB_ANSWER},
    intranet::Intranet,
    stage::{DIRECTORY_PORT, ECHO_PORT, WEB_PORT},
};
use crossbeam_channel::Sender;
use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// After this long, silence is a time-out.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest wait for a connection or its refusal, of which Windows tells its program after the third, two seconds later.
const REFUSAL: Duration = Duration::from_secs(10);

/// What came of a question.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The server's answer, or why there is none.
    pub answer: io::Result<String>,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// The expected answer came.
    pub(crate) fn answered(&self) -> bool {
        self.answer.is_ok()
    }

    /// It was refused, and said so.
    pub(crate) fn refused(&self) -> bool {
        matches!(&self.answer, Err(error) if matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
        ))
    }

    /// Milliseconds, with fractions.
    pub(crate) fn milliseconds(&self) -> f64 {
        (self.took.as_secs_f64() * 1e6).round() / 1e3
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.answer {
            Ok(answer) => write!(f, "“{answer}” in {} ms", self.milliseconds()),
            Err(error) => write!(f, "{error} after {} ms", self.milliseconds()),
        }
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// The directory server, for the domain controller.
    Directory,
    /// The web server, for its page.
    Web,
    /// The echo server, for an echo.
    Echo,
}

/// Asks the intranet's servers over connections that `dial` opens.
pub(crate) fn ask<C: Read + Write>(
    question: Question,
    intranet: Intranet,
    dial: impl Fn(SocketAddr) -> io::Result<C>,
) -> Outcome {
    let (directory, web) = (intranet.directory(), intranet.web());
    match question {
        Question::Directory => timed(|| ask_directory(dial((directory, DIRECTORY_PORT).into())?)),
        Question::Web => timed(|| ask_web(dial((web, WEB_PORT).into())?, web)),
        Question::Echo => timed(|| Echo(dial((web, ECHO_PORT).into())?).turn().map(|()| "an echo".to_owned())),
    }
}

fn timed(ask: impl FnOnce() -> io::Result<String>) -> Outcome {
    let start = Instant::now();
    Outcome { answer: ask(), took: start.elapsed() }
}

/// Opens a connection from the calling thread's network.
pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    Ok(connection)
}

/// Opens a connection that must leave from the address `inner`: where routes are not as they should be, it would not.
pub(crate) fn connect_from(inner: IpAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let connection = TcpStream::connect_timeout(&address, REFUSAL)?;
    let local = connection.local_addr()?.ip();
    if local != inner {
        let text = format!("expected a connection from {inner}, got one from {local}: it passed the tunnel by");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    connection.set_read_timeout(Some(PATIENCE))?;
    Ok(connection)
}

fn ask_directory(mut connection: impl Read + Write) -> io::Result<String> {
    connection.write_all(b"where is the domain controller?\n")?;
    let mut line = String::new();
    BufReader::new(connection).read_line(&mut line)?;
    expected(line.trim(), DIRECTORY_ANSWER)
}

fn ask_web(mut connection: impl Read + Write, host: IpAddr) -> io::Result<String> {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    let mut page = String::new();
    connection.read_to_string(&mut page)?;
    expected(page.rsplit("\r\n\r\n").next().unwrap_or_default(), WEB_ANSWER)
}

fn expected(got: &str, wanted: &str) -> io::Result<String> {
    if got == wanted {
        return Ok(got.to_owned());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("expected “{wanted}”, got “{got}”")))
}

/// A live connection to the echo server.
#[derive(Debug)]
struct Echo<C>(C);

impl<C: Read + Write> Echo<C> {
    /// One message there and back.
    fn turn(&mut self) -> io::Result<()> {
        let message = *b"are you still there?";
        self.0.write_all(&message)?;
        let mut back = [0; 20];
        self.0.read_exact(&mut back)?;
        if back == message { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

/// When a live flow was closed, and how.
#[derive(Debug)]
pub(crate) struct Closed {
    /// When its end was seen.
    pub at: Instant,
    /// What the program saw.
    pub how: io::Error,
}

/// Opens a connection to the intranet's echo server with `dial` and talks until it is closed; `None` when it is not within
/// `patience`. `opened` is told when the connection stands.
pub(crate) fn watch<C: Read + Write>(
    patience: Duration,
    opened: &Sender<()>,
    intranet: Intranet,
    dial: impl Fn(SocketAddr) -> io::Result<C>,
) -> io::Result<Option<Closed>> {
    let mut echo = Echo(dial((intranet.web(), ECHO_PORT).into())?);
    echo.turn()?;
    let _ = opened.send(());
    let until = Instant::now() + patience;
    while Instant::now() < until {
        if let Err(how) = echo.turn() {
            return Ok(Some(Closed { at: Instant::now(), how }));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(None)
}
