//! Systems without marks, and without a limit of what is not sent yet.

use crate::Unsupported;
use std::{io, net::SocketAddr};
use tokio::net::{TcpSocket, TcpStream};

pub(super) fn mark(_socket: &TcpSocket, _mark: u32, _remote: SocketAddr) -> io::Result<()> {
    Err(Unsupported { what: "marking a TCP connection" }.into())
}

pub(super) fn limit_unsent(_stream: &TcpStream, _bytes: u32) -> io::Result<()> {
    Err(Unsupported { what: "a limit of unsent bytes" }.into())
}
