//! Changes of the host's network: when to look, and what to look at.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Calls `changed` after every change of addresses, links or routes in the calling thread's network namespace, from a
/// thread of its own, until it returns false. Changes that come together are told once. Where the system does not tell,
/// it is called every few seconds.
///
/// # Errors
/// The system refuses the socket or the thread.
pub fn watch(changed: impl FnMut() -> bool + Send + 'static) -> io::Result<()> {
    super::imp::watch(changed)
}

/// The address of ours that packets to `peer` leave with, by the system's routes; `None` without a way there. Nothing
/// is sent.
#[must_use]
pub fn source_towards(peer: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(peer).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_talk_to_ourselves_from_the_same_address() {
        for text in ["127.0.0.1:443", "127.0.0.9:443"] {
            let Ok(peer) = text.parse() else { continue };
            assert_eq!(source_towards(peer), Some(Ipv4Addr::LOCALHOST.into()));
        }
    }
}
