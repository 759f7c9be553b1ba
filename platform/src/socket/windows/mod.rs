//! A UDP socket with USO and URO: one system call carries up to 64 datagrams each way, where driver and system allow.

mod open;
mod path;
mod rebind;
mod receive;
mod send;
mod sys;

use super::{ReceiveReport, SendReport, Socket, UdpConfig};
use crate::{
    netcfg::wakes,
    wait::{OsHandle, Waitable},
};
use bytes::BytesMut;
use open::{Opened, open};
use path::Path;
pub(crate) use path::leave_by;
use receive::{Batch, Incoming};
use std::{
    io,
    net::SocketAddr,
    os::windows::io::{AsHandle, OwnedHandle},
};
use vestibule_engine::packet::{Datagrams, TransmitQueue};

/// Most (merged) datagrams in one batch.
const BATCH: usize = 16;

/// What a socket can do on this system, with this driver. Whatever is missing is done without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "independent abilities of a system")]
pub struct Abilities {
    /// An IPv6 socket that serves IPv4 by mapped addresses.
    pub mapped: bool,
    /// USO: the system cuts batches into datagrams. False for ever once it has refused.
    pub segmentation: bool,
    /// URO: the system merges datagrams. False for ever once it has merged without saying so.
    pub coalescing: bool,
    /// Congestion marks are seen and made.
    pub ecn: bool,
    /// What ICMP tells of one destination does not disturb the others.
    pub silent_icmp: bool,
}

/// A UDP socket that sends and receives batches.
#[derive(Debug)]
pub struct Udp {
    // Before the event: the system sets it as long as the socket is open.
    socket: socket2::Socket,
    event: OwnedHandle,
    receiver: sys::Receiver,
    config: UdpConfig,
    abilities: Abilities,
    path: Path,
    /// Whether what is sent now must arrive whole; `None` before the first batch.
    whole: Option<bool>,
    /// The system has answered as if the interface under the socket had gone: a change of network opens another.
    stale: bool,
    /// How often the machine had woken up when the socket was last looked at.
    wakes: u64,
    /// Datagrams of the queue's first batch that have left one by one already.
    progress: usize,
    /// Memory for datagrams. What is given away of it comes back when nobody holds it any longer.
    slots: Vec<BytesMut>,
    found: Vec<Incoming>,
    merged: u64,
    /// Datagrams that were searched for others in them.
    searched: u32,
    report: ReceiveReport,
    /// What tests have the system say to a message with segments, with a congestion mark, in place of its own word.
    #[cfg(test)]
    system: Option<fn(bool, bool) -> Result<(), sys::Code>>,
}

impl Udp {
    /// Opens the socket.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub fn bind(config: &UdpConfig) -> io::Result<Self> {
        let Opened { socket, event, receiver, abilities } = open(config)?;
        Ok(Self {
            socket,
            event,
            receiver,
            config: *config,
            abilities,
            path: Path::new(config.mark.is_some_and(|mark| mark != 0)),
            whole: None,
            stale: false,
            wakes: wakes(),
            progress: 0,
            slots: vec![BytesMut::new(); BATCH],
            found: Vec::with_capacity(BATCH),
            merged: 0,
            searched: 0,
            report: ReceiveReport::default(),
            #[cfg(test)]
            system: None,
        })
    }

    /// What it can do.
    #[must_use]
    pub fn abilities(&self) -> Abilities {
        self.abilities
    }

    /// Datagrams that a driver has merged without saying so: after the first, URO is off.
    #[must_use]
    pub fn merged_silently(&self) -> u64 {
        self.merged
    }
}

impl Waitable for Udp {
    /// Set for input, and for room after there was none; it resets itself.
    fn handle(&self) -> Option<OsHandle<'_>> {
        Some(self.event.as_handle())
    }
}

impl Socket for Udp {
    fn send(&mut self, queue: &mut TransmitQueue) -> io::Result<SendReport> {
        let mut report = SendReport::default();
        self.follow_network();
        while !report.blocked {
            let Some(first) = queue.batches().next() else { break };
            let whole = first.whole;
            self.path.towards(&self.socket, first.destination.ip());
            self.set_whole(whole, &mut report);
            if self.progress > 0 || (!self.abilities.segmentation && first.datagrams() > 1) {
                self.send_one_by_one(queue, &mut report)?;
            } else {
                self.send_batch(queue, &mut report)?;
            }
        }
        Ok(report)
    }

    fn receive(&mut self) -> io::Result<impl Datagrams + '_> {
        self.report = ReceiveReport::default();
        self.report.drained = !self.fill()?;
        Ok(Batch { found: &self.found, slots: &mut self.slots, next: 0 })
    }

    fn receive_report(&self) -> ReceiveReport {
        self.report
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = self.socket.local_addr()?.as_socket();
        let address = address.ok_or_else(|| io::Error::other("the socket is neither of IPv4 nor of IPv6"))?;
        Ok(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }

    fn rebind_to(&mut self, port: u16) -> io::Result<()> {
        self.move_to(port)
    }

    /// Not zero: keeps what is sent out of our own tunnels, by the interface it leaves with.
    fn set_mark(&mut self, mark: u32) -> io::Result<()> {
        self.config.mark = Some(mark);
        self.path.mark(mark != 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
