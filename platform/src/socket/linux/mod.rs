//! A UDP socket with GSO and GRO: up to 64 datagrams per system call and message, several messages per call.

mod open;
mod sys;

use super::{ReceiveReport, SendReport, Socket, UdpConfig};
use crate::wait::{OsHandle, Waitable};
use bytes::BytesMut;
use nix::{
    errno::Errno,
    sys::socket::{SockaddrStorage, getsockname, setsockopt, sockopt},
};
use std::{
    io,
    net::{SocketAddr, SocketAddrV6},
    os::fd::{AsFd, AsRawFd, OwnedFd},
};
use sys::{Incoming, Outgoing, RECEIVE_MESSAGES, SEND_MESSAGES, Tos};
use vestibule_engine::packet::{Datagram, Datagrams, Ecn, GivenDatagram, Transmit, TransmitQueue};

/// A UDP socket that sends and receives batches.
#[derive(Debug)]
pub struct Udp {
    socket: OwnedFd,
    config: UdpConfig,
    /// An IPv6 socket that serves IPv4 by mapped addresses.
    mapped: bool,
    /// The system segments for us; false for ever once it has refused.
    gso: bool,
    /// It has done so.
    gso_proven: bool,
    /// What is sent now must arrive whole.
    whole: bool,
    /// Datagrams of the queue's first batch that have left one by one already.
    progress: usize,
    /// Memory for datagrams. What is given away of it comes back when nobody holds it any longer.
    slots: Vec<BytesMut>,
    found: Vec<Incoming>,
    overflowed: u32,
    report: ReceiveReport,
}

impl Udp {
    /// Opens the socket.
    ///
    /// # Errors
    /// The address is taken or not ours, or the mark needs privileges (CAP_NET_ADMIN) that we lack.
    pub fn bind(config: &UdpConfig) -> io::Result<Self> {
        let (socket, mapped) = open::open(config)?;
        Ok(Self {
            socket,
            config: *config,
            mapped,
            gso: true,
            gso_proven: false,
            whole: false,
            progress: 0,
            slots: vec![BytesMut::new(); RECEIVE_MESSAGES],
            found: Vec::with_capacity(RECEIVE_MESSAGES),
            overflowed: 0,
            report: ReceiveReport::default(),
        })
    }

