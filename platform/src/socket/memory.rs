//! The socket's in-memory twin: a network without limits that keeps the order of all datagrams.

use super::{ReceiveReport, SendReport, Socket};
use crate::wait::{Bell, OsHandle, Waitable};
use std::{
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use vestibule_engine::packet::{Datagram, Datagrams, Ecn, TransmitQueue};

/// Most (merged) datagrams lent in one batch.
const BATCH: usize = 16;

/// A network in memory. Clones are the same network.
#[derive(Clone, Debug, Default)]
pub struct Hub(Arc<Mutex<HashMap<SocketAddr, Inbox>>>);

#[derive(Debug, Default)]
struct Inbox {
    waiting: VecDeque<Arrival>,
    bell: Option<Bell>,
}

#[derive(Debug)]
struct Arrival {
    bytes: Vec<u8>,
    stride: usize,
    source: SocketAddr,
    ecn: Ecn,
}

impl Hub {
    /// An empty network.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A socket at `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// The address is taken, or no port is free.
    pub fn bind(&self, address: SocketAddr) -> io::Result<MemorySocket> {
        let mut inboxes = self.inboxes();
        let mut address = address;
        if address.port() == 0 {
            let free = (49_152..=u16::MAX).find(|port| !inboxes.contains_key(&SocketAddr::new(address.ip(), *port)));
            address.set_port(free.ok_or(io::ErrorKind::AddrInUse)?);
        } else if inboxes.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        inboxes.insert(address, Inbox::default());
        drop(inboxes);
        Ok(MemorySocket {
            hub: self.clone(),
            address,
            bell: None,
            lent: VecDeque::new(),
            current: None,
            report: ReceiveReport::default(),
        })
    }

    fn inboxes(&self) -> MutexGuard<'_, HashMap<SocketAddr, Inbox>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One end of a [`Hub`]. What is sent merged arrives merged, as with GSO and GRO.
#[derive(Debug)]
pub struct MemorySocket {
    hub: Hub,
    address: SocketAddr,
    bell: Option<Bell>,
    lent: VecDeque<Arrival>,
    current: Option<Arrival>,
    report: ReceiveReport,
}

impl Waitable for MemorySocket {
    fn handle(&self) -> Option<OsHandle<'_>> {
        None
    }

    fn attach(&mut self, bell: &Bell) {
        self.bell = Some(bell.clone());
        if let Some(inbox) = self.hub.inboxes().get_mut(&self.address) {
            inbox.bell = Some(bell.clone());
        }
        bell.ring();
    }
}

impl Socket for MemorySocket {
    fn send(&mut self, queue: &mut TransmitQueue) -> io::Result<SendReport> {
        let mut report = SendReport::default();
        let mut inboxes = self.hub.inboxes();
        for batch in queue.batches() {
            let datagrams = batch.datagrams() as u64;
            report.calls += 1;
            match inboxes.get_mut(&batch.destination) {
                None => report.unreachable += datagrams,
                Some(inbox) => {
                    report.sent += datagrams;
                    let arrival = Arrival {
                        bytes: batch.bytes().to_vec(),
                        stride: batch.segment,
                        source: self.address,
                        ecn: batch.ecn,
                    };
                    inbox.waiting.push_back(arrival);
                    if let Some(bell) = &inbox.bell {
                        bell.ring();
                    }
                }
            }
        }
        drop(inboxes);
        queue.release(usize::MAX);
        Ok(report)
    }

    fn receive(&mut self) -> io::Result<impl Datagrams + '_> {
        let mut inboxes = self.hub.inboxes();
        self.report = ReceiveReport { calls: 1, drained: true, ..ReceiveReport::default() };
        self.lent.clear();
        if let Some(inbox) = inboxes.get_mut(&self.address) {
            let count = inbox.waiting.len().min(BATCH);
            self.lent.extend(inbox.waiting.drain(..count));
            self.report.drained = inbox.waiting.is_empty();
        }
        drop(inboxes);
        Ok(Lent { lent: &mut self.lent, current: &mut self.current })
    }

    fn receive_report(&self) -> ReceiveReport {
        self.report
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn rebind_to(&mut self, port: u16) -> io::Result<()> {
        if port != 0 && self.address.port() == port {
            return Ok(());
        }
        let mut fresh = self.hub.bind(SocketAddr::new(self.address.ip(), port))?;
        if let Some(bell) = self.bell.clone() {
            fresh.attach(&bell);
        }
        // The old end takes its address off the network as it drops.
        *self = fresh;
        Ok(())
    }

    /// Nothing routes by marks here.
    fn set_mark(&mut self, _mark: u32) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for MemorySocket {
    fn drop(&mut self) {
        self.hub.inboxes().remove(&self.address);
    }
}

struct Lent<'a> {
    lent: &'a mut VecDeque<Arrival>,
    current: &'a mut Option<Arrival>,
}

impl Datagrams for Lent<'_> {
    fn next_datagram(&mut self) -> Option<Datagram<'_>> {
        *self.current = self.lent.pop_front();
        self.current.as_mut().map(|arrival| Datagram {
            bytes: &mut arrival.bytes,
            stride: arrival.stride,
            source: arrival.source,
            ecn: arrival.ecn,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn receive_all(socket: &mut MemorySocket) -> Vec<(Vec<u8>, usize, SocketAddr, Ecn)> {
        let mut batch = socket.receive().unwrap();
        let mut all = Vec::new();
        while let Some(datagram) = batch.next_datagram() {
            all.push((datagram.bytes.to_vec(), datagram.stride, datagram.source, datagram.ecn));
        }
        all
    }

    #[test]
    fn datagrams_arrive_merged_in_order_with_their_source_and_ecn_field() {
        let hub = Hub::new();
        let mut one = hub.bind("192.0.2.1:51820".parse().unwrap()).unwrap();
        let mut two = hub.bind("192.0.2.2:0".parse().unwrap()).unwrap();
        let (from, to) = (one.local_addr().unwrap(), two.local_addr().unwrap());
        let mut queue = TransmitQueue::new();
        for datagram in [&[1u8; 4][..], &[2; 4], &[3; 2], &[4; 9]] {
            queue.push(to, datagram);
        }
        for (byte, ecn) in [(6, Ecn::Ect0), (7, Ecn::Ce)] {
            queue.reserve(to, ecn, 9, 1).fill(byte);
        }
        queue.push("192.0.2.9:1".parse().unwrap(), &[5; 3]);
        let report = one.send(&mut queue).unwrap();
        assert_eq!((report.sent, report.unreachable, report.blocked), (6, 1, false));
        assert!(queue.is_empty());
        let merged = vec![1, 1, 1, 1, 2, 2, 2, 2, 3, 3];
        let arrived = [
            (merged, 4, from, Ecn::NotEct),
            (vec![4; 9], 9, from, Ecn::NotEct),
            (vec![6; 9], 9, from, Ecn::Ect0),
            (vec![7; 9], 9, from, Ecn::Ce),
        ];
        assert_eq!(receive_all(&mut two), arrived);
        assert!(two.receive_report().drained);
    }

    #[test]
    fn an_address_is_taken_once_and_free_after_drop() {
        let hub = Hub::new();
        let address = "192.0.2.1:51820".parse().unwrap();
        let first = hub.bind(address).unwrap();
        assert_eq!(hub.bind(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(hub.bind(address).is_ok());
    }

    #[test]
    fn rebinding_moves_to_another_port_and_still_rings() {
        let hub = Hub::new();
        let mut end = hub.bind("192.0.2.1:51820".parse().unwrap()).unwrap();
        let bell = Bell::new().unwrap();
        end.attach(&bell);
        let old = end.local_addr().unwrap();
        end.rebind().unwrap();
        let new = end.local_addr().unwrap();
        assert_ne!(old, new);
        let quiet = || crate::wait::wait(&bell, &crate::wait::Interest::default(), Some(std::time::Duration::ZERO));
        quiet().unwrap();
        let mut other = hub.bind("192.0.2.2:0".parse().unwrap()).unwrap();
        let mut queue = TransmitQueue::new();
        queue.push(old, &[0]);
        queue.push(new, &[1]);
        assert_eq!(other.send(&mut queue).unwrap().unreachable, 1);
        assert!(quiet().unwrap().bell);
        assert_eq!(receive_all(&mut end).len(), 1);
    }
}
