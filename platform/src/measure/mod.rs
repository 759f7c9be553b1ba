//! A UDP socket for measuring: batches in both directions, and the kernel's own arrival time of every datagram.
//! [`usage`]: what a process holds.
//!
//! It knows nothing of the engine: what measures a tunnel must not be made of its parts.

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "portable.rs"]
mod imp;

pub mod usage;

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

/// Most datagrams that one call moves.
pub const BATCH: usize = 64;
/// Largest datagram payload.
pub const LARGEST: usize = 2048;
/// The kernel keeps the time of each arrival: whoever collects datagrams late loses no precision. Elsewhere a datagram's time
/// is that of its collection, one call each.
pub const KEEPS_TIME: bool = imp::KEEPS_TIME;

/// A connected UDP socket.
#[derive(Debug)]
pub struct Meter {
    socket: UdpSocket,
    receiver: imp::Receiver,
}

impl Meter {
    /// Binds `local`, connects to `peer`, and asks for `buffer` bytes of room in the kernel in each direction.
    ///
    /// # Errors
    /// The address is taken or unroutable, or the kernel refuses an option.
    pub fn open(local: SocketAddr, peer: SocketAddr, buffer: usize) -> io::Result<Self> {
        let socket = UdpSocket::bind(local)?;
        socket.connect(peer)?;
        imp::prepare(&socket, buffer)?;
        Ok(Self { receiver: imp::Receiver::new(), socket })
    }

    /// The sending half, for another thread.
    ///
    /// # Errors
    /// No file descriptor left.
    pub fn sender(&self) -> io::Result<Sender> {
        Ok(Sender { socket: self.socket.try_clone()? })
    }

    /// Waits up to `patience`, then hands every datagram at hand to `take`, with its arrival time in nanoseconds of
    /// the wall clock. Returns how many there were.
    ///
    /// # Errors
    /// The kernel's, such as an ICMP answer of an earlier datagram.
    pub fn receive(&mut self, patience: Duration, take: impl FnMut(&[u8], u64)) -> io::Result<usize> {
        self.receiver.receive(&self.socket, patience, take)
    }
}

/// The sending half of a [`Meter`].
#[derive(Debug)]
pub struct Sender {
    socket: UdpSocket,
}

impl Sender {
    /// Sends `datagrams` in order and returns how many the kernel took; the others were not sent.
    ///
    /// # Errors
    /// The kernel's, when it took none.
    pub fn send(&self, datagrams: &[&[u8]]) -> io::Result<usize> {
        imp::send(&self.socket, datagrams)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn datagrams_arrive_whole_in_order_and_stamped() {
        let one = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let two = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let a = Meter::open(one, two, 1 << 20).unwrap();
        let mut b = Meter::open(two, one, 1 << 20).unwrap();
        let datagrams: Vec<Vec<u8>> = (0..150u8).map(|n| vec![n; 36 + usize::from(n) * 9]).collect();
        let before = nanoseconds();
        let (mut sent, mut arrived) = (0, Vec::new());
        // A portion after the other: how large a buffer may be, the system says.
        while sent < datagrams.len() {
            let batch: Vec<&[u8]> = datagrams[sent..].iter().take(BATCH).map(Vec::as_slice).collect();
            sent += a.sender().unwrap().send(&batch).unwrap();
            while arrived.len() < sent {
                let count = b.receive(Duration::from_secs(30), |bytes, at| arrived.push((bytes.to_vec(), at))).unwrap();
                assert_ne!(count, 0, "{} of {} datagrams arrived", arrived.len(), datagrams.len());
            }
        }
        let after = nanoseconds();
        for (expected, (got, at)) in datagrams.iter().zip(&arrived) {
            assert_eq!(expected, got);
            assert!((before..=after).contains(at), "{before} <= {at} <= {after}");
        }
    }

    fn nanoseconds() -> u64 {
        u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
    }
}
