//! One end of a TCP connection whose every byte is known beforehand, both ways, at an even pace.

use super::{serve, stamp, udp::Pace, unknown};
use crate::world::scene::Stream;
use serde_json::json;
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long the other end may take to connect or to finish.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes per unit of the pace.
const UNIT: usize = 1024;

/// Which side of the connection this is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    /// Waits for it.
    Listen(SocketAddr),
    /// Opens it.
    Connect(SocketAddr),
}

/// The streams that the end which opens the connection sends and expects.
pub(crate) const OPENER: Streams = Streams { out: 1, back: 2 };
/// Those of the other end.
pub(crate) const ACCEPTER: Streams = Streams { out: 2, back: 1 };

/// Seeds of what an end sends and expects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams {
    out: u64,
    back: u64,
}

/// A connection that is written by one thread and read by another.
pub(crate) trait Duplex: Read + Write + Send + Sized + 'static {
    /// The same connection, for another thread.
    fn second(&self) -> io::Result<Self>;

    /// Tells the other end that no more comes.
    fn finish(&self) -> io::Result<()>;
}

impl Duplex for TcpStream {
    fn second(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// One end's books. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct End(Arc<State>);

#[derive(Debug, Default)]
struct State {
    connected: AtomicBool,
    paused: AtomicBool,
    stop: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
    mismatched: AtomicU64,
    resets: AtomicU64,
    finished_sending: AtomicBool,
    finished_receiving: AtomicBool,
}

/// A stream as long as wanted: pseudo-random bytes that repeat after a prime number of them.
#[derive(Debug)]
pub(crate) struct Pattern(Vec<u8>);

impl Pattern {
    const PERIOD: usize = 1_048_583;
    /// Longest piece.
    pub(crate) const PIECE: usize = 128 * 1024;

    /// The stream of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut bytes = vec![0; Self::PERIOD];
        stamp::fill(&mut bytes, seed, 0);
        bytes.extend_from_within(..Self::PIECE);
        Self(bytes)
    }

    /// `length` bytes, at most [`Self::PIECE`], from `position` on.
    pub(crate) fn piece(&self, position: u64, length: usize) -> &[u8] {
        let start = (position % Self::PERIOD as u64) as usize;
        &self.0[start..start + length.min(Self::PIECE)]
    }
}

pub(super) fn run(side: Side, rate: u32) -> io::Result<()> {
    let end = End::default();
    let listener = match side {
        Side::Listen(address) => Some(TcpListener::bind(address)?),
        Side::Connect(_) => None,
    };
    let theirs = end.clone();
    let connection = move || {
        let (connection, streams) = match (side, listener) {
            (Side::Connect(address), _) => (TcpStream::connect_timeout(&address, PATIENCE), OPENER),
            (Side::Listen(_), Some(listener)) => (listener.accept().map(|(connection, _)| connection), ACCEPTER),
            (Side::Listen(_), None) => return,
        };
        theirs.carry(connection.and_then(undelayed), streams, rate);
    };
    thread::Builder::new().name("connection".to_owned()).spawn(connection)?;

    serve(|command, _| {
        match command {
            "report" => {}
            "pause" => end.0.paused.store(true, Ordering::SeqCst),
            "resume" => end.0.paused.store(false, Ordering::SeqCst),
            "stop" => end.stop(),
            "finish" => end.wait_for_other(),
            _ => return Err(unknown(command)),
        }
        Ok(json!(end.read()))
    })
}

/// The same connection, which sends small pieces at once.
pub(crate) fn undelayed(connection: TcpStream) -> io::Result<TcpStream> {
    connection.set_nodelay(true)?;
    Ok(connection)
}

fn wait(flag: &AtomicBool) {
    let until = Instant::now() + PATIENCE;
    while !flag.load(Ordering::SeqCst) && Instant::now() < until {
        thread::sleep(Duration::from_millis(5));
    }
}

impl End {
    /// What it has seen so far.
    pub(crate) fn read(&self) -> Stream {
        let state = &self.0;
        Stream {
            connected: state.connected.load(Ordering::SeqCst),
            sent: state.sent.load(Ordering::SeqCst),
            received: state.received.load(Ordering::SeqCst),
            mismatched: state.mismatched.load(Ordering::SeqCst),
            resets: state.resets.load(Ordering::SeqCst),
        }
    }

