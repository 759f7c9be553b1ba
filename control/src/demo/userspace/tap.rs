//! Counts handshakes on the memory network, in front of the device's socket.

use std::{
    collections::HashSet,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};
use vestibule_engine::packet::{Datagrams, TransmitQueue};
use vestibule_platform::{
    capture::quic_handshake,
    socket::{ReceiveReport, SendReport, Socket},
    wait::{Bell, OsHandle, Waitable},
};

/// What tells each handshake begun from the others. Clones are the same counter.
#[derive(Clone, Debug, Default)]
pub(super) struct Initiations(Arc<Mutex<HashSet<[u8; 36]>>>);

impl Initiations {
    /// Distinct ones so far.
    pub(super) fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    fn look(&self, datagram: &[u8]) {
        if let (148, [1, 0, 0, 0]) = (datagram.len(), &datagram[..4.min(datagram.len())])
            && let Ok(key) = datagram[4..40].try_into()
        {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        }
        if let Some(key) = quic_handshake(datagram) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        }
    }
}

/// A socket with a counter of what it sends.
#[derive(Debug)]
pub(super) struct Tapped<S> {
    /// The socket.
    pub socket: S,
    /// The counter.
    pub counter: Initiations,
}

impl<S: Waitable> Waitable for Tapped<S> {
    fn handle(&self) -> Option<OsHandle<'_>> {
        self.socket.handle()
    }

    fn attach(&mut self, bell: &Bell) {
        self.socket.attach(bell);
    }
}

impl<S: Socket> Socket for Tapped<S> {
    fn send(&mut self, queue: &mut TransmitQueue) -> io::Result<SendReport> {
        for batch in queue.batches() {
            batch.bytes().chunks(batch.segment.max(1)).for_each(|datagram| self.counter.look(datagram));
        }
        self.socket.send(queue)
    }

    fn receive(&mut self) -> io::Result<impl Datagrams + '_> {
        self.socket.receive()
    }

    fn receive_report(&self) -> ReceiveReport {
        self.socket.receive_report()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn rebind_to(&mut self, port: u16) -> io::Result<()> {
        self.socket.rebind_to(port)
    }

    fn set_mark(&mut self, mark: u32) -> io::Result<()> {
        self.socket.set_mark(mark)
    }
}
