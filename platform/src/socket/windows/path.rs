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
use std::{
    io,
    net::IpAddr,
    time::{Duration, Instant},
};
use windows_sys::Win32::Networking::WinSock::{IP_UNICAST_IF, IPPROTO_IP, IPPROTO_IPV6, IPV6_UNICAST_IF};

/// Destinations whose interface is remembered: a gateway's addresses.
const MAX_KNOWN: usize = 16;
/// How long the system is left alone when it could not tell its routes.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Path {
    /// The socket carries a mark: it must stay out of the tunnel.
    marked: bool,
    /// The network as it was when `known` was found out.
    seen: u64,
    known: Vec<(IpAddr, u32)>,
    /// The routes could not be read: until then nothing is asked, and what is bound stays bound.
    again: Option<Instant>,
    /// For IPv4 and IPv6.
    bindings: [Binding; 2],
}

/// What the socket is bound to for one family; 0 is nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Binding {
    index: u32,
    /// What the system has refused since the last change of network: not tried again before the next.
    refused: Option<u32>,
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
            self.look_again();
        }
        changed
    }

    /// Nothing is known any longer, and nothing refused; what is bound is bound.
    fn look_again(&mut self) {
        self.known.clear();
        self.again = None;
        self.bindings.iter_mut().for_each(|binding| binding.refused = None);
    }

    /// Binds the socket to the interface that leads to `to`.
    pub(super) fn towards(&mut self, socket: &Socket, to: IpAddr) {
        let bind = |to, index| leave_by(socket, to, index);
        self.choose(to.to_canonical(), interface_around_tunnels, bind);
    }

    /// As [`Self::towards`]: `look` tells the interface, `bind` binds to it.
    fn choose(
        &mut self,
        to: IpAddr,
        look: impl FnOnce(IpAddr) -> io::Result<Option<u32>>,
        bind: impl FnOnce(IpAddr, u32) -> io::Result<()>,
    ) {
        let Some(index) = self.interface(to, look) else { return };
        let [v4, v6] = &mut self.bindings;
        let binding = if to.is_ipv6() { v6 } else { v4 };
        if binding.index == index || binding.refused == Some(index) {
            return;
        }
        match bind(to, index) {
            Ok(()) => {
                tracing::debug!(index, v6 = to.is_ipv6(), "the tunnel's datagrams leave by this interface");
                *binding = Binding { index, refused: None };
            }
            Err(error) => {
                tracing::warn!(%error, index, "the tunnel's datagrams were not bound to an interface");
                binding.refused = Some(index);
            }
        }
    }

    /// The interface that leads to `to`, 0 for any; `None` where nobody knows.
    fn interface(&mut self, to: IpAddr, look: impl FnOnce(IpAddr) -> io::Result<Option<u32>>) -> Option<u32> {
        if let Some((_, index)) = self.known.iter().find(|(known, _)| *known == to) {
            return Some(*index);
        }
        if self.again.is_some_and(|again| Instant::now() < again) {
            return None;
        }
        let index = match if self.marked { look(to) } else { Ok(None) } {
            Ok(index) => index.unwrap_or(0),
            Err(error) => {
                tracing::warn!(%error, "the system's routes were not read: the tunnel's datagrams leave as before");
                self.again = Some(Instant::now() + AGAIN);
                return None;
            }
        };
        self.again = None;
        if self.known.len() == MAX_KNOWN {
            self.known.clear();
        }
        self.known.push((to, index));
        Some(index)
    }

    /// Whether the socket must stay out of the tunnel from now on.
    pub(super) fn mark(&mut self, marked: bool) {
        self.marked = marked;
        self.look_again();
    }

    /// The socket is a new one, bound to nothing yet.
    pub(super) fn forget(&mut self) {
        self.bindings = [Binding::default(); 2];
        self.look_again();
    }
}

