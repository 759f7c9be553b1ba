//! Receiving: what the system has merged is told or found out, and lent as it lies.

use super::{BATCH, Udp, sys};
use crate::socket::{
    control::Control,
    merged::{Found, SEARCHED, judge},
};
use bytes::BytesMut;
use std::{io, net::SocketAddr};
use vestibule_engine::packet::{Datagram, Datagrams, Ecn, GivenDatagram};
use windows_sys::Win32::Networking::WinSock::{
    IP_ECN, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP, IPV6_ECN, UDP_COALESCED_INFO, UDP_RECV_MAX_COALESCED_SIZE,
    WSAECONNRESET, WSAEFAULT, WSAEINTR, WSAENETRESET, WSAENOTSOCK, WSAEWOULDBLOCK,
};

/// What a slot holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    pub(super) stride: usize,
    pub(super) source: SocketAddr,
    pub(super) ecn: Ecn,
}

impl Udp {
    /// Fills the slots. False when nothing more is waiting.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
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
                    self.note_lost_interface(code);
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

    pub(super) fn stop_coalescing(&mut self) {
        let former = std::mem::replace(&mut self.abilities.coalescing, false);
        if former && let Err(code) = sys::set_option(&self.socket, IPPROTO_UDP, UDP_RECV_MAX_COALESCED_SIZE, 0) {
            let error = io::Error::from_raw_os_error(code);
            tracing::debug!(%error, "URO was not switched off");
        }
    }
}

/// The datagrams at hand.
pub(super) struct Batch<'a> {
    pub(super) found: &'a [Incoming],
    pub(super) slots: &'a mut [BytesMut],
    pub(super) next: usize,
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
