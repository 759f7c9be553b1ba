//! Linux: marks for policy routing.

use nix::sys::socket::{setsockopt, sockopt};
use std::io;
use tokio::net::TcpSocket;

pub(super) fn mark(socket: &TcpSocket, mark: u32) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::Mark, &mark)?)
}
