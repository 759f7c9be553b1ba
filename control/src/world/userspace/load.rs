//! The load of the world of memory: the same stamped datagrams, and a TCP stream both ways, made by hand.

use super::{packet, stack::Stack, tcp::Connection};
use crate::world::{
    host::{
        stamp,
        stream::Pattern,
        udp::{End, Pace, Report},
    },
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
    time::{Duration, Instant},
};

/// Longest wait for what is in flight.
const PATIENCE: Duration = Duration::from_secs(5);

/// The running load.
pub(super) struct Load {
    device: End,
    directory: End,
    client: Arc<Books>,
    server: Arc<Books>,
    threads: Vec<JoinHandle<()>>,
    started: Instant,
    gaps: Vec<u64>,
    unanswered: u64,
}

/// Trouble that is made on purpose: one packet lost, one doubled, one overtaken by the next.
struct Planted {
    wanted: bool,
    number: u64,
    held: Option<Vec<u8>>,
}

impl Planted {
    const LOST: u64 = 100;
    const DOUBLED: u64 = 200;
    const OVERTAKEN: u64 = 300;

    fn when(wanted: bool) -> Self {
        Self { wanted, number: 0, held: None }
    }

    /// Sends a packet by `send`, or does with it what is planned. False when it was not taken.
    fn send(&mut self, packet: Vec<u8>, send: impl Fn(Vec<u8>) -> bool) -> bool {
        if !self.wanted {
            return send(packet);
        }
        self.number += 1;
        match self.number {
            Self::LOST => true,
            Self::DOUBLED => send(packet.clone()) && send(packet),
            Self::OVERTAKEN => {
                self.held = Some(packet);
                true
            }
            _ => send(packet) && self.held.take().is_none_or(send),
        }
    }
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

fn v4(address: IpAddr) -> io::Result<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(address) => Err(io::Error::other(format!("expected an IPv4 address, got {address}"))),
    }
}

impl Load {
    pub(super) fn start(near: &Stack, far: &Stack, inner: IpAddr, amount: Amount, number: u16) -> io::Result<Self> {
        let (inner, server) = (v4(inner)?, v4(DIRECTORY)?);
        let (here, there) = (SocketAddrV4::new(inner, 7000 + number), SocketAddrV4::new(server, 7000 + number));
        let (up, down) = (u32::from(number) * 2, u32::from(number) * 2 + 1);
        let (device, directory) = (End::default(), End::default());
        let mut threads = Vec::new();
        for (end, stack, local, remote, flow, expect) in
            [(&device, near, here, there, up, down), (&directory, far, there, here, down, up)]
        {
            let books = end.clone();
            stack.receive((local, remote), move |payload, at| match payload {
                Some(payload) => books.enter(&[(stamp::read(payload, expect), at)], None),
                None => books.enter(&[], Some("destination unreachable".to_owned())),
            });
            let (end, stack) = (end.clone(), stack.clone());
            let mut planted = Planted::when(amount.plant && flow == up);
            let sink = move |datagrams: &[&[u8]]| {
                let send =
                    |bytes: &&&[u8]| planted.send(packet::udp(local, remote, bytes), |packet| stack.send(packet));
                let sent = datagrams.iter().take_while(send).count();
                if sent == 0 { Err(io::Error::other("the adapter's queue is full")) } else { Ok(sent) }
            };
            threads.push(thread::Builder::new().spawn(move || end.send(flow, amount.mtu, amount.rate, sink))?);
        }

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

        // The device begins: before login, nobody may open a flow towards it.
        device.start();
        let load = Self {
            device,
            directory,
            client: client_books,
            server: server_books,
            threads,
            started: Instant::now(),
            gaps: Vec::new(),
            unanswered: 0,
        };
        wait(|| load.directory.report(0).tally.received > 0);
        load.directory.start();
        Ok(load)
    }
}

impl Traffic for Load {
    fn stream(&mut self) -> Result<Stream, SceneError> {
        Ok(self.client.read())
    }

    fn glance(&mut self, [up, down]: [u64; 2]) -> Result<Glance, SceneError> {
        let (device, directory) = (self.device.look(down), self.directory.look(up));
        let streams = [self.client.read(), self.server.read()];
        Ok(Glance { up: (device.sent, directory.seen), down: (directory.sent, device.seen), streams })
    }

    fn measure_gap(&mut self, moment: u64) -> Result<Option<u64>, SceneError> {
        let gap = self.directory.gap(moment).zip(self.device.gap(moment)).map(|(up, down)| up.max(down));
        match gap {
            Some(gap) => self.gaps.push(gap),
            None => self.unanswered += 1,
        }
        Ok(gap)
    }

    fn finish(self: Box<Self>) -> Result<Account, SceneError> {
        let seconds = self.started.elapsed().as_secs_f64();
        let (from_device, from_directory) = (self.device.stop(), self.directory.stop());
        let settled = |end: &End, sent: u64| -> Report {
            wait(|| end.report(sent).tally.lost == 0);
            thread::sleep(Duration::from_millis(50));
            end.report(sent)
        };
        let up = settled(&self.directory, from_device.sent);
        let down = settled(&self.device, from_directory.sent);
        self.device.end();
        self.directory.end();
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
        let (client, server) = (self.client.read(), self.server.read());
        let missing = client.sent.abs_diff(server.received) + server.sent.abs_diff(client.received);
        let mut troubles = Vec::new();
        for (way, sent, report) in [("up", from_device.sent, &up), ("down", from_directory.sent, &down)] {
            if !report.missing.is_empty() {
                troubles.push(format!("UDP {way}: missing (number, count) {:?} of {sent}", report.first_missing()));
            }
            troubles.extend(report.error.iter().map(|error| format!("UDP {way}: instead of a packet: {error}")));
        }
        Ok(Account {
            troubles,
            errors: up.errors + down.errors,
            up: up.tally,
            down: down.tally,
            missing: [up.missing, down.missing],
            refused: from_device.refused + from_directory.refused,
            forgiven: from_device.forgiven + from_directory.forgiven,
            tcp_bytes: client.received + server.received,
            tcp_mismatched: client.mismatched + server.mismatched + missing,
            tcp_resets: client.resets + server.resets,
            seconds,
            gaps: self.gaps,
            unanswered: self.unanswered,
            ..Account::default()
        })
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

/// Waits until `done`, or patience ends.
fn wait(done: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() && Instant::now() < until {
        thread::sleep(Duration::from_millis(2));
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
