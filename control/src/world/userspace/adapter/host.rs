//! A host of memory whose TCP holds its own against a kernel's: smoltcp, at the far side of a memory adapter. Datagrams are
//! sorted by hand.

use super::connection::Connection;
use crate::{
    wire::Wire,
    world::{host::udp::wall_ns, userspace::stack::Stack},
};
use crossbeam_channel::RecvTimeoutError;
use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet},
    socket::tcp,
    time::{Duration as Pause, Instant as Moment},
    wire::{HardwareAddress, IpCidr},
};
use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};
use vestibule_platform::adapter::memory::{HostFrame, MemoryHost};

/// Largest packet sent, and told to the other end: it fits a tunnel of any kind.
const MTU: usize = 1280;
/// A connection's buffer for each way.
const BUFFER: usize = 64 << 10;
/// How long the other end may leave unanswered what it was sent, and how long a program waits for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Longest sleep of the thread that looks at the adapter: what a program does meanwhile may set an earlier time to wake.
const NAP: Duration = Duration::from_millis(20);

type Serve = Arc<dyn Fn(Connection) + Send + Sync>;

/// Clones are the same host.
#[derive(Clone)]
pub(super) struct Host(Arc<Shared>);

struct Shared {
    /// Datagrams.
    stack: Stack,
    tcp: Mutex<Tcp>,
    /// Something has happened to a connection.
    changed: Condvar,
    began: Instant,
}

pub(super) struct Tcp {
    wire: Wire,
    interface: Interface,
    pub(super) sockets: SocketSet<'static>,
    servers: Vec<Server>,
    /// Connections that no program holds any more, and since when.
    leaving: Vec<(SocketHandle, Instant)>,
}

struct Server {
    address: SocketAddrV4,
    /// Waits for the next connection.
    next: SocketHandle,
    serve: Serve,
}

impl Host {
    /// Takes the host's side of an adapter, under `addresses`: two at most.
    pub(super) fn start(link: MemoryHost, addresses: &[Ipv4Addr], name: &str) -> io::Result<Self> {
        let mut wire = Wire::new(link.clone(), MTU);
        let mut seed = [0; 8];
        vestibule_platform::clock::entropy(&mut seed)?;
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = u64::from_be_bytes(seed);
        let mut interface = Interface::new(config, &mut wire, Moment::ZERO);
        let mut room = true;
        interface.update_ip_addrs(|own| {
            room = addresses.iter().all(|address| own.push(IpCidr::new((*address).into(), 24)).is_ok());
        });
        // There is no link below on which a next hop would be looked for.
        let router = addresses.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED);
        room &= interface.routes_mut().add_default_ipv4_route(router).is_ok();
        if !room {
            return Err(io::Error::other(format!("a host has no room for the addresses {addresses:?}")));
        }
        let tcp =
            Tcp { wire, interface, sockets: SocketSet::new(Vec::new()), servers: Vec::new(), leaving: Vec::new() };
        let (stack, began) = (Stack::idle(link.clone()), Instant::now());
        let host = Self(Arc::new(Shared { stack, tcp: Mutex::new(tcp), changed: Condvar::new(), began }));
        let weak = Arc::downgrade(&host.0);
        thread::Builder::new().name(format!("{name}'s packets")).spawn(move || {
            // Ends with the last handle, or with the adapter.
            let (frames, mut pause) = (link.frames(), NAP);
            loop {
                let first = match frames.recv_timeout(pause) {
                    Ok(frame) => Some(frame),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return,
                };
                let Some(shared) = weak.upgrade() else { return };
                let host = Self(shared);
                let mut tcp = host.tcp();
                for frame in first.into_iter().chain(frames.try_iter()) {
                    host.take(&mut tcp, frame);
                }
                pause = host.turn(tcp).min(NAP);
            }
        })?;
        Ok(host)
    }

    /// Its datagrams.
    pub(super) fn stack(&self) -> &Stack {
        &self.0.stack
    }

    /// From now on each connection to `address` is served on a thread of its own.
    pub(super) fn serve(&self, address: SocketAddrV4, serve: impl Fn(Connection) + Send + Sync + 'static) {
        let mut tcp = self.tcp();
        let next = tcp.listen(address);
        tcp.servers.push(Server { address, next, serve: Arc::new(serve) });
    }

    pub(super) fn tcp(&self) -> MutexGuard<'_, Tcp> {
        self.0.tcp.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something has happened to a connection, or `patience` ends.
    pub(super) fn wait<'a>(&self, tcp: MutexGuard<'a, Tcp>, patience: Duration) -> MutexGuard<'a, Tcp> {
        self.0.changed.wait_timeout(tcp, patience).unwrap_or_else(PoisonError::into_inner).0
    }

    fn take(&self, tcp: &mut Tcp, frame: HostFrame) {
        if !self.0.stack.hand(&frame, wall_ns()) {
            tcp.wire.take(frame);
        }
    }

    /// Sends and takes what there is, and says when to do so again at the latest.
    pub(super) fn turn(&self, mut tcp: MutexGuard<'_, Tcp>) -> Duration {
        let now = Moment::from_micros(i64::try_from(self.0.began.elapsed().as_micros()).unwrap_or(i64::MAX));
        let Tcp { wire, interface, sockets, .. } = &mut *tcp;
        interface.poll(now, wire, sockets);
        let pause = interface.poll_delay(now, sockets);
        let accepted = tcp.accept();
        tcp.let_go();
        drop(tcp);
        self.0.changed.notify_all();
        for (handle, serve) in accepted {
            let connection = Connection::new(self.clone(), handle);
            // Without a thread the connection ends at once, and the other end sees that.
            let _ = thread::Builder::new().spawn(move || serve(connection));
        }
        pause.map_or(NAP, |pause| Duration::from_micros(pause.total_micros()))
    }
}

impl Tcp {
    fn listen(&mut self, address: SocketAddrV4) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_timeout(Some(Pause::from_micros(PATIENCE.as_micros() as u64)));
        socket.set_nagle_enabled(false);
        socket.set_congestion_control(tcp::CongestionControl::Cubic);
        // Port zero alone is refused, and then nobody is served.
        let _ = socket.listen(address);
        self.sockets.add(socket)
    }

    /// Connections that stand now, each with its server; another socket waits in its place.
    fn accept(&mut self) -> Vec<(SocketHandle, Serve)> {
        let mut accepted = Vec::new();
        for at in 0..self.servers.len() {
            let Server { address, next, serve } = &self.servers[at];
            let (address, next, serve) = (*address, *next, serve.clone());
            match self.sockets.get::<tcp::Socket<'_>>(next).state() {
                tcp::State::Listen | tcp::State::SynReceived => continue,
                // Whoever began to connect fell silent.
                tcp::State::Closed => drop(self.sockets.remove(next)),
                _ => accepted.push((next, serve)),
            }
            self.servers[at].next = self.listen(address);
        }
        accepted
    }

    /// No program holds this connection any more: what it has written is still sent.
    pub(super) fn leave(&mut self, handle: SocketHandle) {
        self.sockets.get_mut::<tcp::Socket<'_>>(handle).close();
        self.leaving.push((handle, Instant::now()));
    }

    fn let_go(&mut self) {
        let sockets = &mut self.sockets;
        self.leaving.retain(|(handle, since)| {
            let state = sockets.get::<tcp::Socket<'_>>(*handle).state();
            let stays = !matches!(state, tcp::State::Closed | tcp::State::TimeWait) && since.elapsed() < PATIENCE;
            if !stays {
                sockets.remove(*handle);
            }
            stays
        });
    }
}
