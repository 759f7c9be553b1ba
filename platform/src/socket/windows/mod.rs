//! A UDP socket with USO and URO: one system call carries up to 64 datagrams each way, where driver and system allow.

mod open;
mod path;
mod sys;

use super::{
    ReceiveReport, SendReport, Socket, UdpConfig,
    control::Control,
    merged::{Found, SEARCHED, judge},
};
use crate::{
    netcfg::wakes,
    wait::{OsHandle, Waitable},
};
use bytes::BytesMut;
use open::{Opened, open};
use path::Path;
pub(crate) use path::leave_by;
use std::{
    io,
    net::{SocketAddr, SocketAddrV6},
    os::windows::io::{AsHandle, OwnedHandle},
};
use vestibule_engine::packet::{Datagram, Datagrams, Ecn, GivenDatagram, Transmit, TransmitQueue};
use windows_sys::Win32::Networking::WinSock::{
    IP_ECN, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP, IPV6_ECN, UDP_COALESCED_INFO, UDP_RECV_MAX_COALESCED_SIZE,
    UDP_SEND_MSG_SIZE, WSAEADDRNOTAVAIL, WSAEAFNOSUPPORT, WSAECONNREFUSED, WSAECONNRESET, WSAEFAULT, WSAEHOSTDOWN,
    WSAEHOSTUNREACH, WSAEINTR, WSAEINVAL, WSAEMSGSIZE, WSAENETDOWN, WSAENETRESET, WSAENETUNREACH, WSAENOPROTOOPT,
    WSAENOTSOCK, WSAEOPNOTSUPP, WSAEWOULDBLOCK,
};

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
}

/// What a slot holds.
#[derive(Clone, Copy, Debug)]
struct Incoming {
    stride: usize,
    source: SocketAddr,
    ecn: Ecn,
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

    /// Another socket in the place of this one, at the same address but for the port.
    fn reopen(&mut self, port: u16) -> io::Result<()> {
        let mut config = self.config;
        config.bind.set_port(port);
        let Opened { socket, event, receiver, abilities } = open(&config)?;
        self.socket = socket;
        self.event = event;
        self.receiver = receiver;
        // A driver that has merged silently does so again.
        let coalescing = abilities.coalescing && self.merged == 0;
        self.abilities = abilities;
        if !coalescing {
            self.stop_coalescing();
        }
        self.path.forget();
        self.whole = None;
        self.stale = false;
        self.searched = 0;
        Ok(())
    }

    /// After a change of network: the way to the gateway may be another, and a socket that went deaf can be replaced. After
    /// a sleep it is, whatever it says: the network may have become another one, and what stands between has forgotten it.
    fn follow_network(&mut self) {
        if !self.path.has_changed() {
            return;
        }
        let now = wakes();
        let woke = std::mem::replace(&mut self.wakes, now) != now;
        // A port that somebody has asked for is where peers look for us.
        if !(self.stale || woke) || self.config.bind.port() != 0 {
            return;
        }
        // Another port: the former is taken until its socket is gone, and peers follow an endpoint anyway.
        match self.reopen(0) {
            Ok(()) => tracing::info!("the UDP socket was opened anew after a change of network"),
            Err(error) => tracing::debug!(%error, "the UDP socket was not opened anew"),
        }
    }

