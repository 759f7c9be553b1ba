//! Random traffic as an adapter lends it: trains of TCP segments and UDP datagrams, fragments, echoes, of any ECN field.

use crate::packet::checksum::pseudo_header;
use crate::packet::testing::{Segment, host, icmp, ip, sum_v4, udp};
use crate::packet::{Gso, Offload};
use proptest::prelude::*;

pub(super) type OwnedFrame = (Vec<u8>, Offload);

/// Something that an adapter lends.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Tcp { segment: Segment, size: u16, gso: bool },
    Udp { v6: bool, port: u16, tos: u8, len: usize, size: u16, gso: bool },
    Fragments { v6: bool, id: u16, tos: u8, pieces: usize },
    Echo { v6: bool, tos: u8, len: usize },
}

fn with_tos(mut packet: Vec<u8>, tos: u8) -> Vec<u8> {
    if packet[0] >> 4 == 6 {
        packet[0] = 0x60 | tos >> 4;
        packet[1] = tos << 4 | packet[1] & 0x0f;
    } else {
        packet[1] = tos;
        sum_v4(&mut packet);
    }
    packet
}

fn fragment(v6: bool, id: u16, number: usize, last: bool) -> Vec<u8> {
    let mut piece = vec![number as u8; 64];
    if number == 0 {
        piece[..8].copy_from_slice(&[0x0f, 0xa0, 1, 187, 0x10, 0, 0, 0]);
    }
    let offset = (number * 64) as u16;
    let (from, to) = (host(v6, 1), host(v6, 2));
    if v6 {
        let more = u16::from(!last);
        let header = [&[17, 0][..], &(offset | more).to_be_bytes(), &u32::from(id).to_be_bytes()].concat();
        return ip(from, to, 44, &[&header[..], &piece].concat(), None);
    }
    let mut packet = ip(from, to, 17, &piece, None);
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    packet[6..8].copy_from_slice(&((offset / 8) | if last { 0 } else { 0x2000 }).to_be_bytes());
    sum_v4(&mut packet);
    packet
}

impl Item {
    /// The frames that the adapter lends for it. `seqs` are the flows' next sequence numbers.
    pub(super) fn frames(&self, seqs: &mut [u32; 4]) -> Vec<OwnedFrame> {
        match self.clone() {
            Self::Tcp { mut segment, size, gso } => {
                let next = &mut seqs[usize::from(segment.ports.0 % 4)];
                segment.seq = *next;
                *next = next.wrapping_add(segment.payload.len() as u32);
                let pieces = if gso { segment.payload.len().div_ceil(size.into()) } else { 1 };
                let mut packet = segment.build();
                let start = if segment.v6 { 40 } else { 20 };
                if pieces < 2 {
                    return vec![(packet, Offload::default())];
                }
                let len = (packet.len() - usize::from(start)) as u16;
                let partial = pseudo_header(host(segment.v6, 1), host(segment.v6, 2), 6, len).fold();
                let at = usize::from(start) + 16;
                packet[at..at + 2].copy_from_slice(&partial.to_be_bytes());
                vec![(packet, Offload { gso: Some(Gso::Tcp { size }), checksum: Some((start, 16)) })]
            }
            Self::Udp { v6, port, tos, len, size, gso } => {
                let payload: Vec<u8> = (0..len).map(|at| (at * 7 + usize::from(port)) as u8).collect();
                let packet = with_tos(udp(v6, (port, 443), &payload), tos);
                let offload = Offload { gso: (gso && len > size.into()).then_some(Gso::Udp { size }), checksum: None };
                vec![(packet, offload)]
            }
            Self::Fragments { v6, id, tos, pieces } => {
                let all = (0..pieces).map(|number| fragment(v6, id, number, number + 1 == pieces));
                all.map(|packet| (with_tos(packet, tos), Offload::default())).collect()
            }
            Self::Echo { v6, tos, len } => {
                let kind = if v6 { 128 } else { 8 };
                vec![(with_tos(icmp(v6, kind, 0, &vec![9; 4 + len]), tos), Offload::default())]
            }
        }
    }
}

fn tcp() -> impl Strategy<Value = Item> {
    let flags = prop_oneof![6 => Just(0x10), 2 => Just(0x18), 1 => any::<u8>()];
    let shape = (any::<bool>(), 0u16..4, flags, prop_oneof![Just(0u8), Just(2), any::<u8>()], any::<bool>());
    let options = prop_oneof![3 => Just(vec![]), 1 => Just(vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2])];
    let sizes = (prop_oneof![Just(1380u16), 1u16..1500], 1usize..40, 0usize..1500);
    (shape, options, sizes, any::<bool>(), any::<u16>(), prop_oneof![Just(512u16), any::<u16>()]).prop_map(
        |((v6, flow, flags, tos, gso), options, (size, count, rest), may_fragment, id, window)| {
            let len = if gso { usize::from(size) * count + rest % usize::from(size) } else { rest };
            let payload = (0..len.min(60_000)).map(|at| (at >> 3) as u8).collect();
            let ports = (4000 + flow, 443);
            let segment =
                Segment { v6, ports, flags, tos, options, payload, may_fragment, id, window, ..Segment::default() };
            Item::Tcp { segment, size, gso }
        },
    )
}

pub(super) fn item() -> impl Strategy<Value = Item> {
    let tos = || prop_oneof![Just(0u8), Just(1), Just(2), Just(3), any::<u8>()];
    let datagrams =
        (any::<bool>(), 5000u16..5003, tos(), 0usize..9000, prop_oneof![Just(1200u16), 200u16..1400], any::<bool>());
    prop_oneof![
        5 => tcp(),
        3 => datagrams.prop_map(|(v6, port, tos, len, size, gso)| {
            Item::Udp { v6, port, tos, len: if gso { len } else { len % 1400 }, size, gso }
        }),
        1 => (any::<bool>(), any::<u16>(), tos(), 2usize..5)
            .prop_map(|(v6, id, tos, pieces)| Item::Fragments { v6, id, tos, pieces }),
        1 => (any::<bool>(), tos(), 0usize..1200).prop_map(|(v6, tos, len)| Item::Echo { v6, tos, len }),
    ]
}
