//! Opening the UDP socket: family, options, address.

use super::{UdpConfig, sys};
use crate::socket::ipv4_of;
use nix::{
    errno::Errno,
    libc,
    sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt},
};
use std::{
    io,
    net::{SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

/// The socket, and whether it is an IPv6 one that serves IPv4 too.
pub(super) fn open(config: &UdpConfig) -> io::Result<(OwnedFd, bool)> {
    match open_at(config, config.bind) {
        Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) if config.bind.is_ipv6() && ipv4_of(config.bind).is_some() => {
            let fallback = ipv4_of(config.bind).unwrap_or(config.bind);
            tracing::debug!("no IPv6 here: the socket serves IPv4 alone");
            Ok(open_at(config, fallback)?)
        }
        other => Ok(other?),
    }
}

fn open_at(config: &UdpConfig, address: SocketAddr) -> Result<(OwnedFd, bool), Errno> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let socket = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    let mapped = address.is_ipv6() && address.ip().is_unspecified();
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &!mapped)?;
    }
    if let Some(mark) = config.mark {
        setsockopt(&socket, sockopt::Mark, &mark)?;
    }
    set_buffers(&socket, config);
    // Optional: without GRO datagrams come one by one, without the overflow counter a loss stays unseen, and without type
    // of service and traffic class congestion marks do (an IPv6 socket is asked for both: it may serve IPv4).
    let optional = [
        (libc::SOL_UDP, libc::UDP_GRO, 1),
        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1),
        (libc::IPPROTO_IP, libc::IP_RECVTOS, 1),
    ];
    let of_v6 = address.is_ipv6().then_some((libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1));
    for (level, name, value) in optional.into_iter().chain(of_v6) {
        set_option(&socket, level, name, value);
    }
    set_whole(&socket, address.is_ipv6(), false);
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok((socket, mapped))
}

fn set_option(socket: &OwnedFd, level: i32, name: i32, value: i32) {
    if let Err(error) = sys::set_option(socket.as_fd(), level, name, value) {
        tracing::debug!(%error, level, name, "a socket option is not to be had");
    }
}

/// Whether what is sent from now on may be fragmented; returns how many system calls that took. An IPv6 socket is told for
/// both families: it may serve IPv4.
///
/// Whole: IPv4's don't-fragment is set, nothing beyond the interface's MTU is taken (EMSGSIZE), and what ICMP says of the
/// path is not believed, which anybody can forge (PROBE). Else routers fragment over IPv4, which needs nobody's word, and
/// this host does over IPv6, by what ICMP says.
pub(super) fn set_whole(socket: &OwnedFd, v6: bool, whole: bool) -> u64 {
    let (v4_value, v6_value) = match whole {
        true => (libc::IP_PMTUDISC_PROBE, libc::IPV6_PMTUDISC_PROBE),
        false => (libc::IP_PMTUDISC_DONT, libc::IPV6_PMTUDISC_DONT),
    };
    set_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, v4_value);
    if v6 {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, v6_value);
    }
    1 + u64::from(v6)
}

/// Large buffers: beyond the system's limits when privileged, up to them otherwise.
fn set_buffers(socket: &OwnedFd, config: &UdpConfig) {
    if setsockopt(socket, sockopt::RcvBufForce, &config.receive_buffer).is_err() {
        let _ = setsockopt(socket, sockopt::RcvBuf, &config.receive_buffer);
    }
    if setsockopt(socket, sockopt::SndBufForce, &config.send_buffer).is_err() {
        let _ = setsockopt(socket, sockopt::SndBuf, &config.send_buffer);
    }
}

/// A system's address as ours; IPv4-mapped ones as IPv4.
pub(super) fn address(name: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = name.as_sockaddr_in() {
        return Some(SocketAddr::V4(SocketAddrV4::from(*v4)));
    }
    let v6 = SocketAddrV6::from(*name.as_sockaddr_in6()?);
    Some(match v6.ip().to_ipv4_mapped() {
        Some(v4) => SocketAddr::from((v4, v6.port())),
        None => SocketAddr::V6(v6),
    })
}