    fn destination(&self, address: SocketAddr) -> SocketAddr {
        match address {
            SocketAddr::V4(v4) if self.abilities.mapped => {
                SocketAddr::V6(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0))
            }
            other => other,
        }
    }

    /// Has routers and the system fragment what is sent from now on, or not. Windows has no control message for that.
    fn set_whole(&mut self, whole: bool, report: &mut SendReport) {
        if self.whole != Some(whole) {
            self.whole = Some(whole);
            // Without IPv6 here, the unspecified address has become IPv4's.
            let v6 = self.config.bind.is_ipv6() && (self.abilities.mapped || !self.config.bind.ip().is_unspecified());
            report.calls += open::set_whole(&self.socket, !v6 || self.abilities.mapped, v6, whole);
        }
    }

    /// One system call for one batch; what the driver refuses to cut leaves datagram by datagram.
    fn send_batch(&mut self, queue: &mut TransmitQueue, report: &mut SendReport) -> io::Result<()> {
        let Some(batch) = queue.batches().next() else { return Ok(()) };
        let segment = u32::try_from(batch.segment).ok().filter(|_| batch.datagrams() > 1);
        report.calls += 1;
        match self.send_message(&batch, batch.bytes(), segment) {
            Ok(()) => {
                report.sent += batch.datagrams() as u64;
                queue.release(1);
            }
            Err(WSAEINTR) => {}
            Err(code) if segment.is_some() && refuses_segmentation(code) => {
                report.segmented += 1;
                if code != WSAEMSGSIZE {
                    // A batch beyond one path's MTU is that path's affair; everything else is the driver's word.
                    let error = io::Error::from_raw_os_error(code);
                    tracing::info!(%error, "no segmentation by the system: datagrams leave one by one");
                    self.abilities.segmentation = false;
                }
                self.send_one_by_one(queue, report)?;
            }
            Err(WSAEINVAL) if segment.is_none() && self.abilities.ecn && batch.ecn != Ecn::NotEct => {
                tracing::info!("the system takes no congestion marks: datagrams leave without");
                self.abilities.ecn = false;
            }
            Err(code) => {
                if self.failed(code, batch.datagrams() as u64, report)? {
                    queue.release(1);
                }
            }
        }
        Ok(())
    }

    /// Sends the queue's first batch datagram by datagram, from where an earlier call had to stop.
    fn send_one_by_one(&mut self, queue: &mut TransmitQueue, report: &mut SendReport) -> io::Result<()> {
        let Some(batch) = queue.batches().next() else { return Ok(()) };
        for bytes in batch.bytes().chunks(batch.segment.max(1)).skip(self.progress) {
            report.calls += 1;
            match self.send_message(&batch, bytes, None) {
                Ok(()) => report.sent += 1,
                Err(WSAEINTR) => return Ok(()),
                Err(code) => {
                    if !self.failed(code, 1, report)? {
                        return Ok(());
                    }
                }
            }
            self.progress += 1;
        }
        self.progress = 0;
        queue.release(1);
        Ok(())
    }

    /// `segment` only for several datagrams: some drivers refuse it for one (10022).
    fn send_message(&self, batch: &Transmit<'_>, bytes: &[u8], segment: Option<u32>) -> Result<(), sys::Code> {
        let mut control = Control::new();
        if let Some(segment) = segment {
            control.push(IPPROTO_UDP, UDP_SEND_MSG_SIZE, segment);
        }
        if self.abilities.ecn && batch.ecn != Ecn::NotEct {
            // A mapped address is IPv4's, whatever the socket is.
            let v4 = batch.destination.ip().to_canonical().is_ipv4();
            let (level, kind) = if v4 { (IPPROTO_IP, IP_ECN) } else { (IPPROTO_IPV6, IPV6_ECN) };
            control.push(level, kind, u32::from(batch.ecn.bits()));
        }
        sys::send(&self.socket, self.destination(batch.destination), bytes, &control)
    }

    /// Counts `lost` datagrams; false when they are not lost but must wait. Fails when the socket itself is broken.
    fn failed(&mut self, code: sys::Code, lost: u64, report: &mut SendReport) -> io::Result<bool> {
        let error = io::Error::from_raw_os_error(code);
        match code {
            WSAEWOULDBLOCK => {
                report.blocked = true;
                return Ok(false);
            }
            WSAENOTSOCK | WSAEFAULT => return Err(error),
            WSAEMSGSIZE => report.too_large += lost,
            WSAENETUNREACH | WSAEHOSTUNREACH | WSAENETDOWN | WSAEHOSTDOWN | WSAECONNREFUSED | WSAECONNRESET
            | WSAENETRESET | WSAEADDRNOTAVAIL | WSAEAFNOSUPPORT => report.unreachable += lost,
            // WSAENOBUFS among them: a queue of the system's that no event tells of.
            _ => report.refused += lost,
        }
        self.stale |= tells_of_a_lost_interface(code);
        tracing::trace!(%error, lost, "datagrams were not sent");
        Ok(true)
    }

    /// Fills the slots. False when nothing more is waiting.
    fn fill(&mut self) -> io::Result<bool> {
        self.found.clear();
        while let Some(slot) = self.slots.get_mut(self.found.len()) {
            self.report.calls += 1;
            match sys::receive(&self.socket, self.receiver, slot) {
                Ok(received) => match received.source {
                    Some(source) if !received.truncated && !slot.is_empty() => {
                        let incoming = self.describe(source, &received.control);
                        self.found.push(incoming);
                    }
                    // An empty datagram is nobody's; one cut short cannot authenticate.
                    _ => self.report.errors += 1,
                },
                Err(WSAEWOULDBLOCK) => return Ok(false),
                Err(code @ (WSAENOTSOCK | WSAEFAULT)) => return Err(io::Error::from_raw_os_error(code)),
                // What ICMP told the socket about something it sent: the next call may hold datagrams.
                Err(WSAECONNRESET | WSAENETRESET | WSAEINTR) => self.report.errors += 1,
                Err(code) => {
                    // Not soon again: the event tells when there is input, and an interface that returns mends the rest.
                    self.report.errors += 1;
                    self.stale |= tells_of_a_lost_interface(code);
                    return Ok(false);
                }
            }
            if self.report.calls >= 2 * BATCH as u64 {
                break;
            }
        }
        Ok(true)
    }

    /// What is in the slot after those found already.
    fn describe(&mut self, source: SocketAddr, control: &Control) -> Incoming {
        let bytes = self.slots.get(self.found.len()).map(|slot| &slot[..]).unwrap_or_default();
        let (mut stride, mut ecn) = (None, Ecn::NotEct);
        for (level, kind, value) in control.numbers() {
            match (level, kind) {
                (IPPROTO_UDP, kind) if kind == UDP_COALESCED_INFO as i32 => stride = Some(value as usize),
                (IPPROTO_IP, IP_ECN) | (IPPROTO_IPV6, IPV6_ECN) => ecn = Ecn::from_tos(value.to_le_bytes()[0]),
                _ => {}
            }
        }
        let len = bytes.len();
        // Judged also once URO is off: what the driver holds already is still merged.
        let silent = match stride {
            None if self.abilities.coalescing || self.merged > 0 => {
                let search = self.searched < SEARCHED;
                self.searched += u32::from(search);
                judge(bytes, search)
            }
            _ => Found::One,
        };
        if silent != Found::One {
            self.merged += 1;
            // From now on every datagram is.
            self.searched = 0;
            if self.abilities.coalescing {
                tracing::warn!(len, "a network driver merges datagrams without saying so: URO is off for this socket");
                self.stop_coalescing();
            }
        }
        if let Found::Messages(size) = silent {
            stride = Some(size);
        }
        let stride = stride.filter(|stride| *stride > 0).unwrap_or(len).min(len);
        Incoming { stride, source, ecn }
    }

    fn stop_coalescing(&mut self) {
        let former = std::mem::replace(&mut self.abilities.coalescing, false);
        if former && let Err(code) = sys::set_option(&self.socket, IPPROTO_UDP, UDP_RECV_MAX_COALESCED_SIZE, 0) {
            let error = io::Error::from_raw_os_error(code);
            tracing::debug!(%error, "URO was not switched off");
        }
    }
}

