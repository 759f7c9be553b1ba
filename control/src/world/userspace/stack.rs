//! A host without a kernel: sends and sorts packets at the far side of a memory adapter.

use super::packet::{self, ACK, Packet, RST, SYN};
use crate::world::host::udp::wall_ns;
use crossbeam_channel::{Sender, unbounded};
use std::{
    collections::HashMap,
    io,
    net::SocketAddrV4,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};
use vestibule_platform::adapter::memory::{HostFrame, MemoryHost};

use super::tcp::{Connection, Segment};

/// The number of UDP in an IP header.
const UDP: u8 = 17;

/// A flow as this host sees it: own address, the other's.
pub(super) type Flow = (SocketAddrV4, SocketAddrV4);
/// Takes a datagram's payload and its arrival time; `None` for an error in its place.
type Datagrams = Box<dyn FnMut(Option<&[u8]>, u64) + Send>;
type Server = Arc<dyn Fn(Connection) + Send + Sync>;

/// Clones are the same host.
#[derive(Clone)]
pub(super) struct Stack(Arc<Shared>);

struct Shared {
    link: MemoryHost,
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    connections: HashMap<Flow, Sender<Segment>>,
    servers: HashMap<SocketAddrV4, Server>,
    datagrams: HashMap<Flow, Datagrams>,
    next_port: u16,
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stack")
    }
}

impl Stack {
    /// Takes the host's side of an adapter.
    pub(super) fn start(link: MemoryHost, name: &str) -> io::Result<Self> {
        let stack = Self::idle(link);
        let weak = Arc::downgrade(&stack.0);
        thread::Builder::new().name(format!("{name}'s packets")).spawn(move || {
            // Ends with the last handle.
            while let Some(shared) = weak.upgrade() {
                if let Some(frame) = shared.link.receive(Duration::from_millis(50)) {
                    let stack = Self(shared);
                    let at = wall_ns();
                    packet::each(&frame, |packet| stack.sort(packet, at));
                }
            }
        })?;
        Ok(stack)
    }

    /// A host that gets no more than what it is [handed](Self::hand).
    pub(super) fn idle(link: MemoryHost) -> Self {
        Self(Arc::new(Shared { link, tables: Mutex::default() }))
    }

    /// Takes the datagrams of a frame that arrived `at` a time, and errors about them. False when it is made of anything else.
    pub(super) fn hand(&self, frame: &HostFrame, at: u64) -> bool {
        let mut taken = false;
        packet::each(frame, |packet| {
            if let Packet::Udp { .. } | Packet::Unreachable { protocol: UDP, .. } = packet {
                taken = true;
                self.sort(packet, at);
            }
        });
        taken
    }

    /// Sends a packet; false when the adapter has no room.
    pub(super) fn send(&self, packet: Vec<u8>) -> bool {
        self.0.link.send(packet)
    }

    /// From now on `take` gets the datagrams of `flow`.
    pub(super) fn receive(&self, flow: Flow, take: impl FnMut(Option<&[u8]>, u64) + Send + 'static) {
        self.tables().datagrams.insert(flow, Box::new(take));
    }

    /// From now on each connection to `address` is served on a thread of its own.
    pub(super) fn serve(&self, address: SocketAddrV4, server: impl Fn(Connection) + Send + Sync + 'static) {
        self.tables().servers.insert(address, Arc::new(server));
    }

    /// A flow from `local` to `remote` on a port of its own, and what arrives in it.
    pub(super) fn open(
        &self,
        local: std::net::Ipv4Addr,
        remote: SocketAddrV4,
    ) -> (Flow, crossbeam_channel::Receiver<Segment>) {
        let mut tables = self.tables();
        tables.next_port = tables.next_port.wrapping_add(1) | 0x8000;
        let flow = (SocketAddrV4::new(local, tables.next_port), remote);
        let (segments, inbox) = unbounded();
        tables.connections.insert(flow, segments);
        (flow, inbox)
    }

    /// Forgets a connection.
    pub(super) fn close(&self, flow: Flow) {
        self.tables().connections.remove(&flow);
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sort(&self, packet: Packet<'_>, at: u64) {
        match packet {
            Packet::Udp { source, destination, payload } => {
                if let Some(take) = self.tables().datagrams.get_mut(&(destination, source)) {
                    take(Some(payload), at);
                }
            }
            Packet::Unreachable { protocol: UDP, source, destination } => {
                if let Some(take) = self.tables().datagrams.get_mut(&(source, destination)) {
                    take(None, at);
                }
            }
            Packet::Unreachable { source, destination, .. } => self.pass((source, destination), Segment::Unreachable),
            Packet::Tcp { source, destination, seq, ack, flags, payload } => {
                let flow = (destination, source);
                if flags & (SYN | ACK) == SYN {
                    return self.accept(flow, seq);
                }
                self.pass(flow, Segment::Data { seq, ack, flags, payload: payload.to_vec() });
            }
        }
    }

    fn pass(&self, flow: Flow, segment: Segment) {
        if let Some(connection) = self.tables().connections.get(&flow) {
            // Its owner may just have gone.
            let _ = connection.send(segment);
        }
    }

    fn accept(&self, flow: Flow, seq: u32) {
        let mut tables = self.tables();
        let Some(server) = tables.servers.get(&flow.0).cloned() else {
            drop(tables);
            self.send(packet::tcp(flow.0, flow.1, (0, seq.wrapping_add(1), RST | ACK), &[]));
            return;
        };
        if tables.connections.contains_key(&flow) {
            return;
        }
        let (segments, inbox) = unbounded();
        tables.connections.insert(flow, segments);
        drop(tables);
        let stack = self.clone();
        // Without a thread the caller's connection attempt runs into its time-out, and says so.
        let _ = thread::Builder::new().spawn(move || server(Connection::accepted(stack, flow, inbox, seq)));
    }
}
