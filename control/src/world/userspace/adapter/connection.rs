//! A connection of the host of memory, as a program there sees it.

use super::host::{Host, PATIENCE};
use crate::world::host::stream::Duplex;
use smoltcp::{iface::SocketHandle, socket::tcp};
use std::{
    io::{self, Read, Write},
    sync::Arc,
    time::Instant,
};

/// A connection that stands. Clones are the same; it is closed when the last one goes.
#[derive(Clone)]
pub(super) struct Connection(Arc<Held>);

struct Held {
    host: Host,
    handle: SocketHandle,
}

impl Connection {
    pub(super) fn new(host: Host, handle: SocketHandle) -> Self {
        Self(Arc::new(Held { host, handle }))
    }

    /// Tries until something comes of it, and tells the other end what that changed.
    fn until<T>(&self, mut attempt: impl FnMut(&mut tcp::Socket<'static>) -> Option<io::Result<T>>) -> io::Result<T> {
        let Held { host, handle } = &*self.0;
        let until = Instant::now() + PATIENCE;
        let mut tcp = host.tcp();
        loop {
            if let Some(done) = attempt(tcp.sockets.get_mut(*handle)) {
                host.turn(tcp);
                return done;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            tcp = host.wait(tcp, left);
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.until(|socket| match socket.recv_slice(buffer) {
            Ok(0) if !buffer.is_empty() => None,
            Ok(count) => Some(Ok(count)),
            Err(tcp::RecvError::Finished) => Some(Ok(0)),
            Err(tcp::RecvError::InvalidState) => Some(Err(io::ErrorKind::ConnectionReset.into())),
        })
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.until(|socket| match socket.send_slice(bytes) {
            Ok(0) if !bytes.is_empty() => None,
            Ok(count) => Some(Ok(count)),
            Err(_) => Some(Err(io::ErrorKind::BrokenPipe.into())),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Duplex for Connection {
    fn second(&self) -> io::Result<Self> {
        Ok(self.clone())
    }

    fn finish(&self) -> io::Result<()> {
        self.until(|socket| {
            socket.close();
            Some(Ok(()))
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut tcp = self.host.tcp();
        tcp.leave(self.handle);
        self.host.turn(tcp);
    }
}
