//! Traffic as fast as it goes, every byte of which is checked.

use crate::netns::Namespace;
use nix::sys::socket::{setsockopt, sockopt};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a stream repeats: a length without common factor with any segment's, so that a byte out of place is seen.
const PATTERN: usize = 65_521;
/// Silence after which a stream is dead.
const SILENCE: Duration = Duration::from_secs(30);
/// No transfer here is so large that a living tunnel needs longer.
const LONGEST: Duration = Duration::from_secs(90);

fn pattern() -> Vec<u8> {
    (0..PATTERN as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// A TCP transfer under way, one way.
#[derive(Debug)]
pub struct Transfer {
    sending: JoinHandle<io::Result<()>>,
    receiving: JoinHandle<io::Result<u64>>,
    bytes: u64,
}

impl Transfer {
    /// Sends `bytes` from `from` to `address` in `to`.
    ///
    /// # Panics
    /// When the listener cannot be had.
    #[must_use]
    pub fn start(from: &Namespace, to: &Namespace, address: SocketAddr, bytes: u64) -> Self {
        let listener = to.thread(move || TcpListener::bind(address)).join();
        let Ok(Ok(listener)) = listener else { panic!("cannot listen at {address}: {listener:?}") };
        let receiving = to.thread(move || receive(listener.accept()?.0));
        let sending = from.thread(move || send(address, bytes));
        Self { sending, receiving, bytes }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When a byte was wrong or missing, nothing came for 30 s, or it took longer than 90 s.
    pub fn finish(self, what: &str) {
        match self.sending.join() {
            Ok(Ok(())) => {}
            // The other thread may wait for a connection that never comes.
            other => panic!("{what}, sending: {other:?}"),
        }
        match self.receiving.join() {
            Ok(Ok(received)) => assert_eq!(received, self.bytes, "{what}: bytes"),
            other => panic!("{what}, receiving: {other:?}"),
        }
    }
}

fn send(address: SocketAddr, bytes: u64) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, SILENCE)?;
    stream.set_write_timeout(Some(SILENCE))?;
    let pattern = pattern();
    let (mut left, began) = (bytes as usize, Instant::now());
    while left > 0 {
        if began.elapsed() > LONGEST {
            return Err(io::Error::new(ErrorKind::TimedOut, format!("{left} of {bytes} bytes left after {LONGEST:?}")));
        }
        let chunk = &pattern[..left.min(PATTERN)];
        stream.write_all(chunk)?;
        left -= chunk.len();
    }
    stream.shutdown(std::net::Shutdown::Write)
}

fn receive(mut stream: TcpStream) -> io::Result<u64> {
    stream.set_read_timeout(Some(SILENCE))?;
    let pattern = pattern();
    let (mut buffer, mut received) = (vec![0; PATTERN], 0);
    loop {
        let wanted = &pattern[received % PATTERN..];
        let read = stream.read(&mut buffer[..wanted.len()])?;
        if read == 0 {
            return Ok(received as u64);
        }
        if buffer[..read] != wanted[..read] {
            let message = format!("a wrong byte among those from {received} on");
            return Err(io::Error::new(ErrorKind::InvalidData, message));
        }
        received += read;
    }
}

/// What came of numbered UDP datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// How many were sent.
    pub sent: u64,
    /// Different ones that came.
    pub received: u64,
    /// Came again.
    pub duplicates: u64,
    /// Came after a later one.
    pub reordered: u64,
    /// Were not what was sent, in length or content.
    pub wrong: u64,
}

/// A UDP flow under way, one way.
#[derive(Debug)]
pub struct Datagrams {
    sending: JoinHandle<io::Result<u64>>,
    receiving: JoinHandle<io::Result<Arrived>>,
}

/// How datagrams are sent.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Payload bytes of each, at least 16.
    pub len: usize,
    /// How many go to the kernel at a time, for it to cut (`UDP_SEGMENT`); 1: one by one.
    pub train: usize,
    /// Pause between trains.
    pub pause: Duration,
}

impl Datagrams {
    /// Sends from `from` to `address` in `to` for `length`.
    ///
    /// # Panics
    /// When the receiving socket cannot be had.
    #[must_use]
    pub fn start(from: &Namespace, to: &Namespace, address: SocketAddr, shape: Shape, length: Duration) -> Self {
        let socket = to
            .thread(move || {
                let socket = UdpSocket::bind(address)?;
                setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20))?;
                socket.set_read_timeout(Some(Duration::from_secs(2)))?;
                Ok::<_, io::Error>(socket)
            })
            .join();
        let Ok(Ok(socket)) = socket else { panic!("cannot listen at {address}: {socket:?}") };
        let receiving = to.thread(move || count(&socket, shape.len));
        let sending = from.thread(move || number(address, shape, length));
        Self { sending, receiving }
    }

    /// Waits until nothing has come for 2 s after the end.
    ///
    /// # Panics
    /// When a socket failed.
    #[must_use]
    pub fn finish(self, what: &str) -> Arrived {
        let sent = match self.sending.join() {
            Ok(Ok(sent)) => sent,
            other => panic!("{what}, sending: {other:?}"),
        };
        match self.receiving.join() {
            Ok(Ok(arrived)) => Arrived { sent, ..arrived },
            other => panic!("{what}, receiving: {other:?}"),
        }
    }
}

/// Datagram `number`: its number, twice, and a fill that depends on it.
fn write(number: u64, datagram: &mut [u8]) {
    datagram[..8].copy_from_slice(&number.to_be_bytes());
    datagram[8..16].copy_from_slice(&(!number).to_be_bytes());
    datagram[16..].fill(number as u8);
}

fn number(address: SocketAddr, shape: Shape, length: Duration) -> io::Result<u64> {
    let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    if shape.train > 1 {
        setsockopt(&socket, sockopt::UdpGsoSegment, &(shape.len as i32))?;
    }
    let mut train = vec![0; shape.len * shape.train];
    let (mut next, end) = (0, Instant::now() + length);
    while Instant::now() < end {
        for datagram in train.chunks_mut(shape.len) {
            write(next, datagram);
            next += 1;
        }
        match socket.send(&train) {
            // No room in the interface's queue: these are lost before they reach the tunnel.
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => {}
            Err(error) => return Err(error),
        }
        if !shape.pause.is_zero() {
            std::thread::sleep(shape.pause);
        }
    }
    Ok(next)
}

fn count(socket: &UdpSocket, len: usize) -> io::Result<Arrived> {
    let mut arrived = Arrived::default();
    let mut seen: Vec<bool> = Vec::new();
    let (mut buffer, mut expected) = (vec![0; 65_536], vec![0; len]);
    loop {
        let read = match socket.recv(&mut buffer) {
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(arrived),
            Err(error) => return Err(error),
        };
        let number = buffer.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        write(number, &mut expected);
        if buffer[..read] != expected || number > 1 << 28 {
            arrived.wrong += 1;
            continue;
        }
        let number = number as usize;
        if number >= seen.len() {
            seen.resize(number + 1, false);
        } else if seen[number] {
            arrived.duplicates += 1;
            continue;
        } else {
            arrived.reordered += 1;
        }
        seen[number] = true;
        arrived.received += 1;
    }
}