/// WSAEINVAL, WSAENOPROTOOPT, WSAEOPNOTSUPP: not with this driver. WSAEMSGSIZE: a segment does not fit the path, while one
/// datagram may still be fragmented, or is shorter.
fn refuses_segmentation(code: sys::Code) -> bool {
    matches!(code, WSAEINVAL | WSAENOPROTOOPT | WSAEOPNOTSUPP | WSAEMSGSIZE)
}

/// What a socket says whose interface was switched off, or off and on.
fn tells_of_a_lost_interface(code: sys::Code) -> bool {
    matches!(code, WSAEINVAL | WSAENETDOWN | WSAEADDRNOTAVAIL)
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
        if port != 0 && self.local_addr()?.port() == port {
            return Ok(());
        }
        self.reopen(port)?;
        self.config.bind.set_port(port);
        Ok(())
    }

    /// Not zero: keeps what is sent out of our own tunnels, by the interface it leaves with.
    fn set_mark(&mut self, mark: u32) -> io::Result<()> {
        self.config.mark = Some(mark);
        self.path.mark(mark != 0);
        Ok(())
    }
}

struct Batch<'a> {
    found: &'a [Incoming],
    slots: &'a mut [BytesMut],
    next: usize,
}

impl Datagrams for Batch<'_> {
    fn next_datagram(&mut self) -> Option<Datagram<'_>> {
        let Incoming { stride, source, ecn } = *self.found.get(self.next)?;
        let bytes = self.slots.get_mut(self.next)?;
        self.next += 1;
        Some(Datagram { bytes, stride, source, ecn })
    }

    fn give_datagram(&mut self, wanted: impl Fn(&[u8], usize) -> bool) -> Option<GivenDatagram> {
        let Incoming { stride, source, ecn } = *self.found.get(self.next)?;
        let slot = self.slots.get_mut(self.next).filter(|slot| wanted(slot, stride))?;
        self.next += 1;
        Some(GivenDatagram { bytes: slot.split(), stride, source, ecn })
    }
}

#[cfg(test)]
mod tests;
