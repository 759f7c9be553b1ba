//! Systems without marks.

use crate::Unsupported;
use std::io;
use tokio::net::TcpSocket;

pub(super) fn mark(_socket: &TcpSocket, _mark: u32) -> io::Result<()> {
    Err(Unsupported { what: "marking a TCP connection" }.into())
}