    fn destination(&self, address: SocketAddr) -> SockaddrStorage {
        match address {
            SocketAddr::V4(v4) if self.mapped => {
                SockaddrStorage::from(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0))
            }
            other => SockaddrStorage::from(other),
        }
    }

    /// Has routers and the system fragment what is sent from now on, or not. Linux has no control message for that, but
    /// looks at the socket's options while it makes a packet.
    fn set_whole(&mut self, whole: bool, report: &mut SendReport) {
        if whole != self.whole {
            self.whole = whole;
            let bind = self.config.bind;
            // Without IPv6 here, the unspecified address has become IPv4's.
            let v6 = bind.is_ipv6() && (self.mapped || !bind.ip().is_unspecified());
            report.calls += open::set_whole(&self.socket, v6, whole);
        }
    }

    /// Sends batches, as many per call as fit and are alike in whether they may be fragmented.
    fn send_batches(&mut self, queue: &mut TransmitQueue, report: &mut SendReport) -> io::Result<()> {
        let Some(first) = queue.batches().next() else { return Ok(()) };
        self.set_whole(first.whole, report);
        let count = queue.batches().take(SEND_MESSAGES).take_while(|batch| batch.whole == first.whole).count();
        // The array is filled up with copies of the first batch, which `count` keeps from being sent.
        let mut messages = [self.message(&first); SEND_MESSAGES];
        for (message, batch) in messages.iter_mut().zip(queue.batches()).skip(1) {
            *message = self.message(&batch);
        }
        report.calls += 1;
        match sys::send(self.socket.as_fd(), &messages[..count]) {
            Ok(sent) => {
                self.gso_proven |= first.datagrams() > 1;
                report.sent += queue.batches().take(sent).map(|batch| datagrams(&batch)).sum::<u64>();
                queue.release(sent);
                Ok(())
            }
            Err(Errno::EINTR) => Ok(()),
            Err(error) if first.datagrams() > 1 && refuses_segmentation(error) => {
                report.segmented += 1;
                // A batch beyond one path's MTU is that path's affair, which older systems call EINVAL; the rest is the
                // system's word.
                self.gso &= error == Errno::EMSGSIZE || (error == Errno::EINVAL && self.gso_proven);
                self.send_one_by_one(queue, report)
            }
            Err(error) => {
                if failed(error, datagrams(&first), report)? {
                    queue.release(1);
                }
                Ok(())
            }
        }
    }

    /// Sends the queue's first batch datagram by datagram, from where an earlier call had to stop.
    fn send_one_by_one(&mut self, queue: &mut TransmitQueue, report: &mut SendReport) -> io::Result<()> {
        let Some(batch) = queue.batches().next() else { return Ok(()) };
        self.set_whole(batch.whole, report);
        let destination = self.destination(batch.destination);
        let tos = tos(&batch);
        // Datagrams of this length do not fit, if they must arrive whole.
        let mut too_long = usize::MAX;
        let rest = batch.bytes().chunks(batch.segment.max(1)).skip(self.progress);
        for bytes in rest {
            if bytes.len() >= too_long {
                report.too_large += 1;
                self.progress += 1;
                continue;
            }
            report.calls += 1;
            match sys::send(self.socket.as_fd(), &[Outgoing { destination, bytes, segment: None, tos }]) {
                Ok(_) => report.sent += 1,
                Err(Errno::EINTR) => return Ok(()),
                Err(error) => {
                    if !failed(error, 1, report)? {
                        return Ok(());
                    }
                    if error == Errno::EMSGSIZE {
                        too_long = bytes.len();
                    }
                }
            }
            self.progress += 1;
        }
        self.progress = 0;
        queue.release(1);
        Ok(())
    }

    fn message<'a>(&self, batch: &Transmit<'a>) -> Outgoing<'a> {
        let segment = if batch.datagrams() > 1 { u16::try_from(batch.segment).ok() } else { None };
        Outgoing { destination: self.destination(batch.destination), bytes: batch.bytes(), segment, tos: tos(batch) }
    }
}

fn datagrams(batch: &Transmit<'_>) -> u64 {
    batch.datagrams() as u64
}

/// What the IP header says besides its default of zero, and in which family's words.
fn tos(batch: &Transmit<'_>) -> Option<Tos> {
    let bits = batch.ecn.bits();
    // A mapped address is IPv4's, whatever the socket is.
    let v4 = match batch.destination {
        SocketAddr::V4(_) => true,
        SocketAddr::V6(v6) => v6.ip().to_ipv4_mapped().is_some(),
    };
    (bits != 0).then_some(if v4 { Tos::V4(bits) } else { Tos::V6(bits) })
}

/// EIO: no checksum offload under way. EINVAL: more segments than this kernel takes. EMSGSIZE: a segment does not fit
/// the path, while one datagram may still be fragmented.
fn refuses_segmentation(error: Errno) -> bool {
    matches!(error, Errno::EIO | Errno::EINVAL | Errno::EMSGSIZE | Errno::EOPNOTSUPP)
}

/// Counts `lost` datagrams; false when they are not lost but must wait. Fails when the socket itself is broken.
fn failed(error: Errno, lost: u64, report: &mut SendReport) -> io::Result<bool> {
    match error {
        Errno::EAGAIN => {
            report.blocked = true;
            return Ok(false);
        }
        Errno::EBADF | Errno::ENOTSOCK | Errno::EFAULT => return Err(error.into()),
        Errno::EMSGSIZE => report.too_large += lost,
        Errno::ENETUNREACH
        | Errno::EHOSTUNREACH
        | Errno::ENETDOWN
        | Errno::EHOSTDOWN
        | Errno::ECONNREFUSED
        | Errno::EADDRNOTAVAIL
        | Errno::EAFNOSUPPORT => report.unreachable += lost,
        _ => report.refused += lost,
    }
    tracing::trace!(%error, lost, "datagrams were not sent");
    Ok(true)
}

