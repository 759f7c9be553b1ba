//! TCP over the tunnel: a thread with a userspace stack between tasks and the memory adapter of the packet worker.
//!
//! `exchange` moves bytes between a socket and its pipes.

mod exchange;

use super::DialError;
use super::dial::{Dialer, Order, Pipes};
use crate::wire::Wire;
use crossbeam_channel::{Receiver, select, unbounded};
use exchange::exchange;
use ipnet::IpNet;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::{dns, tcp};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{DnsQueryType, HardwareAddress, IpAddress, IpCidr, IpListenEndpoint};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::sync::oneshot;
use vestibule_platform::adapter::memory::MemoryHost;

/// A connection's buffer for each way: 50 Mb/s at 40 ms.
const BUFFER: usize = 256 << 10;
/// Most connections at a time.
const MAX_CONNECTIONS: usize = 256;
/// How long a connection may take to be answered, and later may be silent while something waits for an answer.
const ANSWER: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(120);
/// Where ports of ours begin.
const FIRST_PORT: u16 = 49_152;

/// Starts stacks.
pub(in crate::masque) struct Stack;

impl Stack {
    /// Starts a thread that speaks TCP through `host`. Names are asked of `resolver`.
    pub(in crate::masque) fn start(host: MemoryHost, mtu: usize, resolver: Option<IpAddr>) -> io::Result<Dialer> {
        let (orders, received) = unbounded();
        let mut seed = [0; 8];
        vestibule_platform::clock::entropy(&mut seed)?;
        let seed = u64::from_be_bytes(seed);
        std::thread::Builder::new()
            .name("front-tcp".into())
            .spawn(move || Net::new(host, mtu, resolver, seed).run(&received))?;
        Ok(Dialer { orders, resolves: resolver.is_some() })
    }
}

/// What a connection waits for.
enum Stage {
    /// Since then.
    Connecting(Instant, oneshot::Sender<Result<Arc<Pipes>, DialError>>),
    Open {
        closed: bool,
    },
}

struct Link {
    handle: SocketHandle,
    pipes: Arc<Pipes>,
    stage: Stage,
}

struct Query {
    handle: dns::QueryHandle,
    name: String,
    /// To be asked next, when this one brings nothing.
    next: Option<DnsQueryType>,
    answer: oneshot::Sender<Result<IpAddr, DialError>>,
}

struct Net {
    wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
    resolver: Option<SocketHandle>,
    links: Vec<Link>,
    queries: Vec<Query>,
    next_port: u16,
    began: std::time::Instant,
}

