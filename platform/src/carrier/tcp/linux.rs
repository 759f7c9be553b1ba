//! Linux: marks for policy routing, and a short queue of what is not sent yet.

use nix::sys::socket::{setsockopt, sockopt};
use socket2::SockRef;
use std::{io, net::SocketAddr};
use tokio::net::{TcpSocket, TcpStream};

pub(super) fn mark(socket: &TcpSocket, mark: u32, _remote: SocketAddr) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::Mark, &mark)?)
}

pub(super) fn limit_unsent(stream: &TcpStream, bytes: u32) -> io::Result<()> {
    SockRef::from(stream).set_tcp_notsent_lowat(bytes)
}
