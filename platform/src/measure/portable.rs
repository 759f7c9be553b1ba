//! One datagram at a time, stamped when the program sees it.

use super::LARGEST;
use socket2::SockRef;
use std::{
    io,
    net::UdpSocket,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub(super) const KEEPS_TIME: bool = false;

pub(super) fn prepare(socket: &UdpSocket, buffer: usize) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_recv_buffer_size(buffer)?;
    socket.set_send_buffer_size(buffer)
}

#[derive(Debug)]
pub(super) struct Receiver {
    buffer: Vec<u8>,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; LARGEST] }
    }

    pub(super) fn receive(
        &mut self,
        socket: &UdpSocket,
        patience: Duration,
        mut take: impl FnMut(&[u8], u64),
    ) -> io::Result<usize> {
        socket.set_read_timeout(Some(patience.max(Duration::from_millis(1))))?;
        match socket.recv(&mut self.buffer) {
            Ok(count) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                take(&self.buffer[..count], u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
                Ok(1)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(0),
            Err(error) => Err(error),
        }
    }
}

pub(super) fn send(socket: &UdpSocket, datagrams: &[&[u8]]) -> io::Result<usize> {
    for (sent, datagram) in datagrams.iter().enumerate() {
        match socket.send(datagram) {
            Ok(_) => {}
            Err(_) if sent > 0 => return Ok(sent),
            Err(error) => return Err(error),
        }
    }
    Ok(datagrams.len())
}
