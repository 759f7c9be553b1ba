//! Opening the UDP socket: family, options, address. What a system lacks is done without.

use super::{Abilities, sys};
use crate::socket::{UdpConfig, ipv4_of};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::{
    io,
    net::SocketAddr,
    os::windows::io::{AsHandle, OwnedHandle},
};
use windows_sys::Win32::Networking::WinSock::{
    IP_DONTFRAGMENT, IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IP_PMTUDISC_PROBE, IP_RECVECN, IPPROTO_IP, IPPROTO_IPV6,
    IPPROTO_UDP, IPV6_DONTFRAG, IPV6_MTU_DISCOVER, IPV6_RECVECN, SIO_UDP_CONNRESET, SIO_UDP_NETRESET,
    SO_EXCLUSIVEADDRUSE, SOL_SOCKET, UDP_RECV_MAX_COALESCED_SIZE, UDP_SEND_MSG_SIZE, WSAEADDRNOTAVAIL, WSAEAFNOSUPPORT,
    WSAEPROTONOSUPPORT,
};

/// Most bytes that URO may merge. The largest UDP datagram: what is merged is delivered as one.
const COALESCED: u32 = 65_527;

/// An open socket and what it can do.
pub(super) struct Opened {
    pub(super) socket: Socket,
    pub(super) event: OwnedHandle,
    pub(super) receiver: sys::Receiver,
    pub(super) abilities: Abilities,
}

pub(super) fn open(config: &UdpConfig) -> io::Result<Opened> {
    match (open_at(config, config.bind), ipv4_of(config.bind)) {
        (Err(error), Some(fallback)) if config.bind.is_ipv6() && lacks_ipv6(&error) => {
            tracing::debug!(%error, "no IPv6 here: the socket serves IPv4 alone");
            open_at(config, fallback)
        }
        (opened, _) => opened,
    }
}

/// IPv6 may be switched off for the whole system, or unbound from every adapter.
fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(WSAEAFNOSUPPORT | WSAEADDRNOTAVAIL | WSAEPROTONOSUPPORT))
}

fn open_at(config: &UdpConfig, address: SocketAddr) -> io::Result<Opened> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    let mut abilities = Abilities { mapped: false, ..Abilities::default() };
    if address.is_ipv6() {
        let mapped = address.ip().is_unspecified();
        match socket.set_only_v6(!mapped) {
            Ok(()) => abilities.mapped = mapped,
            // Without IPv4 half of the gateways would be out of reach; the caller takes IPv4 alone then.
            Err(_) if mapped => return Err(io::Error::from_raw_os_error(WSAEAFNOSUPPORT)),
            Err(error) => return Err(error),
        }
    }
    if let Err(error) = socket.set_recv_buffer_size(config.receive_buffer) {
        tracing::debug!(%error, bytes = config.receive_buffer, "the receive buffer keeps the system's size");
    }
    if let Err(error) = socket.set_send_buffer_size(config.send_buffer) {
        tracing::debug!(%error, bytes = config.send_buffer, "the send buffer keeps the system's size");
    }
    // Without these, what ICMP tells of one destination would end every receive with an error.
    abilities.silent_icmp = had("SIO_UDP_CONNRESET off", sys::set_switch(&socket, SIO_UDP_CONNRESET, false));
    had("SIO_UDP_NETRESET off", sys::set_switch(&socket, SIO_UDP_NETRESET, false));
    // Reading the option tells whether there is segmentation; a size of its own every batch brings along.
    abilities.segmentation = had("UDP_SEND_MSG_SIZE", sys::option(&socket, IPPROTO_UDP, UDP_SEND_MSG_SIZE).map(drop));
    let merge = sys::set_option(&socket, IPPROTO_UDP, UDP_RECV_MAX_COALESCED_SIZE, COALESCED);
    abilities.coalescing = had("UDP_RECV_MAX_COALESCED_SIZE", merge);
    // An IPv6 socket is asked for both: it may serve IPv4.
    let v6 = !address.is_ipv6() || had("IPV6_RECVECN", sys::set_option(&socket, IPPROTO_IPV6, IPV6_RECVECN, 1));
    let v4 =
        !serves_ipv4(address, &abilities) || had("IP_RECVECN", sys::set_option(&socket, IPPROTO_IP, IP_RECVECN, 1));
    abilities.ecn = v4 && v6;
    // Another program may not take our port along with us, whatever options it sets.
    had("SO_EXCLUSIVEADDRUSE", sys::set_option(&socket, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, 1));
    socket.bind(&SockAddr::from(address))?;
    let event = sys::event()?;
    sys::select(&socket, event.as_handle())?;
    let receiver = sys::receiver(&socket)?;
    Ok(Opened { socket, event, receiver, abilities })
}

/// Whether what is sent from now on may be fragmented; returns how many system calls that took. An IPv6 socket that serves
/// IPv4 is told for both families.
///
/// Whole: IPv4's don't-fragment is set, this host fragments nothing, and what ICMP says of the path, which anybody can
/// forge, is not believed (PROBE). A system that lacks this option (before Windows 10) has an older one, which only sets
/// don't-fragment. Else routers may fragment over IPv4, and this host over both.
pub(super) fn set_whole(socket: &Socket, v4: bool, v6: bool, whole: bool) -> u64 {
    let discover = if whole { IP_PMTUDISC_PROBE } else { IP_PMTUDISC_DONT };
    let mut calls = 0;
    let families =
        [(v4, IPPROTO_IP, IP_MTU_DISCOVER, IP_DONTFRAGMENT), (v6, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_DONTFRAG)];
    for (_, level, name, older) in families.into_iter().filter(|(served, ..)| *served) {
        calls += 1;
        if sys::set_option(socket, level, name, discover.cast_unsigned()).is_err() {
            calls += 1;
            had("don't-fragment", sys::set_option(socket, level, older, u32::from(whole)));
        }
    }
    calls
}

fn serves_ipv4(address: SocketAddr, abilities: &Abilities) -> bool {
    address.is_ipv4() || abilities.mapped
}

/// Whether an optional setting took.
fn had(what: &str, set: Result<(), sys::Code>) -> bool {
    if let Err(code) = set {
        let error = io::Error::from_raw_os_error(code);
        tracing::debug!(%error, what, "a socket option is not to be had");
    }
    set.is_ok()
}
