//! Another socket in the place of one: on request, and after a change of network under it.

use super::{
    Udp,
    open::{Opened, open},
    sys,
};
use crate::netcfg::wakes;
use std::io;
use windows_sys::Win32::Networking::WinSock::{WSAEADDRNOTAVAIL, WSAEINVAL, WSAENETDOWN};

impl Udp {
    /// Another socket in the place of this one, at the same address but for the port.
    pub(super) fn reopen(&mut self, port: u16) -> io::Result<()> {
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

    /// After a change of network: the way to the gateway may be another, and a socket that went deaf is replaced. After a
    /// sleep it is, whatever it says: the network may have become another one, and what stands between has forgotten it.
    /// A port that somebody has asked for is where peers look for us: it is kept, or tried again at each change.
    pub(super) fn follow_network(&mut self) {
        if !self.path.has_changed() {
            return;
        }
        let now = wakes();
        let woke = std::mem::replace(&mut self.wakes, now) != now;
        self.renew(woke);
    }

    /// As [`Self::follow_network`], once it has changed.
    pub(super) fn renew(&mut self, woke: bool) {
        let wanted = self.config.bind.port();
        let any = wanted == 0;
        let astray = !any && self.local_port() != Some(wanted);
        if !(self.stale || astray || (woke && any)) {
            return;
        }
        // At any port first: the wanted one is taken until its former socket is gone. Peers follow an endpoint anyway.
        let renewed = if astray { Ok(()) } else { self.reopen(0) };
        match renewed.and_then(|()| if any { Ok(()) } else { self.reopen(wanted) }) {
            Ok(()) => tracing::info!("the UDP socket was opened anew after a change of network"),
            Err(error) => {
                tracing::warn!(%error, wanted, "the UDP socket has not got its port again after a change of network")
            }
        }
    }

    /// To `port`, and there again after each change of network; 0: to any other, wherever that is.
    pub(super) fn move_to(&mut self, port: u16) -> io::Result<()> {
        if port == 0 || self.local_port() != Some(port) {
            self.reopen(port)?;
        }
        self.config.bind.set_port(port);
        Ok(())
    }

    fn local_port(&self) -> Option<u16> {
        Some(self.socket.local_addr().ok()?.as_socket()?.port())
    }

    /// The system has answered as a socket does whose interface was switched off, or off and on. What is sent after all
    /// takes the word back.
    pub(super) fn note_lost_interface(&mut self, code: sys::Code) {
        self.stale |= matches!(code, WSAEINVAL | WSAENETDOWN | WSAEADDRNOTAVAIL);
    }
}
