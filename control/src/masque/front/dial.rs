//! Connections through the tunnel, asked for by tasks.

use super::pipe::Pipe;
use super::{Destination, DialError};
use crossbeam_channel::Sender;
use ipnet::IpNet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::sync::oneshot;

/// What a task asks of the stack's thread.
pub(super) enum Order {
    /// These are our addresses from now on.
    Addresses(Vec<IpNet>),
    Connect(SocketAddr, oneshot::Sender<Result<Arc<Pipes>, DialError>>),
    Resolve(String, oneshot::Sender<Result<IpAddr, DialError>>),
    /// A pipe has moved.
    Look,
}

/// A connection's two ways.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    /// Into the tunnel.
    pub(super) up: Pipe,
    /// Out of it.
    pub(super) down: Pipe,
}

/// Asks for connections. The stack ends when the last one is dropped.
#[derive(Clone)]
pub(in crate::masque) struct Dialer {
    pub(super) orders: Sender<Order>,
    pub(super) resolves: bool,
}

impl Dialer {
    /// Tells the stack its addresses.
    pub(in crate::masque) fn set_addresses(&self, addresses: Vec<IpNet>) {
        // It has ended: nobody needs addresses.
        let _ = self.orders.send(Order::Addresses(addresses));
    }

    /// Connects.
    pub(super) async fn dial(&self, to: &Destination) -> Result<Connection, DialError> {
        let to = match to {
            Destination::Address(address) => *address,
            Destination::Name(..) if !self.resolves => return Err(DialError::NoResolver),
            Destination::Name(name, port) => {
                let address = self.ask(|answer| Order::Resolve(name.clone(), answer)).await?;
                SocketAddr::new(address, *port)
            }
        };
        let pipes = self.ask(|answer| Order::Connect(to, answer)).await?;
        Ok(Connection { pipes, orders: self.orders.clone() })
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<Result<T, DialError>>) -> Order) -> Result<T, DialError> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(order(answer)).map_err(|_| DialError::Ended)?;
        answered.await.map_err(|_| DialError::Ended)?
    }
}

/// An open connection; dropping it resets it, unless both ways have ended.
pub(super) struct Connection {
    pipes: Arc<Pipes>,
    orders: Sender<Order>,
}

impl Connection {
    fn look(&self) {
        let _ = self.orders.send(Order::Look);
    }

    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.pipes.up.write(bytes).await?;
            bytes = &bytes[written..];
            self.look();
        }
        Ok(())
    }

    /// No more will be written.
    pub(super) fn end(&self) {
        self.pipes.up.end();
        self.look();
    }

    pub(super) async fn read(&self, room: &mut [u8]) -> io::Result<usize> {
        let read = self.pipes.down.read(room).await?;
        self.look();
        Ok(read)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !(self.pipes.up.is_over() && self.pipes.down.is_over()) {
            self.pipes.up.break_off();
        }
        self.look();
    }
}
