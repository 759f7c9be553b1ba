//! The UDP socket: datagrams from and to the network, a batch at a time.
//!
//! On Linux GSO and GRO carry up to 64 datagrams per system call, on Windows USO and URO do; [`memory`] is the twin. A
//! `Transmit` is what `UDP_SEND_MSG_SIZE` sends, a `Datagram` what `UDP_COALESCED_INFO` describes.

#[cfg(any(windows, test))]
pub(crate) mod control;
#[cfg_attr(target_os = "linux", path = "linux/mod.rs")]
#[cfg_attr(windows, path = "windows/mod.rs")]
#[cfg_attr(not(any(target_os = "linux", windows)), path = "unsupported.rs")]
mod imp;
pub mod memory;
#[cfg(any(windows, test))]
mod merged;

#[cfg(windows)]
pub use imp::Abilities;
pub use imp::Udp;
#[cfg(windows)]
pub(crate) use imp::leave_by;

use crate::wait::Waitable;
use std::{io, net::SocketAddr};
use vestibule_engine::packet::{Datagrams, TransmitQueue};

/// A UDP socket, moved a batch at a time. No call blocks.
pub trait Socket: Waitable + Send {
    /// Sends the queue from its front, in order, and releases what was sent or can never be. What the socket has no
    /// room for stays in the queue, and the report says `blocked`: wait for room before the next call.
    ///
    /// # Errors
    /// The socket is broken beyond its own repair; the caller stops. What the network answers is counted instead.
    fn send(&mut self, queue: &mut TransmitQueue) -> io::Result<SendReport>;

    /// Lends the datagrams at hand: an empty batch when there are none.
    ///
    /// # Errors
    /// As for [`Self::send`].
    fn receive(&mut self) -> io::Result<impl Datagrams + '_>;

    /// What the last batch was. Ask once it is dropped.
    fn receive_report(&self) -> ReceiveReport;

    /// The address peers may answer to.
    ///
    /// # Errors
    /// The socket is broken.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Replaces the socket by a fresh one on a new port (a roaming network, a port that a middlebox deafened).
    ///
    /// # Errors
    /// No new socket could be had; the old one stays.
    fn rebind(&mut self) -> io::Result<()> {
        self.rebind_to(0)
    }

    /// Replaces the socket by one on `port` (0: any other port). Nothing happens when it has that port already.
    ///
    /// # Errors
    /// The port is taken, or no new socket could be had; the old one stays.
    fn rebind_to(&mut self, port: u16) -> io::Result<()>;

    /// Marks what is sent from now on, for policy routing; 0 for no mark.
    ///
    /// # Errors
    /// There are no marks here, or they need a privilege that we lack.
    fn set_mark(&mut self, mark: u32) -> io::Result<()>;
}

/// What became of the datagrams of one send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendReport {
    /// System calls it took.
    pub calls: u64,
    /// Datagrams the system took.
    pub sent: u64,
    /// The socket has no room: the rest of the queue waits.
    pub blocked: bool,
    /// Dropped: no route, host or port there (the network said so before).
    pub unreachable: u64,
    /// Dropped: larger than the path or the interface takes.
    pub too_large: u64,
    /// Dropped: refused for another reason (a local firewall, an interface's queue).
    pub refused: u64,
    /// Batches the system refused to segment; their datagrams were sent one by one.
    pub segmented: u64,
}

impl SendReport {
    /// All datagrams that did not leave and never will.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.unreachable + self.too_large + self.refused
    }
}

/// What one batch from a socket was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiveReport {
    /// System calls it took.
    pub calls: u64,
    /// Nothing more was waiting: sleep before receiving again.
    pub drained: bool,
    /// Datagrams the system had no room for since the last report.
    pub overflowed: u64,
    /// Errors the network reported in place of datagrams (ICMP), and datagrams cut short.
    pub errors: u64,
}

/// How to make a [`Udp`] socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpConfig {
    /// Where to listen. The unspecified IPv6 address serves IPv4 as well, where the system allows it.
    pub bind: SocketAddr,
    /// Marks what we send, so that policy routing keeps it out of the tunnel.
    pub mark: Option<u32>,
    /// Bytes the system keeps for us while we are busy: 16 MiB are 13 ms of 10 Gb/s.
    pub receive_buffer: usize,
    /// Bytes the system takes from us before it says to wait.
    pub send_buffer: usize,
}

impl UdpConfig {
    /// A socket at `bind`, unmarked, with buffers for 10 Gb/s.
    #[must_use]
    pub fn new(bind: SocketAddr) -> Self {
        Self { bind, mark: None, receive_buffer: 16 << 20, send_buffer: 4 << 20 }
    }

    /// Any port, both address families, everything sent carries `mark`: what a device wants.
    #[must_use]
    pub fn device(mark: u32) -> Self {
        Self { mark: Some(mark), ..Self::new(SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0))) }
    }
}

/// The unspecified address of the other family, for systems without IPv6.
#[cfg(any(target_os = "linux", windows))]
fn ipv4_of(bind: SocketAddr) -> Option<SocketAddr> {
    bind.ip().is_unspecified().then(|| SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, bind.port())))
}