    /// Ends this end's stream; the other end's goes on until it is stopped, too.
    pub(crate) fn stop(&self) {
        self.0.stop.store(true, Ordering::SeqCst);
        wait(&self.0.finished_sending);
    }

    /// Waits until the other end's stream has ended.
    pub(crate) fn wait_for_other(&self) {
        wait(&self.0.finished_receiving);
    }

    /// There is no connection, and none comes.
    pub(crate) fn give_up(&self) {
        self.0.finished_sending.store(true, Ordering::SeqCst);
        self.0.finished_receiving.store(true, Ordering::SeqCst);
    }

    /// Sends one stream over the connection, and checks the other on a thread of its own. Without one, or when it breaks,
    /// that counts as a reset.
    pub(crate) fn carry<C: Duplex>(&self, connection: io::Result<C>, streams: Streams, rate: u32) {
        if let Err(error) = connection.and_then(|connection| self.both_ways(connection, streams, rate)) {
            eprintln!("TCP of stream {}: {error}", streams.out);
            self.0.resets.fetch_add(1, Ordering::SeqCst);
            self.give_up();
        }
    }

    fn both_ways<C: Duplex>(&self, mut connection: C, Streams { out, back }: Streams, rate: u32) -> io::Result<()> {
        self.0.connected.store(true, Ordering::SeqCst);
        let mut reader = connection.second()?;
        let receiving = self.0.clone();
        thread::Builder::new().name("receive".to_owned()).spawn(move || {
            if let Err(error) = receive(&mut reader, &Pattern::new(back), &receiving) {
                eprintln!("TCP of stream {back}: {error}");
                receiving.resets.fetch_add(1, Ordering::SeqCst);
            }
            receiving.finished_receiving.store(true, Ordering::SeqCst);
        })?;
        send(&mut connection, &Pattern::new(out), rate, &self.0)?;
        connection.finish()?;
        self.0.finished_sending.store(true, Ordering::SeqCst);
        Ok(())
    }
}

fn send(connection: &mut impl Write, pattern: &Pattern, rate: u32, state: &State) -> io::Result<()> {
    let units = u32::try_from(u64::from(rate) * 1_000_000 / 8 / UNIT as u64).unwrap_or(u32::MAX);
    let mut pace = Pace::new(units.max(1), Instant::now());
    let mut position = 0;
    while !state.stop.load(Ordering::SeqCst) {
        thread::sleep(pace.next_tick().saturating_duration_since(Instant::now()));
        let mut due = pace.due(Instant::now()) as usize * UNIT;
        if state.paused.load(Ordering::SeqCst) {
            continue;
        }
        while due > 0 {
            let taken = connection.write(pattern.piece(position, due))?;
            position += taken as u64;
            due -= taken;
            state.sent.store(position, Ordering::SeqCst);
        }
    }
    Ok(())
}

fn receive(connection: &mut impl Read, pattern: &Pattern, state: &State) -> io::Result<()> {
    let mut buffer = vec![0; Pattern::PIECE];
    let mut position = 0;
    loop {
        let count = match connection.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let expected = pattern.piece(position, count);
        if buffer[..count] != *expected {
            let wrong = buffer[..count].iter().zip(expected).filter(|(got, expected)| got != expected).count();
            state.mismatched.fetch_add(wrong as u64, Ordering::SeqCst);
        }
        position += count as u64;
        state.received.store(position, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_goes_on_across_its_period() {
        let pattern = Pattern::new(1);
        let edge = Pattern::PERIOD as u64 - 3;
        assert_eq!(pattern.piece(edge, 3), pattern.piece(edge + Pattern::PERIOD as u64, 3));
        assert_eq!(pattern.piece(edge, 10)[3..], *pattern.piece(0, 7));
        assert_ne!(pattern.piece(0, 64), Pattern::new(2).piece(0, 64));
        assert_ne!(pattern.piece(0, 64), pattern.piece(64, 64));
    }
}
