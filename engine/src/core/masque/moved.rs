//! The host's network has changed under us: gateways are told before there is anything to send.

use super::Masque;
use crate::core::{Engine, PeerKind};
use crate::generation::{Carrier, Generation};
use crate::wireguard::Sealed;
use std::time::Instant;

impl Engine {
    /// The socket has another address, or the network another way: tells the gateways at once, so that what they send
    /// arrives without waiting for something to be sent to them. QUIC connections migrate (RFC 9000 section 9), with a
    /// fresh connection ID; those that had not come to stand, and HTTP/2's, are begun anew; a WireGuard session sends a keepalive. What
    /// drains does not move: nothing comes under it any longer.
    pub fn network_changed(&mut self, now: Instant) {
        for slot in 0..self.peers.len() {
            let peer = &mut self.peers[slot];
            // A gateway waits for its devices, and who talks to other implementations does as they do.
            if peer.kind != PeerKind::Gateway {
                continue;
            }
            for generation in peer.active.iter_mut().chain(&mut peer.preparing) {
                if let Some(masque) = &mut self.masque {
                    masque.network_changed(generation, now);
                }
                let Some(endpoint) = generation.endpoint else { continue };
                let sealed = generation.transport.wireguard().map(|session| session.seal(&[], &mut self.scratch, now));
                if let Some(Sealed::Data { len, .. }) = sealed {
                    self.transmits.push(endpoint, &self.scratch[..len]);
                    generation.counters.tx_bytes.add(len as u64);
                }
            }
            self.connect_masque(slot, now);
            self.arm(slot, now);
        }
        self.flush_masque(now);
    }
}

impl Masque {
    fn network_changed(&mut self, generation: &mut Generation, now: Instant) {
        let Some(tunnel) = generation.transport.masque() else { return };
        for carrier in tunnel.carriers() {
            match carrier {
                Carrier::Quic(connection) if self.endpoint.local_address_changed(connection, now) => {}
                // TCP does not move; what is in flight may still arrive where an address was added.
                Carrier::Stream(_) if tunnel.path.is_some_and(|path| path.carrier() == carrier) => {}
                // Its handshake would be answered to where we were.
                _ => {
                    self.close(carrier);
                    tunnel.lost(carrier, now);
                }
            }
        }
        tunnel.moved(now);
    }
}
