//! The stamped datagrams, with the books of both ends in this process.

use super::{packet, planted::Planted, stack::Stack};
use crate::world::{
    host::{
        stamp,
        udp::{End, Report, Stopped},
    },
    scene::{Account, Amount, Glance, Stream},
};
use std::{
    io,
    net::SocketAddrV4,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Longest wait for what is in flight.
const PATIENCE: Duration = Duration::from_secs(5);

/// Both ends' books, and what is asked of them.
pub(super) struct Datagrams {
    pub device: End,
    pub directory: End,
    /// Numbers of the flows from the device, and to it.
    pub flows: (u32, u32),
    started: Instant,
    gaps: Vec<u64>,
    unanswered: u64,
}

/// Where a flow begins and where it ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub local: SocketAddrV4,
    pub remote: SocketAddrV4,
}

impl Datagrams {
    /// Empty books; `number` tells loads apart.
    pub(super) fn new(number: u16) -> Self {
        Self {
            device: End::default(),
            directory: End::default(),
            flows: (u32::from(number) * 2, u32::from(number) * 2 + 1),
            started: Instant::now(),
            gaps: Vec::new(),
            unanswered: 0,
        }
    }

    /// Lets both senders begin. The device is the first: before login, nobody may open a flow towards it.
    pub(super) fn begin(&mut self) {
        self.device.start();
        self.started = Instant::now();
        wait(|| self.directory.report(0).tally.received > 0);
        self.directory.start();
    }

    /// The load at this moment.
    pub(super) fn glance(&self, [up, down]: [u64; 2], streams: [Stream; 2]) -> Glance {
        let (device, directory) = (self.device.look(down), self.directory.look(up));
        Glance { up: (device.sent, directory.seen), down: (directory.sent, device.seen), streams }
    }

    /// The larger of both ends' largest gaps around `moment`.
    pub(super) fn measure_gap(&mut self, moment: u64) -> Option<u64> {
        let gap = self.directory.gap(moment).zip(self.device.gap(moment)).map(|(up, down)| up.max(down));
        match gap {
            Some(gap) => self.gaps.push(gap),
            None => self.unanswered += 1,
        }
        gap
    }

    /// Stops the senders for good, and waits for what is in flight.
    pub(super) fn finish(&self) -> Ways {
        let seconds = self.started.elapsed().as_secs_f64();
        let (from_device, from_directory) = (self.device.stop(), self.directory.stop());
        let settled = |end: &End, sent: u64| -> Report {
            wait(|| end.report(sent).tally.lost == 0);
            // A duplicate of the last packet would come right behind it.
            thread::sleep(Duration::from_millis(50));
            end.report(sent)
        };
        let up = settled(&self.directory, from_device.sent);
        let down = settled(&self.device, from_directory.sent);
        self.device.end();
        self.directory.end();
        Ways { seconds, ways: [(from_device, up), (from_directory, down)] }
    }

    /// The account, with that of the TCP connection's ends.
    pub(super) fn account(self, ways: Ways, streams: [Stream; 2]) -> Account {
        Account {
            seconds: ways.seconds,
            gaps: self.gaps,
            unanswered: self.unanswered,
            ..Account::close(ways.ways, streams)
        }
    }
}

/// What both ways came to.
pub(super) struct Ways {
    seconds: f64,
    ways: [(Stopped, Report); 2],
}

/// One end whose packets are made and read by hand: enters what `stack` gets of the flow `expect`, and starts a thread that
/// sends `flow`.
pub(super) fn by_hand(
    end: &End,
    stack: &Stack,
    Route { local, remote }: Route,
    (flow, expect): (u32, u32),
    amount: Amount,
    mut planted: Planted,
) -> io::Result<JoinHandle<()>> {
    let books = end.clone();
    stack.receive((local, remote), move |payload, at| match payload {
        Some(payload) => books.enter(&[(stamp::read(payload, expect), at)], None),
        None => books.enter(&[], Some("destination unreachable".to_owned())),
    });
    let (end, stack) = (end.clone(), stack.clone());
    let sink = move |datagrams: &[&[u8]]| {
        let send = |bytes: &&&[u8]| planted.send(packet::udp(local, remote, bytes), |packet| stack.send(packet));
        let sent = datagrams.iter().take_while(send).count();
        if sent == 0 { Err(io::Error::other("the adapter's queue is full")) } else { Ok(sent) }
    };
    thread::Builder::new().spawn(move || end.send(flow, amount.mtu, amount.rate, sink))
}

/// Waits until `done`, or patience ends.
pub(super) fn wait(done: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() && Instant::now() < until {
        thread::sleep(Duration::from_millis(2));
    }
}
