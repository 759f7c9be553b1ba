//! Datagrams on their way from one engine to another.

use bytes::BytesMut;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use vestibule_engine::core::Engine;
use vestibule_engine::packet::{Datagram, Datagrams, Ecn, GivenDatagram};

/// What an engine wanted to send, kept so that it can be lent more than once.
#[derive(Debug, Default)]
pub struct Parcel {
    bytes: Vec<u8>,
    /// Length, stride, source.
    datagrams: Vec<(usize, usize, SocketAddr)>,
}

impl Parcel {
    /// Takes all that waits in an engine's queue.
    #[must_use]
    pub fn take(sender: &mut Engine) -> Self {
        let mut parcel = Self::default();
        parcel.add(sender);
        parcel
    }

    /// Takes all that waits in an engine's queue, behind what is here already.
    pub fn add(&mut self, sender: &mut Engine) {
        for batch in sender.transmits().batches() {
            self.bytes.extend_from_slice(batch.bytes());
            self.datagrams.push((batch.bytes().len(), batch.segment, other_end(batch.destination)));
        }
        sender.transmits().release(usize::MAX);
    }

    /// How many (merged) datagrams there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// True without any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Gives all of it away, as the socket does with datagrams of QUIC's alone, in memory that is used again as soon as
    /// nobody holds what was in it.
    #[must_use]
    pub fn give(self, memory: &mut BytesMut) -> Given {
        memory.clear();
        memory.extend_from_slice(&self.bytes);
        Given { bytes: memory.split(), datagrams: self.datagrams.into_iter(), lent: BytesMut::new() }
    }

    /// Lends all of it as one batch from a socket.
    pub fn lend(&mut self) -> Lent<'_> {
        Lent { bytes: &mut self.bytes, datagrams: self.datagrams.iter() }
    }
}

/// A parcel's datagrams.
#[derive(Debug)]
pub struct Lent<'a> {
    bytes: &'a mut [u8],
    datagrams: std::slice::Iter<'a, (usize, usize, SocketAddr)>,
}

impl Datagrams for Lent<'_> {
    fn next_datagram(&mut self) -> Option<Datagram<'_>> {
        let &(len, stride, source) = self.datagrams.next()?;
        let (bytes, rest) = std::mem::take(&mut self.bytes).split_at_mut(len);
        self.bytes = rest;
        Some(Datagram { bytes, stride, source, ecn: Ecn::NotEct })
    }
}

/// A parcel's datagrams and their memory.
#[derive(Debug)]
pub struct Given {
    bytes: BytesMut,
    datagrams: std::vec::IntoIter<(usize, usize, SocketAddr)>,
    lent: BytesMut,
}

impl Datagrams for Given {
    fn next_datagram(&mut self) -> Option<Datagram<'_>> {
        let (len, stride, source) = self.datagrams.next()?;
        self.lent = self.bytes.split_to(len);
        Some(Datagram { bytes: &mut self.lent, stride, source, ecn: Ecn::NotEct })
    }

    fn give_datagram(&mut self, wanted: impl Fn(&[u8], usize) -> bool) -> Option<GivenDatagram> {
        let &(len, stride, source) = self.datagrams.as_slice().first()?;
        self.bytes.get(..len).filter(|bytes| wanted(bytes, stride))?;
        self.datagrams.next();
        Some(GivenDatagram { bytes: self.bytes.split_to(len), stride, source, ecn: Ecn::NotEct })
    }
}

/// 198.18.a.b and 198.19.a.b (the addresses of RFC 2544) talk to each other.
fn other_end(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            SocketAddr::new(Ipv4Addr::new(a, b ^ 1, c, d).into(), address.port())
        }
        IpAddr::V6(_) => address,
    }
}