impl Net {
    fn new(host: MemoryHost, mtu: usize, resolver: Option<IpAddr>, seed: u64) -> Self {
        let mut wire = Wire::new(host, mtu);
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let interface = Interface::new(config, &mut wire, Instant::ZERO);
        let mut sockets = SocketSet::new(Vec::new());
        let resolver = resolver.map(|server| sockets.add(dns::Socket::new(&[IpAddress::from(server)], Vec::new())));
        let next_port = FIRST_PORT + (seed >> 48) as u16 % (u16::MAX - FIRST_PORT);
        let began = std::time::Instant::now();
        Self { wire, interface, sockets, resolver, links: Vec::new(), queries: Vec::new(), next_port, began }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX))
    }

    /// Runs until no task can ask any more, or the worker is gone.
    fn run(mut self, orders: &Receiver<Order>) {
        let frames = self.wire.frames();
        loop {
            let now = self.now();
            loop {
                self.interface.poll(now, &mut self.wire, &mut self.sockets);
                if !self.pump() {
                    break;
                }
            }
            self.answer_queries();
            let pause = self.interface.poll_delay(now, &self.sockets);
            let pause = pause.map_or(std::time::Duration::from_secs(60), |pause| {
                std::time::Duration::from_micros(pause.total_micros())
            });
            select! {
                recv(orders) -> order => match order {
                    Ok(order) => self.carry_out(order),
                    Err(_) => return,
                },
                recv(frames) -> frame => match frame {
                    Ok(frame) => self.wire.take(frame),
                    Err(_) => return,
                },
                default(pause) => {}
            }
            while let Ok(order) = orders.try_recv() {
                self.carry_out(order);
            }
            while let Ok(frame) = frames.try_recv() {
                self.wire.take(frame);
            }
        }
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Look => {}
            Order::Addresses(addresses) => self.set_addresses(&addresses),
            Order::Connect(to, answer) => match self.connect(to) {
                Ok(handle) => {
                    let (pipes, stage) = (Arc::default(), Stage::Connecting(self.now(), answer));
                    self.links.push(Link { handle, pipes, stage });
                }
                // Whoever asked may be gone.
                Err(error) => drop(answer.send(Err(error))),
            },
            Order::Resolve(name, answer) => {
                let versions = self.versions();
                let mut versions = versions.iter().copied();
                match (versions.next(), versions.next()) {
                    (Some(first), next) => self.ask(name, first, next, answer),
                    (None, _) => drop(answer.send(Err(DialError::NoAddress))),
                }
            }
        }
    }

    fn set_addresses(&mut self, addresses: &[IpNet]) {
        self.interface.update_ip_addrs(|own| {
            own.clear();
            for address in addresses {
                // One of each version has a place; more are not needed to connect.
                let _ = own.push(IpCidr::new(address.addr().into(), address.prefix_len()));
            }
        });
        let routes = self.interface.routes_mut();
        for address in addresses {
            // There is no link below on which a next hop would be looked for.
            let _ = match address.addr() {
                IpAddr::V4(v4) => routes.add_default_ipv4_route(v4).map(drop),
                IpAddr::V6(v6) => routes.add_default_ipv6_route(v6).map(drop),
            };
        }
    }

    /// What names are asked for, by the addresses we have.
    fn versions(&self) -> Vec<DnsQueryType> {
        let v4 = self.interface.ipv4_addr().map(|_| DnsQueryType::A);
        let v6 = self.interface.ip_addrs().iter().any(|own| matches!(own, IpCidr::Ipv6(_)));
        v4.into_iter().chain(v6.then_some(DnsQueryType::Aaaa)).collect()
    }

    fn connect(&mut self, to: SocketAddr) -> Result<SocketHandle, DialError> {
        if self.links.len() >= MAX_CONNECTIONS {
            return Err(DialError::Full);
        }
        let own = self.interface.ip_addrs().iter().map(|own| own.address());
        let mut own = own.filter(|own| matches!(own, IpAddress::Ipv4(_)) == to.is_ipv4());
        let address = own.next().ok_or(DialError::NoAddress)?;
        let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_timeout(Some(ANSWER));
        socket.set_nagle_enabled(false);
        socket.set_congestion_control(tcp::CongestionControl::Cubic);
        let port = self.next_port;
        self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
        let local = IpListenEndpoint { addr: Some(address), port };
        socket.connect(self.interface.context(), to, local).map_err(|_| DialError::NoAddress)?;
        Ok(self.sockets.add(socket))
    }

    /// Moves bytes between sockets and pipes; true when something moved.
    fn pump(&mut self) -> bool {
        let (mut moved, now) = (false, self.now());
        let links = std::mem::take(&mut self.links);
        for mut link in links {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(link.handle);
            if let Stage::Connecting(..) = link.stage {
                link.stage = match (link.stage, socket.state()) {
                    (Stage::Connecting(since, answer), tcp::State::Closed) => {
                        let error = if now >= since + ANSWER { DialError::Timeout } else { DialError::Refused };
                        let _ = answer.send(Err(error));
                        self.sockets.remove(link.handle);
                        continue;
                    }
                    (Stage::Connecting(_, answer), _) if socket.may_send() => {
                        socket.set_timeout(Some(PATIENCE));
                        if answer.send(Ok(link.pipes.clone())).is_err() {
                            link.pipes.up.break_off();
                        }
                        Stage::Open { closed: false }
                    }
                    (stage, _) => stage,
                };
            }
            if let Stage::Open { closed } = &mut link.stage {
                moved |= exchange(socket, &link.pipes, closed);
                if matches!(socket.state(), tcp::State::Closed | tcp::State::TimeWait) && !socket.can_recv() {
                    // What is left to say, as the reset of an aborted connection, is said first.
                    if socket.remote_endpoint().is_none() || socket.state() == tcp::State::TimeWait {
                        self.sockets.remove(link.handle);
                        continue;
                    }
                }
            }
            self.links.push(link);
        }
        moved
    }

    fn ask(
        &mut self,
        name: String,
        wanted: DnsQueryType,
        next: Option<DnsQueryType>,
        answer: oneshot::Sender<Result<IpAddr, DialError>>,
    ) {
        let Some(resolver) = self.resolver else {
            let _ = answer.send(Err(DialError::NoResolver));
            return;
        };
        let socket = self.sockets.get_mut::<dns::Socket<'_>>(resolver);
        match socket.start_query(self.interface.context(), &name, wanted) {
            Ok(handle) => self.queries.push(Query { handle, name, next, answer }),
            Err(_) => drop(answer.send(Err(DialError::Name))),
        }
    }

    fn answer_queries(&mut self) {
        let Some(resolver) = self.resolver else { return };
        for query in std::mem::take(&mut self.queries) {
            let socket = self.sockets.get_mut::<dns::Socket<'_>>(resolver);
            let first = match socket.get_query_result(query.handle) {
                Err(dns::GetQueryResultError::Pending) => {
                    self.queries.push(query);
                    continue;
                }
                Ok(addresses) => addresses.first().copied(),
                Err(dns::GetQueryResultError::Failed) => None,
            };
            match (first, query.next) {
                (Some(address), _) => drop(query.answer.send(Ok(address.into()))),
                (None, Some(next)) => self.ask(query.name, next, None, query.answer),
                (None, None) => drop(query.answer.send(Err(DialError::Name))),
            }
        }
    }
}
