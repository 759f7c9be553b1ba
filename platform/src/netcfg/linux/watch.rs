//! The kernel's news of links, addresses and routes.

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::io;
use std::thread;
use std::time::Duration;

/// Groups of rtnetlink(7): RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
/// A change of network is several messages (address, connected route, default route): they are waited for so long.
const TOGETHER: Duration = Duration::from_millis(50);

pub(in crate::netcfg) fn watch(mut changed: impl FnMut() -> bool + Send + 'static) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind(&SocketAddr::new(0, GROUPS))?;
    let work = move || {
        loop {
            // ENOBUFS: there was more than fits, which is news as well.
            if let Err(error) = socket.recv_from_full()
                && error.raw_os_error() != Some(libc::ENOBUFS)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::warn!(%error, "changes of the network are not heard of any longer");
                return;
            }
            thread::sleep(TOGETHER);
            if let Err(error) = drain(&mut socket) {
                tracing::debug!(%error, "what has changed in the network besides was not read");
            }
            if !changed() {
                return;
            }
        }
    };
    thread::Builder::new().name("network watch".to_owned()).spawn(work).map(drop)
}

/// Reads what came in the meantime.
fn drain(socket: &mut Socket) -> io::Result<()> {
    socket.set_non_blocking(true)?;
    while socket.recv_from_full().is_ok() {}
    socket.set_non_blocking(false)
}
