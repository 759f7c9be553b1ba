//! Datagrams from the socket: to their connections, or to none.

use super::Drops;
use super::endpoint::{Endpoint, transmit};
use super::half_open::Room;
use crate::masque::ip::Role;
use crate::packet::Ecn;
use bytes::BytesMut;
use quinn_proto::{DatagramEvent, EcnCodepoint, Incoming};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

impl Endpoint {
    /// Takes a datagram from the socket. Call [`Self::settle`] after a batch of them.
    pub fn handle_datagram(
        &mut self,
        source: SocketAddr,
        local: Option<IpAddr>,
        ecn: Ecn,
        bytes: BytesMut,
        now: Instant,
    ) {
        let mut response = Vec::new();
        let len = bytes.len();
        let ecn = EcnCodepoint::from_bits(ecn.bits());
        match self.quic.handle(now, source, local, ecn, bytes, &mut response) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some((connection, _)) = self.connections.get_mut(&handle) {
                    connection.quic.handle_event(event);
                    connection.heard = now;
                    connection.widest = connection.widest.max(len);
                    if self.receiving.back() != Some(&handle) {
                        self.receiving.push_back(handle);
                    }
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.admit(incoming, now),
            Some(DatagramEvent::Response(transmit)) => {
                self.drops.no_connection += 1;
                self.respond(&transmit, response);
            }
            None => self.drops.no_connection += 1,
        }
    }

    /// What was dropped since the last call.
    pub fn take_drops(&mut self) -> Drops {
        std::mem::take(&mut self.drops)
    }

    fn admit(&mut self, incoming: Incoming, now: Instant) {
        let mut response = Vec::new();
        let (address, proven) = (incoming.remote_address().ip(), incoming.remote_address_validated());
        match self.half_open.room_for(address, proven) {
            Room::Free => {}
            Room::Proven => {
                self.drops.busy += 1;
                if let Ok(transmit) = self.quic.retry(incoming, &mut response) {
                    self.respond(&transmit, response);
                }
                return;
            }
            Room::None => {
                self.drops.busy += 1;
                let transmit = self.quic.refuse(incoming, &mut response);
                return self.respond(&transmit, response);
            }
        }
        let config = self.server(address.is_ipv6());
        match self.quic.accept(incoming, now, &mut response, config) {
            Ok((handle, quic)) => {
                self.half_open.insert(handle, address, proven);
                self.add(handle, quic, Role::Gateway, now);
            }
            Err(error) => {
                if let Some(transmit) = error.response {
                    self.respond(&transmit, response);
                }
            }
        }
    }

    fn respond(&mut self, sent: &quinn_proto::Transmit, bytes: Vec<u8>) {
        self.responses.push_back((transmit(sent, false), bytes));
    }
}
