//! The load of the world of memory: the same stamped datagrams, and a TCP stream both ways, made by hand.

use super::{
    datagrams::{Datagrams, Route, by_hand, wait},
    planted::Planted,
    stack::Stack,
    tcp::Connection,
};
use crate::world::{
    host::{stream::Pattern, udp::Pace},
    scene::{Account, Amount, Glance, SceneError, Stream, Traffic},
    stage::DIRECTORY,
};
use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

/// The running load.
pub(super) struct Load {
    datagrams: Datagrams,
    client: Arc<Books>,
    server: Arc<Books>,
    threads: Vec<JoinHandle<()>>,
}

/// One end's account of the TCP connection.
#[derive(Debug, Default)]
struct Books {
    connected: AtomicBool,
    stop: AtomicBool,
    finished: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
    mismatched: AtomicU64,
    resets: AtomicU64,
}

/// An address of IPv4, which is all that hosts of memory speak.
pub(super) fn v4(address: IpAddr) -> io::Result<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(address) => Err(io::Error::other(format!("expected an IPv4 address, got {address}"))),
    }
}

impl Load {
    pub(super) fn start(near: &Stack, far: &Stack, inner: IpAddr, amount: Amount, number: u16) -> io::Result<Self> {
        let (inner, server) = (v4(inner)?, v4(DIRECTORY)?);
        let (here, there) = (SocketAddrV4::new(inner, 7000 + number), SocketAddrV4::new(server, 7000 + number));
        let mut datagrams = Datagrams::new(number);
        let (up, down) = datagrams.flows;
        let out = Route { local: here, remote: there };
        let back = Route { local: there, remote: here };
        let mut threads = vec![
            by_hand(&datagrams.device, near, out, (up, down), amount, Planted::when(amount.plant))?,
            by_hand(&datagrams.directory, far, back, (down, up), amount, Planted::when(false))?,
        ];

        let served = SocketAddrV4::new(server, 3890 + number);
        let (client_books, server_books) = (Arc::new(Books::default()), Arc::new(Books::default()));
        let books = server_books.clone();
        if amount.tcp_rate > 0 {
            far.serve(served, move |connection| carry(Ok(connection), (2, 1), amount.tcp_rate, &books));
            let (stack, books) = (near.clone(), client_books.clone());
            threads.push(thread::Builder::new().spawn(move || {
                carry(Connection::open(&stack, inner, served), (1, 2), amount.tcp_rate, &books);
            })?);
        } else {
            for books in [&client_books, &server_books] {
                books.finished.store(true, Ordering::SeqCst);
            }
        }

        datagrams.begin();
        Ok(Self { datagrams, client: client_books, server: server_books, threads })
    }
}

impl Traffic for Load {
    fn stream(&mut self) -> Result<Stream, SceneError> {
        Ok(self.client.read())
    }

    fn glance(&mut self, final_below: [u64; 2]) -> Result<Glance, SceneError> {
        Ok(self.datagrams.glance(final_below, [self.client.read(), self.server.read()]))
    }

    fn measure_gap(&mut self, moment: u64) -> Result<Option<u64>, SceneError> {
        Ok(self.datagrams.measure_gap(moment))
    }

    fn finish(self: Box<Self>) -> Result<Account, SceneError> {
        let ways = self.datagrams.finish();
        for books in [&self.client, &self.server] {
            books.stop.store(true, Ordering::SeqCst);
        }
        for books in [&self.client, &self.server] {
            wait(|| books.finished.load(Ordering::SeqCst));
        }
        for thread in self.threads {
            // A panic in it shows in what was counted.
            let _ = thread.join();
        }
        let streams = [self.client.read(), self.server.read()];
        Ok(self.datagrams.account(ways, streams))
    }
}

impl Books {
    fn read(&self) -> Stream {
        Stream {
            connected: self.connected.load(Ordering::SeqCst),
            sent: self.sent.load(Ordering::SeqCst),
            received: self.received.load(Ordering::SeqCst),
            mismatched: self.mismatched.load(Ordering::SeqCst),
            resets: self.resets.load(Ordering::SeqCst),
        }
    }
}

/// Sends one stream and checks the other until both ends have finished.
fn carry(connection: io::Result<Connection>, (out, back): (u64, u64), rate: u32, books: &Books) {
    let ended = connection.and_then(|connection| exchange(connection, out, back, rate, books));
    if let Err(error) = ended {
        eprintln!("TCP: {error}");
        books.resets.fetch_add(1, Ordering::SeqCst);
    }
    books.finished.store(true, Ordering::SeqCst);
}

fn exchange(mut connection: Connection, out: u64, back: u64, rate: u32, books: &Books) -> io::Result<()> {
    const UNIT: usize = 256;
    let (out, back) = (Pattern::new(out), Pattern::new(back));
    let units = u64::from(rate) * 1_000_000 / 8 / UNIT as u64;
    let mut pace = Pace::new(u32::try_from(units).unwrap_or(u32::MAX).max(1), Instant::now());
    let (mut sent, mut received, mut owed, mut finished) = (0_u64, 0_u64, 0_usize, false);
    books.connected.store(true, Ordering::SeqCst);
    while !(finished && connection.ended()) {
        connection.pump(pace.next_tick().saturating_duration_since(Instant::now()))?;
        let arrived = connection.arrived();
        for piece in arrived.chunks(Pattern::PIECE) {
            let expected = back.piece(received, piece.len());
            let wrong = piece.iter().zip(expected).filter(|(got, expected)| got != expected).count();
            books.mismatched.fetch_add(wrong as u64, Ordering::SeqCst);
            received += piece.len() as u64;
        }
        connection.clear();
        books.received.store(received, Ordering::SeqCst);
        if finished {
            continue;
        }
        if books.stop.load(Ordering::SeqCst) {
            connection.finish();
            finished = true;
            continue;
        }
        owed = (owed + pace.due(Instant::now()) as usize * UNIT).min(Pattern::PIECE);
        while owed > 0 && connection.room() > 0 {
            let count = connection.write(out.piece(sent, owed))?;
            sent += count as u64;
            owed -= count;
        }
        books.sent.store(sent, Ordering::SeqCst);
    }
    Ok(())
}