impl Waitable for Udp {
    fn handle(&self) -> Option<OsHandle<'_>> {
        Some(self.socket.as_fd())
    }
}

impl Socket for Udp {
    fn send(&mut self, queue: &mut TransmitQueue) -> io::Result<SendReport> {
        let mut report = SendReport::default();
        while !queue.is_empty() && !report.blocked {
            let several = queue.batches().next().is_some_and(|first| first.datagrams() > 1);
            if self.progress > 0 || (!self.gso && several) {
                self.send_one_by_one(queue, &mut report)?;
            } else {
                self.send_batches(queue, &mut report)?;
            }
        }
        Ok(report)
    }

    fn receive(&mut self) -> io::Result<impl Datagrams + '_> {
        self.report = ReceiveReport { calls: 1, ..ReceiveReport::default() };
        match sys::receive(self.socket.as_fd(), &mut self.slots, &mut self.found) {
            Ok(()) => self.report.drained = self.found.len() < RECEIVE_MESSAGES,
            Err(Errno::EAGAIN) => self.report.drained = true,
            Err(Errno::EINTR) => {}
            Err(error @ (Errno::EBADF | Errno::ENOTSOCK | Errno::EFAULT)) => return Err(error.into()),
            // What ICMP told the socket about something it sent; the next call may hold datagrams.
            Err(_) => self.report.errors += 1,
        }
        if let Some(total) = self.found.iter().filter_map(|found| found.overflowed).next_back() {
            self.report.overflowed = u64::from(total.wrapping_sub(self.overflowed));
            self.overflowed = total;
        }
        let Self { found, slots, report, .. } = self;
        Ok(Batch { found, slots, next: 0, errors: &mut report.errors })
    }

    fn receive_report(&self) -> ReceiveReport {
        self.report
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        let name: SockaddrStorage = getsockname(self.socket.as_raw_fd())?;
        open::address(&name).ok_or_else(|| io::Error::other("the socket is neither of IPv4 nor of IPv6"))
    }

    fn rebind_to(&mut self, port: u16) -> io::Result<()> {
        if port != 0 && self.local_addr()?.port() == port {
            return Ok(());
        }
        let mut config = self.config;
        config.bind.set_port(port);
        let (socket, mapped) = open::open(&config)?;
        self.socket = socket;
        self.mapped = mapped;
        (self.gso, self.gso_proven, self.whole) = (true, false, false);
        self.overflowed = 0;
        Ok(())
    }

    fn set_mark(&mut self, mark: u32) -> io::Result<()> {
        setsockopt(&self.socket, sockopt::Mark, &mark)?;
        self.config.mark = Some(mark);
        Ok(())
    }
}

struct Batch<'a> {
    found: &'a [Incoming],
    slots: &'a mut [BytesMut],
    next: usize,
    errors: &'a mut u64,
}

impl Batch<'_> {
    /// The next usable datagram's number, stride, source and ECN field.
    fn next_usable(&mut self) -> Option<(usize, usize, SocketAddr, Ecn)> {
        loop {
            let found = self.found.get(self.next)?;
            match found.source {
                Some(source) if !found.truncated && found.len > 0 => {
                    let stride = found.stride.unwrap_or(found.len).min(found.len);
                    return Some((self.next, stride, source, found.ecn));
                }
                // An empty datagram is nobody's; one cut short cannot authenticate.
                _ => *self.errors += 1,
            }
            self.next += 1;
        }
    }
}

impl Datagrams for Batch<'_> {
    fn next_datagram(&mut self) -> Option<Datagram<'_>> {
        let (number, stride, source, ecn) = self.next_usable()?;
        self.next += 1;
        Some(Datagram { bytes: self.slots.get_mut(number)?, stride, source, ecn })
    }

    fn give_datagram(&mut self, wanted: impl Fn(&[u8], usize) -> bool) -> Option<GivenDatagram> {
        let (number, stride, source, ecn) = self.next_usable()?;
        let slot = self.slots.get_mut(number).filter(|slot| wanted(slot, stride))?;
        self.next += 1;
        Some(GivenDatagram { bytes: slot.split(), stride, source, ecn })
    }
}

#[cfg(test)]
mod tests;
