//! Counts handshakes on the memory network, in front of the device's socket.

use super::trouble::Trouble;
use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};
use vestibule_engine::packet::{Datagram, Datagrams, TransmitQueue};
use vestibule_platform::{
    capture::quic_handshake,
    socket::{ReceiveReport, SendReport, Socket},
    wait::{Bell, OsHandle, Waitable},
};

/// Handshakes whose repetitions are known: far more than are ever under way at once.
const KNOWN: usize = 256;

/// Counts handshakes begun, each once. Clones are the same counter.
#[derive(Clone, Debug, Default)]
pub(super) struct Initiations(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// What tells the latest handshakes from each other.
    latest: VecDeque<[u8; 36]>,
    count: u64,
}

impl Known {
    fn enter(&mut self, key: [u8; 36]) {
        if self.latest.contains(&key) {
            return;
        }
        if self.latest.len() == KNOWN {
            self.latest.pop_front();
        }
        self.latest.push_back(key);
        self.count += 1;
    }
}

impl Initiations {
    /// Distinct ones so far.
    pub(super) fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    fn look(&self, datagram: &[u8]) {
        if let (148, [1, 0, 0, 0]) = (datagram.len(), &datagram[..4.min(datagram.len())])
            && let Ok(key) = datagram[4..40].try_into()
        {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).enter(key);
        }
        if let Some(key) = quic_handshake(datagram) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).enter(key);
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
    /// What may happen on the way.
    pub trouble: Trouble,
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
        if self.trouble.is_cut() {
            let lost = queue.batches().map(|batch| batch.datagrams() as u64).sum();
            queue.release(usize::MAX);
            return Ok(SendReport { calls: 1, sent: lost, ..SendReport::default() });
        }
        self.socket.send(queue)
    }

    fn receive(&mut self) -> io::Result<impl Datagrams + '_> {
        let cut = self.trouble.is_cut();
        Ok(Arriving { datagrams: self.socket.receive()?, cut })
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

/// What arrives, unless the way is cut.
struct Arriving<D> {
    datagrams: D,
    cut: bool,
}

impl<D: Datagrams> Datagrams for Arriving<D> {
    fn next_datagram(&mut self) -> Option<Datagram<'_>> {
        if self.cut {
            while self.datagrams.next_datagram().is_some() {}
            return None;
        }
        self.datagrams.next_datagram()
    }
}
