//! One end of a TCP connection whose every byte is known beforehand, both ways, at an even pace.

use super::{serve, stamp, udp::Pace, unknown};
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
const PATIENCE: Duration = Duration::from_secs(20);
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
    let state = Arc::new(State::default());
    let listener = match side {
        Side::Listen(address) => Some(TcpListener::bind(address)?),
        Side::Connect(_) => None,
    };
    let theirs = state.clone();
    let connection = move || {
        let connection = match (side, listener) {
            (Side::Connect(address), _) => TcpStream::connect_timeout(&address, PATIENCE),
            (Side::Listen(_), Some(listener)) => listener.accept().map(|(connection, _)| connection),
            (Side::Listen(_), None) => return,
        };
        if let Err(error) = connection.and_then(|connection| carry(connection, side, rate, &theirs)) {
            eprintln!("host: TCP {side:?}: {error}");
            theirs.resets.fetch_add(1, Ordering::SeqCst);
            theirs.finished_sending.store(true, Ordering::SeqCst);
            theirs.finished_receiving.store(true, Ordering::SeqCst);
        }
    };
    thread::Builder::new().name("connection".to_owned()).spawn(connection)?;

    serve(|command, _| {
        match command {
            "report" => {}
            "pause" => state.paused.store(true, Ordering::SeqCst),
            "resume" => state.paused.store(false, Ordering::SeqCst),
            // Ends this end's stream; the other end's goes on until it is stopped, too.
            "stop" => {
                state.stop.store(true, Ordering::SeqCst);
                wait(&state.finished_sending);
            }
            "finish" => wait(&state.finished_receiving),
            _ => return Err(unknown(command)),
        }
        Ok(json!({
            "connected": state.connected.load(Ordering::SeqCst),
            "sent": state.sent.load(Ordering::SeqCst),
            "received": state.received.load(Ordering::SeqCst),
            "mismatched": state.mismatched.load(Ordering::SeqCst),
            "resets": state.resets.load(Ordering::SeqCst),
            "finished": state.finished_receiving.load(Ordering::SeqCst),
        }))
    })
}

fn wait(flag: &AtomicBool) {
    let until = Instant::now() + PATIENCE;
    while !flag.load(Ordering::SeqCst) && Instant::now() < until {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Sends one stream and checks the other, each on a thread of its own.
fn carry(connection: TcpStream, side: Side, rate: u32, state: &Arc<State>) -> io::Result<()> {
    connection.set_nodelay(true)?;
    state.connected.store(true, Ordering::SeqCst);
    let (out, back) = match side {
        Side::Connect(_) => (1, 2),
        Side::Listen(_) => (2, 1),
    };
    let mut reader = connection.try_clone()?;
    let receiving = state.clone();
    thread::Builder::new().name("receive".to_owned()).spawn(move || {
        if let Err(error) = receive(&mut reader, &Pattern::new(back), &receiving) {
            eprintln!("host: TCP {side:?}: receiving: {error}");
            receiving.resets.fetch_add(1, Ordering::SeqCst);
        }
        receiving.finished_receiving.store(true, Ordering::SeqCst);
    })?;
    send(&connection, &Pattern::new(out), rate, state)?;
    connection.shutdown(Shutdown::Write)?;
    state.finished_sending.store(true, Ordering::SeqCst);
    Ok(())
}

fn send(mut connection: &TcpStream, pattern: &Pattern, rate: u32, state: &State) -> io::Result<()> {
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

fn receive(connection: &mut TcpStream, pattern: &Pattern, state: &State) -> io::Result<()> {
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
