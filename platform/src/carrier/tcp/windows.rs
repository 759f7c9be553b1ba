//! Windows: a mark is the interface that a connection leaves by; what is not sent yet has no limit of its own.

use crate::{Unsupported, netcfg::interface_around_tunnels};
use socket2::SockRef;
use std::{io, net::SocketAddr};
use tokio::net::{TcpSocket, TcpStream};

/// The interface that leads to `remote` past our tunnels. A connection ends with its network, so that it is chosen once.
pub(super) fn mark(socket: &TcpSocket, _mark: u32, remote: SocketAddr) -> io::Result<()> {
    let Some(index) = interface_around_tunnels(remote.ip())? else { return Ok(()) };
    crate::socket::leave_by(&SockRef::from(socket), remote.ip(), index)
}

pub(super) fn limit_unsent(_stream: &TcpStream, _bytes: u32) -> io::Result<()> {
    Err(Unsupported { what: "a limit of unsent bytes" }.into())
}