/// What a socket sends towards `to`'s family leaves by this interface; 0 is any.
pub(crate) fn leave_by(socket: &Socket, to: IpAddr, index: u32) -> io::Result<()> {
    let (level, name) = if to.is_ipv4() { (IPPROTO_IP, IP_UNICAST_IF) } else { (IPPROTO_IPV6, IPV6_UNICAST_IF) };
    sys::set_option(socket, level, name, unicast_interface(to, index)).map_err(io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A socket that must stay out of the tunnel, and what it was bound to.
    #[derive(Default)]
    struct Seen {
        looks: u32,
        bound: Vec<(bool, u32)>,
    }

    fn choose(path: &mut Path, seen: &mut Seen, to: &str, leads: io::Result<Option<u32>>, binds: bool) {
        let look = |_| {
            seen.looks += 1;
            leads
        };
        path.choose(to.parse().unwrap(), look, |to, index| {
            seen.bound.push((to.is_ipv6(), index));
            if binds { Ok(()) } else { Err(io::Error::from_raw_os_error(10_049)) }
        });
    }

    fn failed() -> io::Result<Option<u32>> {
        Err(io::Error::from_raw_os_error(8))
    }

    #[test]
    fn each_family_is_bound_once_and_again_when_the_way_is_another() {
        let (mut path, mut seen) = (Path::new(true), Seen::default());
        for _ in 0..3 {
            choose(&mut path, &mut seen, "192.0.2.1", Ok(Some(7)), true);
            choose(&mut path, &mut seen, "2001:db8::1", Ok(Some(9)), true);
        }
        assert_eq!((seen.looks, &seen.bound[..]), (2, &[(false, 7), (true, 9)][..]));
        path.look_again();
        choose(&mut path, &mut seen, "192.0.2.1", Ok(Some(7)), true);
        choose(&mut path, &mut seen, "2001:db8::1", Ok(None), true);
        assert_eq!((seen.looks, &seen.bound[2..]), (4, &[(true, 0)][..]), "one leads as before, one is free");
        path.forget();
        choose(&mut path, &mut seen, "192.0.2.1", Ok(Some(7)), true);
        assert_eq!(seen.bound[3..], [(false, 7)], "another socket");
    }

    #[test]
    fn what_was_refused_is_tried_again_after_the_next_change_of_network() {
        let (mut path, mut seen) = (Path::new(true), Seen::default());
        for _ in 0..3 {
            choose(&mut path, &mut seen, "192.0.2.1", Ok(Some(7)), false);
        }
        assert_eq!(seen.bound, [(false, 7)], "not with every batch");
        path.look_again();
        choose(&mut path, &mut seen, "192.0.2.1", Ok(Some(7)), true);
        choose(&mut path, &mut seen, "192.0.2.1", Ok(Some(7)), true);
        assert_eq!(seen.bound, [(false, 7), (false, 7)]);
    }

    #[test]
    fn unreadable_routes_unbind_nothing_and_are_asked_for_again_soon() {
        let (mut path, mut seen) = (Path::new(true), Seen::default());
        choose(&mut path, &mut seen, "192.0.2.1", Ok(Some(7)), true);
        path.look_again();
        choose(&mut path, &mut seen, "192.0.2.1", failed(), true);
        assert!(path.again.is_some());
        path.again = Some(Instant::now() + 3600 * AGAIN);
        choose(&mut path, &mut seen, "192.0.2.1", failed(), true);
        assert_eq!((seen.looks, &seen.bound[..]), (2, &[(false, 7)][..]), "what is bound stays, and nobody asks on");
        path.again = Some(Instant::now());
        choose(&mut path, &mut seen, "192.0.2.1", Ok(Some(8)), true);
        assert_eq!((seen.looks, &seen.bound[1..]), (3, &[(false, 8)][..]));
    }

    #[test]
    fn who_carries_no_mark_is_bound_to_nothing() {
        let (mut path, mut seen) = (Path::new(false), Seen::default());
        choose(&mut path, &mut seen, "192.0.2.1", Ok(Some(7)), true);
        assert_eq!((seen.looks, seen.bound.len()), (0, 0));
        path.mark(true);
        choose(&mut path, &mut seen, "192.0.2.1", Ok(Some(7)), true);
        path.mark(false);
        choose(&mut path, &mut seen, "192.0.2.1", Ok(Some(7)), true);
        assert_eq!(seen.bound, [(false, 7), (false, 0)]);
    }
}
