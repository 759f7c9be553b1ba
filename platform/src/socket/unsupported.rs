//! Systems whose socket is not written yet: binding one says so.

use super::{ReceiveReport, SendReport, Socket, UdpConfig};
use crate::{
    Unsupported,
    wait::{OsHandle, Waitable},
};
use std::{convert::Infallible, io, net::SocketAddr};
use vestibule_engine::packet::{Datagram, Datagrams, TransmitQueue};

/// A UDP socket. There is none on this system yet, so no value of this type exists.
#[derive(Debug)]
pub struct Udp(Infallible);

impl Udp {
    /// Opens the socket.
    ///
    /// # Errors
    /// Always of kind `Unsupported` on this system.
    pub fn bind(_config: &UdpConfig) -> io::Result<Self> {
        Err(Unsupported { what: "the UDP socket" }.into())
    }
}

impl Waitable for Udp {
    fn handle(&self) -> Option<OsHandle<'_>> {
        match self.0 {}
    }
}

impl Socket for Udp {
    fn send(&mut self, _queue: &mut TransmitQueue) -> io::Result<SendReport> {
        match self.0 {}
    }

    fn receive(&mut self) -> io::Result<impl Datagrams + '_> {
        Ok(Nothing(&self.0))
    }

    fn receive_report(&self) -> ReceiveReport {
        match self.0 {}
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self.0 {}
    }

    fn rebind_to(&mut self, _port: u16) -> io::Result<()> {
        match self.0 {}
    }

    fn set_mark(&mut self, _mark: u32) -> io::Result<()> {
        match self.0 {}
    }
}

struct Nothing<'a>(&'a Infallible);

impl Datagrams for Nothing<'_> {
    fn next_datagram(&mut self) -> Option<Datagram<'_>> {
        match *self.0 {}
    }
}
