//! Sealing one packet under a generation, straight into the batch for the socket, or into its tunnel.

use super::masque::Masque;
use super::{Counters, DropReason, PeerKind};
use crate::generation::Generation;
use crate::packet::{Ecn, TransmitQueue};
use crate::wireguard::{DATA_OVERHEAD, Sealed};
use std::time::Instant;

/// The library wants room for a handshake initiation even for the smallest packet.
const MIN_ROOM: usize = 148;

/// Seals `packet` for the peer. One copy, the library's own.
pub(crate) fn seal(
    generation: &mut Generation,
    kind: PeerKind,
    packet: &[u8],
    masque: Option<&mut Masque>,
    transmits: &mut TransmitQueue,
    counters: &Counters,
    now: Instant,
) -> Result<(), DropReason> {
    let Some(session) = generation.transport.wireguard() else {
        masque.ok_or(DropReason::NoSession)?.send(generation, packet)?;
        generation.counters.tx_bytes.add(packet.len() as u64);
        noted(generation, packet, counters);
        return Ok(());
    };
    let Some(endpoint) = generation.endpoint else { return Err(DropReason::NoSession) };
    let mut outcome = Sealed::Failed;
    transmits.push_with(endpoint, (packet.len() + DATA_OVERHEAD).max(MIN_ROOM), |room| {
        outcome = session.seal(packet, room, now);
        match outcome {
            Sealed::Data { len, .. } => Some((len, Ecn::of(packet))),
            // A gateway never initiates towards its devices.
            Sealed::Waiting { initiation } if kind != PeerKind::Device => Some((initiation, Ecn::NotEct)),
            _ => None,
        }
    });
    match outcome {
        Sealed::Data { len, receiver, counter } => {
            generation.last_sealed = Some((receiver, counter));
            generation.counters.tx_bytes.add(len as u64);
            noted(generation, packet, counters);
            Ok(())
        }
        Sealed::Waiting { initiation } => {
            counters.dropped_many(DropReason::GivenUp, session.take_given_up());
            if initiation > 0 && kind != PeerKind::Device {
                counters.handshakes_sent.add(1);
                generation.counters.tx_bytes.add(initiation as u64);
                generation.initiated(now);
            }
            Err(DropReason::Waiting)
        }
        Sealed::Failed => Err(DropReason::NoSession),
    }
}

fn noted(generation: &Generation, packet: &[u8], counters: &Counters) {
    generation.counters.sealed.add(1);
    generation.counters.sealed_bytes.add(packet.len() as u64);
    counters.sealed.add(1);
}

/// Sends a handshake initiation (again).
pub(crate) fn initiate(generation: &mut Generation, transmits: &mut TransmitQueue, counters: &Counters, now: Instant) {
    let (Some(endpoint), Some(session)) = (generation.endpoint, generation.transport.wireguard()) else { return };
    let mut message = [0; MIN_ROOM];
    let len = session.initiate(&mut message, now);
    let message = &message[..len];
    if transmits.push(endpoint, message) {
        for place in generation.elsewhere(now) {
            transmits.push(place, message);
        }
        counters.handshakes_sent.add(1);
        generation.counters.tx_bytes.add(len as u64);
        generation.initiated(now);
    }
}
