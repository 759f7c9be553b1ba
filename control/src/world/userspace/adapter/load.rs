//! The load between kernel sockets on the device and the host of memory: stamped datagrams, and TCP whose every byte is
//! checked.

use super::{
    super::{
        datagrams::{Datagrams, Route, by_hand, wait},
        load::v4,
        planted::Planted,
    },
    host::Host,
};
use crate::world::{
    drops::{self, Counters},
    host::{
        stream::{self, ACCEPTER, OPENER},
        udp,
    },
    intranet::Intranet,
    probe,
    scene::{Account, Amount, Glance, SceneError, Stream, Traffic},
};
use std::{
    io,
    net::{IpAddr, SocketAddr, SocketAddrV4},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use vestibule_platform::measure::{Meter, Sender};

/// How long a system may take to let programs use an address that it has just been given.
const NEW_ADDRESS: Duration = Duration::from_secs(5);

/// The running load.
pub(super) struct Load {
    datagrams: Datagrams,
    client: stream::End,
    server: stream::End,
    threads: Vec<JoinHandle<()>>,
    /// The kernel's counters when it began.
    drops: Counters,
    retransmitted: u64,
}

impl Load {
    /// Starts it between the device's address `inner` and the directory server, which `far` plays.
    pub(super) fn start(
        far: &Host,
        intranet: Intranet,
        inner: IpAddr,
        amount: Amount,
        number: u16,
    ) -> io::Result<Self> {
        let directory = v4(intranet.directory())?;
        let (here, there) = (SocketAddrV4::new(v4(inner)?, 7000 + number), SocketAddrV4::new(directory, 7000 + number));
        let meter = patiently(|| Meter::open(here.into(), there.into(), udp::BUFFER))?;
        let mut datagrams = Datagrams::new(number);
        let (up, down) = datagrams.flows;
        let back = Route { local: there, remote: here };
        let far_end = by_hand(&datagrams.directory, far.stack(), back, (down, up), amount, Planted::when(false))?;
        let mut threads = vec![far_end, send(&datagrams, meter.sender()?, amount)?];
        let end = datagrams.device.clone();
        threads.push(thread::Builder::new().spawn(move || udp::receive(meter, &end, down))?);

        let served = SocketAddrV4::new(directory, 3890 + number);
        let (client, server) = (stream::End::default(), stream::End::default());
        let books = server.clone();
        far.serve(served, move |connection| books.carry(Ok(connection), ACCEPTER, amount.tcp_rate));
        let books = client.clone();
        threads.push(thread::Builder::new().spawn(move || {
            let connection = probe::connect_from(inner, SocketAddr::from(served)).and_then(stream::undelayed);
            let waiting = connection.and_then(|connection| connection.set_read_timeout(None).map(|()| connection));
            books.carry(waiting, OPENER, amount.tcp_rate);
        })?);

        let (drops, retransmitted) = (drops::read(), drops::retransmitted());
        datagrams.begin();
        Ok(Self { datagrams, client, server, threads, drops, retransmitted })
    }
}

/// Starts the device's sender.
fn send(datagrams: &Datagrams, sender: Sender, amount: Amount) -> io::Result<JoinHandle<()>> {
    let (end, flow) = (datagrams.device.clone(), datagrams.flows.0);
    let mut planted = Planted::when(amount.plant);
    let sink = move |datagrams: &[&[u8]]| {
        if !amount.plant {
            return sender.send(datagrams);
        }
        let send = |datagram: &&&[u8]| planted.send(datagram.to_vec(), |datagram| sender.send(&[&datagram]).is_ok());
        match datagrams.iter().take_while(send).count() {
            0 => Err(io::Error::other("the kernel's queue is full")),
            count => Ok(count),
        }
    };
    thread::Builder::new().spawn(move || end.send(flow, amount.mtu, amount.rate, sink))
}

/// Tries again while the system looks whether a new address is another host's, too, as Windows does.
fn patiently<T>(mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let until = Instant::now() + NEW_ADDRESS;
    loop {
        match open() {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable && Instant::now() < until => {
                thread::sleep(Duration::from_millis(50));
            }
            opened => return opened,
        }
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
        self.client.stop();
        self.server.stop();
        self.client.wait_for_other();
        self.server.wait_for_other();
        wait(|| self.threads.iter().all(JoinHandle::is_finished));
        let streams = [self.client.read(), self.server.read()];
        Ok(Account {
            kernel_drops: drops::growth(&self.drops, &drops::read()),
            tcp_retransmitted: drops::retransmitted().saturating_sub(self.retransmitted),
            ..self.datagrams.account(ways, streams)
        })
    }
}
