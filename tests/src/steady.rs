//! Traffic that goes on for a while and checks itself.

use crate::netns::Namespace;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Bytes per write; one write every [`PAUSE`] is about 2.6 Mb/s.
const CHUNK: usize = 16 * 1024;
const PAUSE: Duration = Duration::from_millis(50);
/// Silence after which a connection counts as dead. A healthy one delivers every [`PAUSE`].
const SILENCE: Duration = Duration::from_secs(20);

/// What one end of a connection counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes written.
    pub sent: u64,
    /// Bytes read, every one of which was the one expected.
    pub received: u64,
}

/// A connection under way: both ends write and check at the same time.
#[derive(Debug)]
pub struct Stream {
    accepting: JoinHandle<io::Result<Tally>>,
    connecting: JoinHandle<io::Result<Tally>>,
}

impl Stream {
    /// Connects from `from` to `address` inside `to`, and lets both ends write for `length`.
    ///
    /// # Panics
    /// When the listener cannot be had.
    #[must_use]
    pub fn start(from: &Namespace, to: &Namespace, address: SocketAddr, length: Duration) -> Self {
        let listener = to.thread(move || TcpListener::bind(address)).join();
        let listener = match listener {
            Ok(Ok(listener)) => listener,
            other => panic!("cannot listen at {address}: {other:?}"),
        };
        let accepting = thread::spawn(move || exchange(listener.accept()?.0, length));
        let connecting =
            from.thread(move || exchange(TcpStream::connect_timeout(&address, Duration::from_secs(10))?, length));
        Self { accepting, connecting }
    }

    /// Waits for both ends: what the connecting and the accepting one counted.
    ///
    /// # Panics
    /// When either failed: a reset, a wrong byte, or 20 s of silence.
    #[must_use]
    pub fn finish(self) -> (Tally, Tally) {
        let end = |thread: JoinHandle<io::Result<Tally>>, which| match thread.join() {
            Ok(Ok(tally)) => tally,
            other => panic!("the {which} end: {other:?}"),
        };
        (end(self.connecting, "connecting"), end(self.accepting, "accepting"))
    }
}

/// The byte at a position of every stream.
fn pattern(position: u64) -> u8 {
    (position.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn exchange(mut stream: TcpStream, length: Duration) -> io::Result<Tally> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    let mut writing = stream.try_clone()?;
    let writer = thread::spawn(move || {
        let end = Instant::now() + length;
        let mut sent = 0;
        while Instant::now() < end {
            let chunk: Vec<u8> = (sent..sent + CHUNK as u64).map(pattern).collect();
            writing.write_all(&chunk)?;
            sent += CHUNK as u64;
            thread::sleep(PAUSE);
        }
        writing.shutdown(std::net::Shutdown::Write)?;
        Ok::<_, io::Error>(sent)
    });
    let mut received = 0;
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        if let Some(at) = (0..read).find(|&at| buffer[at] != pattern(received + at as u64)) {
            let message = format!("wrong byte at {}", received + at as u64);
            return Err(io::Error::new(ErrorKind::InvalidData, message));
        }
        received += read as u64;
    }
    let sent = writer.join().map_err(|_| io::Error::other("the writer panicked"))??;
    Ok(Tally { sent, received })
}

/// Echo requests under way.
#[derive(Debug)]
pub struct Pings {
    child: std::process::Child,
}

/// What came of echo requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echoes {
    /// Requests.
    pub sent: u64,
    /// Requests without an answer, by their number from 1.
    pub missing: Vec<u64>,
    /// Answers that came twice.
    pub duplicates: u64,
}

impl Echoes {
    /// The longest run of requests without an answer.
    #[must_use]
    pub fn longest_silence(&self) -> u64 {
        let mut longest = 0;
        let mut run = 0;
        let mut before = None;
        for &number in &self.missing {
            run = if before == Some(number - 1) { run + 1 } else { 1 };
            longest = longest.max(run);
            before = Some(number);
        }
        longest
    }
}

impl Pings {
    /// Five a second for `length`, from `from` to `address`.
    ///
    /// # Panics
    /// When `ping` is missing.
    #[must_use]
    pub fn start(from: &Namespace, address: IpAddr, length: Duration) -> Self {
        Self::paced(from, address, Duration::from_millis(200), length)
    }

    /// One every `pause`.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn paced(from: &Namespace, address: IpAddr, pause: Duration, length: Duration) -> Self {
        let count = (length.as_millis() / pause.as_millis()).to_string();
        let pause = pause.as_secs_f64().to_string();
        let mut command = from.command("ping");
        command.args(["-n", "-i", &pause, "-W", "5", "-c", &count, &address.to_string()]);
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
        Self { child: command.spawn().unwrap_or_else(|error| panic!("ping: {error}")) }
    }

    /// Waits for the last answer.
    ///
    /// # Panics
    /// When `ping` says something unexpected.
    #[must_use]
    pub fn finish(self) -> Echoes {
        let output = self.child.wait_with_output().unwrap_or_else(|error| panic!("ping: {error}"));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        echoes(&said).unwrap_or_else(|| panic!("ping said:\n{said}"))
    }
}

/// Reads `64 bytes from 10.0.0.1: icmp_seq=3 ttl=64 time=1 ms` and, at the end, `5 packets transmitted, ...`.
fn echoes(said: &str) -> Option<Echoes> {
    let line = said.lines().find(|line| line.contains("packets transmitted"))?;
    let sent = line.split_whitespace().next()?.parse().ok()?;
    let answers = said.lines().filter(|line| line.contains("bytes from"));
    let duplicates = answers.clone().filter(|line| line.contains("(DUP!)")).count() as u64;
    let number = |line: &str| line.split("icmp_seq=").nth(1)?.split_whitespace().next()?.parse().ok();
    let answered: std::collections::BTreeSet<u64> = answers.filter_map(number).collect();
    Some(Echoes { sent, missing: (1..=sent).filter(|number| !answered.contains(number)).collect(), duplicates })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ping_says_is_read() {
        let said = "PING 10.0.0.1\n64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=1 ms\n\
                    64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=1 ms (DUP!)\n\
                    64 bytes from 10.0.0.1: icmp_seq=3 ttl=64 time=1 ms\n\n\
                    3 packets transmitted, 2 received, +1 duplicates, 33.3333% packet loss, time 2003ms";
        assert_eq!(echoes(said), Some(Echoes { sent: 3, missing: vec![2], duplicates: 1 }));
        assert_eq!(echoes("ping: no route"), None);
    }

    #[test]
    fn the_longest_silence_is_found() {
        let silence = |missing: &[u64]| Echoes { sent: 9, missing: missing.to_vec(), duplicates: 0 }.longest_silence();
        assert_eq!([silence(&[]), silence(&[4]), silence(&[1, 2, 4, 5, 6, 9])], [0, 1, 3]);
    }
}
