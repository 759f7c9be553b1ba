//! Sealing a frame's packets straight into the batch for the socket: no copy but the cipher's own.

use super::{Counters, DropReason};
use crate::generation::Generation;
use crate::packet::{Cut, Head, TransmitQueue};
use crate::wireguard::{DATA_HEADER, DATA_OVERHEAD, Sealing, data_header};
use std::time::Instant;
use vestibule_aead::Seal;

/// Packets that are handed to the cipher at a time: what they are read from and written to stays in the first-level
/// cache.
const GROUP: usize = 8;
/// Packets are padded to a multiple of this (paper, section 5.4.6),
const PADDING: usize = 16;
/// unless they would become longer than the adapter's MTU, or than this: padding costs a copy, and hides nothing of
/// consequence about the length of a large packet.
const MAX_PADDED: usize = 2048;

/// Memory for the packets of one group, used over and over.
pub(crate) struct Staging {
    heads: [Head; GROUP],
    padded: [[u8; MAX_PADDED]; GROUP],
}

impl Staging {
    pub(crate) fn new() -> Box<Self> {
        Box::new(Self { heads: std::array::from_fn(|_| Head::new()), padded: [[0; MAX_PADDED]; GROUP] })
    }
}

/// Seals all packets of a frame. `None`: this session does not seal batches, or has no keys; nothing was done.
pub(crate) fn seal_frame(
    generation: &mut Generation,
    cut: &Cut<'_>,
    mtu: usize,
    staging: &mut Staging,
    transmits: &mut TransmitQueue,
    counters: &Counters,
    now: Instant,
) -> Option<Result<(), DropReason>> {
    let count = cut.count();
    let Some(endpoint) = generation.endpoint else { return Some(Err(DropReason::NoSession)) };
    let session = generation.transport.wireguard()?;
    let sealing = session.sealing(now)?;
    let first = sealing.reserve(count as u64)?;
    let ecn = cut.ecn();
    let (mut number, mut sent, mut copied) = (0, 0, 0);
    while number < count {
        let len = padded_len(cut.packet_len(number), mtu);
        let run = if padded_len(cut.packet_len(count - 1), mtu) == len { count - number } else { count - 1 - number };
        let room = transmits.reserve(endpoint, ecn, len + DATA_OVERHEAD, run.max(1));
        if room.is_empty() {
            return Some(Err(DropReason::Malformed));
        }
        sent += room.len();
        for group in room.chunks_mut(GROUP * (len + DATA_OVERHEAD)) {
            let (sealed, moved) = seal_group(sealing, cut, number, first, len, staging, group);
            number += sealed;
            copied += moved;
        }
    }
    generation.last_sealed = Some((sealing.receiver(), first + count as u64 - 1));
    session.sent_data(now, false);
    let bytes = (count - 1) * cut.packet_len(0) + cut.packet_len(count - 1);
    generation.counters.sealed.add(count as u64);
    generation.counters.sealed_bytes.add(bytes as u64);
    generation.counters.tx_bytes.add(sent as u64);
    counters.sealed.add(count as u64);
    counters.copied.add(copied as u64);
    Some(Ok(()))
}

/// Seals the packets from `number` on, each of which becomes `len` bytes, into the datagrams of `room`; returns how many, and
/// how many bytes it had to copy.
fn seal_group(
    sealing: &Sealing,
    cut: &Cut<'_>,
    number: usize,
    first: u64,
    len: usize,
    staging: &mut Staging,
    room: &mut [u8],
) -> (usize, usize) {
    let mut batch: [Seal<'_>; GROUP] = std::array::from_fn(|_| Seal { counter: 0, head: &[], body: &[], out: &mut [] });
    let places = batch.iter_mut().zip(&mut staging.heads).zip(&mut staging.padded);
    let (mut count, mut copied) = (0, 0);
    for (datagram, ((seal, head), padded)) in room.chunks_exact_mut(len + DATA_OVERHEAD).zip(places) {
        let counter = first + (number + count) as u64;
        let rest = cut.packet(number + count, head);
        let (header, out) = datagram.split_at_mut(DATA_HEADER);
        header.copy_from_slice(&data_header(sealing.receiver(), counter));
        let head = head.bytes();
        copied += head.len();
        let (head, body) = match padded.get_mut(..len) {
            Some(padded) if head.len() + rest.len() < len => {
                let (packet, padding) = padded.split_at_mut(head.len() + rest.len());
                let (start, end) = packet.split_at_mut(head.len());
                start.copy_from_slice(head);
                end.copy_from_slice(rest);
                padding.fill(0);
                copied += head.len() + rest.len();
                (&[][..], &*padded)
            }
            _ if rest.is_empty() => (&[][..], head),
            _ => (head, rest),
        };
        *seal = Seal { counter, head, body, out };
        count += 1;
    }
    sealing.key().seal(&mut batch[..count]);
    (count, copied)
}

/// What a packet's length becomes by padding.
fn padded_len(len: usize, mtu: usize) -> usize {
    let padded = len.next_multiple_of(PADDING);
    if padded <= mtu.min(MAX_PADDED) { padded } else { len }
}
