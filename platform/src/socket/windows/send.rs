//! Sending: one call for a batch, and what is done where system, driver or network refuse.

use super::{Udp, open, sys};
use crate::socket::{SendReport, control::Control};
use std::{
    io,
    net::{SocketAddr, SocketAddrV6},
};
use vestibule_engine::packet::{Ecn, Transmit, TransmitQueue};
use windows_sys::Win32::Networking::WinSock::{
    IP_ECN, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP, IPV6_ECN, UDP_SEND_MSG_SIZE, WSAEADDRNOTAVAIL, WSAEAFNOSUPPORT,
    WSAECONNREFUSED, WSAECONNRESET, WSAEHOSTDOWN, WSAEHOSTUNREACH, WSAEINTR, WSAEINVAL, WSAEMSGSIZE, WSAENETDOWN,
    WSAENETRESET, WSAENETUNREACH, WSAENOPROTOOPT, WSAENOTSOCK, WSAEOPNOTSUPP, WSAEWOULDBLOCK,
};

impl Udp {
    /// Which families the socket serves: IPv4, IPv6.
    fn families(&self) -> (bool, bool) {
        // Without IPv6 here, the unspecified address has become IPv4's.
        let v6 = self.config.bind.is_ipv6() && (self.abilities.mapped || !self.config.bind.ip().is_unspecified());
        (!v6 || self.abilities.mapped, v6)
    }

    /// As the socket wants it; `None` of a family that it does not serve.
    fn destination(&self, address: SocketAddr) -> Option<SocketAddr> {
        let (v4, v6) = self.families();
        match SocketAddr::new(address.ip().to_canonical(), address.port()) {
            SocketAddr::V4(to) if v4 && v6 => {
                Some(SocketAddr::V6(SocketAddrV6::new(to.ip().to_ipv6_mapped(), to.port(), 0, 0)))
            }
            to if to.is_ipv4() => v4.then_some(to),
            // With its scope, if it has one.
            _ => v6.then_some(address),
        }
    }

    /// Has routers and the system fragment what is sent from now on, or not. Windows has no control message for that.
    pub(super) fn set_whole(&mut self, whole: bool, report: &mut SendReport) {
        if self.whole != Some(whole) {
            self.whole = Some(whole);
            let (v4, v6) = self.families();
            report.calls += open::set_whole(&self.socket, v4, v6, whole);
        }
    }

    /// One system call for one batch; what the driver refuses to cut leaves datagram by datagram.
    pub(super) fn send_batch(&mut self, queue: &mut TransmitQueue, report: &mut SendReport) -> io::Result<()> {
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
                let (sent, ecn) = (report.sent, self.abilities.ecn);
                self.send_one_by_one(queue, report)?;
                // A batch beyond one path's MTU is that path's affair. Otherwise it is the driver's word, if what it
                // refuses together it takes one by one, and if no mark was in the way, which is gone then.
                if code != WSAEMSGSIZE && report.sent > sent && self.abilities.ecn == ecn {
                    let error = io::Error::from_raw_os_error(code);
                    tracing::info!(%error, "no segmentation by the system: datagrams leave one by one");
                    self.abilities.segmentation = false;
                }
            }
            Err(code) if segment.is_none() && self.refuses_mark(code, &batch) => {}
            Err(code) => {
                if self.failed(code, batch.datagrams() as u64, report)? {
                    queue.release(1);
                }
            }
        }
        Ok(())
    }

    /// Sends the queue's first batch datagram by datagram, from where an earlier call had to stop.
    pub(super) fn send_one_by_one(&mut self, queue: &mut TransmitQueue, report: &mut SendReport) -> io::Result<()> {
        let Some(batch) = queue.batches().next() else { return Ok(()) };
        for bytes in batch.bytes().chunks(batch.segment.max(1)).skip(self.progress) {
            report.calls += 1;
            let mut outcome = self.send_message(&batch, bytes, None);
            if let Err(code) = outcome
                && self.refuses_mark(code, &batch)
            {
                report.calls += 1;
                outcome = self.send_message(&batch, bytes, None);
            }
            match outcome {
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

    /// Whether a datagram may have been refused for its congestion mark: then there are none any more, and it is sent
    /// again.
    fn refuses_mark(&mut self, code: sys::Code, batch: &Transmit<'_>) -> bool {
        let refused = code == WSAEINVAL && self.abilities.ecn && batch.ecn != Ecn::NotEct;
        if refused {
            tracing::info!("the system takes no congestion marks: datagrams leave without");
            self.abilities.ecn = false;
        }
        refused
    }

    /// `segment` only for several datagrams: some drivers refuse it for one (10022).
    fn send_message(&mut self, batch: &Transmit<'_>, bytes: &[u8], segment: Option<u32>) -> Result<(), sys::Code> {
        let destination = self.destination(batch.destination).ok_or(WSAEAFNOSUPPORT)?;
        let mut control = Control::new();
        if let Some(segment) = segment {
            control.push(IPPROTO_UDP, UDP_SEND_MSG_SIZE, segment);
        }
        let marked = self.abilities.ecn && batch.ecn != Ecn::NotEct;
        if marked {
            let (level, kind) = if batch.destination.ip().to_canonical().is_ipv4() {
                (IPPROTO_IP, IP_ECN)
            } else {
                (IPPROTO_IPV6, IPV6_ECN)
            };
            control.push(level, kind, u32::from(batch.ecn.bits()));
        }
        #[cfg(test)]
        if let Some(system) = self.system {
            system(segment.is_some(), marked)?;
            control = Control::new();
        }
        sys::send(&self.socket, destination, bytes, &control)?;
        self.stale = false;
        Ok(())
    }

    /// Counts `lost` datagrams; false when they are not lost but must wait. Fails when the socket itself is broken.
    pub(super) fn failed(&mut self, code: sys::Code, lost: u64, report: &mut SendReport) -> io::Result<bool> {
        let error = io::Error::from_raw_os_error(code);
        match code {
            WSAEWOULDBLOCK => {
                report.blocked = true;
                return Ok(false);
            }
            WSAENOTSOCK => return Err(error),
            WSAEMSGSIZE => report.too_large += lost,
            WSAENETUNREACH | WSAEHOSTUNREACH | WSAENETDOWN | WSAEHOSTDOWN | WSAECONNREFUSED | WSAECONNRESET
            | WSAENETRESET | WSAEADDRNOTAVAIL | WSAEAFNOSUPPORT => report.unreachable += lost,
            // WSAENOBUFS among them: a queue of the system's that no event tells of.
            _ => report.refused += lost,
        }
        self.note_lost_interface(code);
        tracing::trace!(%error, lost, "datagrams were not sent");
        Ok(true)
    }
}

/// WSAEINVAL, WSAENOPROTOOPT, WSAEOPNOTSUPP: not with this driver. WSAEMSGSIZE: a segment does not fit the path, while one
/// datagram may still be fragmented, or is shorter.
fn refuses_segmentation(code: sys::Code) -> bool {
    matches!(code, WSAEINVAL | WSAENOPROTOOPT | WSAEOPNOTSUPP | WSAEMSGSIZE)
}
