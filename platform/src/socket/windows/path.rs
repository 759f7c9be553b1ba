//! Which interface the tunnel's own datagrams leave by: the one that would lead there without the tunnel.
//!
//! Windows routes by destination alone, so that a socket's mark becomes an interface: `IP_UNICAST_IF` overrides the routes
//! into the tunnel. It is looked up again after every change of the network, and not bound at all while no tunnel of ours
//! has routes.

use super::sys;
use crate::{
    netcfg::{changes, interface_around_tunnels},
    socket::control::unicast_interface,
};
use socket2::Socket;
use std::{io, net::IpAddr};
use windows_sys::Win32::Networking::WinSock::{IP_UNICAST_IF, IPPROTO_IP, IPPROTO_IPV6, IPV6_UNICAST_IF};

/// Destinations whose interface is remembered: a gateway's addresses.
const MAX_KNOWN: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Path {
    /// The socket carries a mark: it must stay out of the tunnel.
    marked: bool,
    /// The network as it was when `known` was found out.
    seen: u64,
    known: Vec<(IpAddr, u32)>,
    /// What the socket is bound to, for IPv4 and IPv6; 0 is nothing.
    bound: [u32; 2],
}

impl Path {
    pub(super) fn new(marked: bool) -> Self {
        Self { marked, ..Self::default() }
    }

    /// Whether the network has changed since the last call.
    pub(super) fn has_changed(&mut self) -> bool {
        let now = changes();
        let changed = std::mem::replace(&mut self.seen, now) != now;
        if changed {
            self.known.clear();
        }
        changed
    }

    /// Binds the socket to the interface that leads to `to`.
    pub(super) fn towards(&mut self, socket: &Socket, to: IpAddr) {
        let to = to.to_canonical();
        let index = match self.known.iter().find(|(known, _)| *known == to) {
            Some((_, index)) => *index,
            None => {
                let index = if self.marked { interface_around_tunnels(to).unwrap_or(0) } else { 0 };
                if self.known.len() == MAX_KNOWN {
                    self.known.clear();
                }
                self.known.push((to, index));
                index
            }
        };
        let family = usize::from(to.is_ipv6());
        if self.bound.get(family) == Some(&index) {
            return;
        }
        match leave_by(socket, to, index) {
            Ok(()) => tracing::debug!(index, v6 = to.is_ipv6(), "the tunnel's datagrams leave by this interface"),
            Err(error) => tracing::warn!(%error, index, "the tunnel's datagrams were not bound to an interface"),
        }
        // Also after a failure: the next change of network tries again, not the next batch.
        if let Some(bound) = self.bound.get_mut(family) {
            *bound = index;
        }
    }

    /// Whether the socket must stay out of the tunnel from now on.
    pub(super) fn mark(&mut self, marked: bool) {
        self.marked = marked;
        self.known.clear();
    }

    /// The socket is a new one, bound to nothing yet.
    pub(super) fn forget(&mut self) {
        self.bound = [0; 2];
        self.known.clear();
    }
}

/// What a socket sends towards `to`'s family leaves by this interface; 0 is any.
pub(crate) fn leave_by(socket: &Socket, to: IpAddr, index: u32) -> io::Result<()> {
    let (level, name) = if to.is_ipv4() { (IPPROTO_IP, IP_UNICAST_IF) } else { (IPPROTO_IPV6, IPV6_UNICAST_IF) };
    sys::set_option(socket, level, name, unicast_interface(to, index)).map_err(io::Error::from_raw_os_error)
}
