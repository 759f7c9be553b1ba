#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::packet::testing::{Segment, icmp, udp, with_options_v4};
use crate::packet::{Frame, segments};

fn deliver(queue: &mut DeliveryQueue, packet: &[u8]) {
    let headers = Headers::parse(packet).unwrap();
    // Padding, as WireGuard leaves it.
    let (start, room) = queue.open(packet.len() + 16);
    room[..packet.len()].copy_from_slice(packet);
    room[packet.len()..].fill(0xee);
    queue.deliver(start..start + packet.len() + 5, &headers);
}

/// The same, in memory of its own.
fn give(queue: &mut DeliveryQueue, packet: &[u8]) {
    let headers = Headers::parse(packet).unwrap();
    let place = queue.keep([packet, &[0xee; 16]].concat().into());
    queue.deliver(place, &headers);
}

/// Wherever the packets lie, the frames are the same.
fn deliver_all(packets: &[Vec<u8>]) -> DeliveryQueue {
    let queues = [deliver, give].map(|how| {
        let mut queue = DeliveryQueue::default();
        packets.iter().for_each(|packet| how(&mut queue, packet));
        queue.finish();
        queue
    });
    let [opened, given] = queues;
    assert_eq!(frames(&opened), frames(&given));
    opened
}

/// The frames' bytes and offloads.
fn frames(queue: &DeliveryQueue) -> Vec<(Vec<u8>, Offload)> {
    let whole = |frame: crate::packet::Delivery<'_>| {
        let bytes = frame.pieces().collect::<Vec<_>>().concat();
        assert_eq!(bytes.len(), frame.len());
        (bytes, frame.offload)
    };
    queue.frames().map(whole).collect()
}

/// What the receiver's kernel makes of the frames.
fn packets(queue: &DeliveryQueue) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for (mut bytes, offload) in frames(queue) {
        segments(Frame { bytes: &mut bytes, offload }, |packet| packets.push(packet.to_vec())).unwrap();
    }
    packets
}

/// `count` packets in sequence.
fn train(first: &Segment, count: usize) -> Vec<Vec<u8>> {
    let packet = |number: usize| {
        let seq = first.seq.wrapping_add((number * first.payload.len()) as u32);
        Segment { seq, id: first.id.wrapping_add(number as u16), ..first.clone() }.build()
    };
    (0..count).map(packet).collect()
}

#[test]
fn a_train_becomes_one_super_packet() {
    for v6 in [false, true] {
        for may_fragment in [false, true] {
            let first = Segment {
                v6,
                may_fragment,
                seq: u32::MAX - 150,
                id: 65_534,
                options: vec![1; 12],
                ..Default::default()
            };
            let sent = train(&first, 5);
            let queue = deliver_all(&sent);
            let frames = frames(&queue);
            assert_eq!(frames.len(), 1);
            let (bytes, offload) = &frames[0];
            let start = if v6 { 40 } else { 20 };
            assert_eq!(*offload, Offload { gso: Some(Gso::Tcp { size: 100 }), checksum: Some((start, 16)) });
            let headers = Headers::parse(bytes).unwrap();
            assert_eq!((headers.total_len, headers.tcp().unwrap().payload_len), (bytes.len(), 500));
            // The kernel wants the pseudo header's sum in the checksum field, and a right IPv4 checksum.
            let partial =
                pseudo_header(headers.source, headers.destination, TCP, headers.transport_len() as u16).fold();
            let field = usize::from(start) + 16;
            assert_eq!(bytes[field..field + 2], partial.to_be_bytes());
            assert!(v6 || checksum(&bytes[..20]) == 0);
            assert_eq!(packets(&queue), sent);
        }
    }
}

#[test]
fn a_short_or_pushed_packet_ends_a_super_packet() {
    for last in [
        Segment { payload: vec![1; 40], ..Default::default() },
        Segment { flags: Tcp::ACK | Tcp::PSH, ..Default::default() },
    ] {
        let mut sent = train(&Segment::default(), 3);
        let len = last.payload.len() as u32;
        sent.push(Segment { seq: 1300, id: 10, ..last }.build());
        sent.extend(train(&Segment { seq: 1300 + len, id: 11, ..Default::default() }, 2));
        let queue = deliver_all(&sent);
        assert_eq!(queue.frames().map(|frame| frame.pieces().len()).collect::<Vec<_>>(), [4, 2]);
        assert_eq!(packets(&queue), sent);
    }
}

#[test]
fn what_must_stay_apart_stays_apart() {
    let second = Segment { seq: 1100, id: 8, ..Default::default() };
    let odd_ones = [
        ("a gap", Segment { seq: 1101, ..second.clone() }),
        ("a retransmission", Segment { seq: 1000, ..second.clone() }),
        ("another acknowledgement", Segment { ack: 5001, ..second.clone() }),
        ("another window", Segment { window: 0, ..second.clone() }),
        ("another option", Segment { options: vec![1, 1, 1, 0], ..second.clone() }),
        ("a larger payload", Segment { payload: vec![0; 101], ..second.clone() }),
        ("no payload", Segment { payload: Vec::new(), ..second.clone() }),
        ("another port", Segment { ports: (40_001, 443), ..second.clone() }),
        ("another host", Segment { hosts: (3, 2), ..second.clone() }),
        ("the other direction", Segment { hosts: (2, 1), ports: (443, 40_000), ..second.clone() }),
        ("a congestion mark", Segment { tos: 3, ..second.clone() }),
        ("another TTL", Segment { ttl: 63, ..second.clone() }),
        ("may be fragmented", Segment { may_fragment: true, ..second.clone() }),
    ];
    let flags = [Tcp::SYN, Tcp::FIN, Tcp::RST, Tcp::URG, Tcp::ECE, Tcp::CWR];
    let flagged = flags.map(|flag| ("a flag", Segment { flags: Tcp::ACK | flag, ..second.clone() }));
    let unacked = [("no ACK", Segment { flags: 0, ..second.clone() })];
    for v6 in [false, true] {
        for (what, odd) in odd_ones.iter().chain(&flagged).chain(&unacked) {
            if v6 && odd.may_fragment {
                continue;
            }
            let sent = [Segment { v6, ..Default::default() }.build(), Segment { v6, ..odd.clone() }.build()];
            let queue = deliver_all(&sent);
            assert_eq!(queue.frames().count(), 2, "{what} (IPv6: {v6})");
            assert_eq!(packets(&queue), sent, "{what} (IPv6: {v6})");
        }
        // The same two without oddity do merge.
        let sent = [Segment { v6, ..Default::default() }.build(), Segment { v6, ..second.clone() }.build()];
        assert_eq!(deliver_all(&sent).frames().count(), 1);
    }
}

#[test]
fn identifications_count_only_where_fragments_depend_on_them() {
    for (may_fragment, frames) in [(false, 1), (true, 2)] {
        let first = Segment { may_fragment, ..Default::default() };
        let second = Segment { seq: 1100, id: 7, ..first.clone() };
        assert_eq!(deliver_all(&[first.build(), second.build()]).frames().count(), frames);
    }
}

#[test]
fn a_packet_with_a_wrong_checksum_is_never_merged() {
    for broken in 0..3 {
        for at in [10, 36, 60] {
            // IPv4 header checksum, TCP checksum, payload.
            let mut sent = train(&Segment::default(), 3);
            sent[broken][at] ^= 0x40;
            let queue = deliver_all(&sent);
            let merged: usize = queue.frames().filter(|frame| frame.offload.gso.is_some()).count();
            assert_eq!(merged, usize::from(broken != 1), "broken packet {broken}, byte {at}");
            assert_eq!(packets(&queue), sent);
        }
    }
}

#[test]
fn an_acknowledgement_keeps_its_place() {
    let ack = Segment { payload: Vec::new(), seq: 1200, ..Default::default() }.build();
    let mut sent = train(&Segment::default(), 2);
    sent.push(ack);
    sent.extend(train(&Segment { seq: 1200, id: 9, ..Default::default() }, 2));
    let queue = deliver_all(&sent);
    assert_eq!(queue.frames().map(|frame| frame.pieces().len()).collect::<Vec<_>>(), [2, 1, 2]);
    assert_eq!(packets(&queue), sent);
}

#[test]
fn nothing_is_merged_past_a_pushed_packet_or_a_fragment() {
    let sent = train(&Segment::default(), 3);
    let mut queue = DeliveryQueue::default();
    deliver(&mut queue, &sent[0]);
    queue.push(&udp(false, (1, 2), b"answer"));
    deliver(&mut queue, &sent[1]);
    let mut fragment = sent[2].clone();
    fragment[6..8].copy_from_slice(&100u16.to_be_bytes());
    deliver(&mut queue, &fragment);
    deliver(&mut queue, &sent[2]);
    queue.push(&[]);
    queue.finish();
    assert_eq!(queue.frames().map(|frame| frame.len()).collect::<Vec<_>>(), [140, 34, 140, 140, 140]);
}

#[test]
fn ip_options_and_other_protocols_pass_unmerged() {
    let optioned: Vec<_> =
        train(&Segment::default(), 2).iter().map(|packet| with_options_v4(packet, &[1; 4])).collect();
    let others = [udp(false, (1, 2), &[0; 100]), udp(true, (1, 2), &[0; 100]), icmp(false, 8, 0, &[0; 8])];
    let sent = [&optioned[..], &others].concat();
    let queue = deliver_all(&sent);
    assert_eq!(queue.frames().count(), sent.len());
    assert_eq!(packets(&queue), sent);
}

#[test]
fn super_packets_stay_within_their_bounds() {
    let long = train(&Segment { payload: vec![5; 1380], ..Default::default() }, 60);
    let queue = deliver_all(&long);
    assert!(queue.frames().all(|frame| frame.len() <= MAX_TOTAL));
    assert_eq!(queue.frames().count(), 2);
    assert_eq!(packets(&queue), long);
    let small = train(&Segment { payload: vec![5; 10], ..Default::default() }, 300);
    let queue = deliver_all(&small);
    assert!(queue.frames().all(|frame| frame.pieces().len() <= MAX_PIECES));
    assert_eq!(queue.frames().count(), 3);
    assert_eq!(packets(&queue), small);
}

#[test]
fn more_flows_than_places_are_carried_all_the_same() {
    let flow = |port: u16, seq: u32| Segment { ports: (port, 443), seq, ..Default::default() }.build();
    let sent: Vec<_> = [1000, 1100, 1200].iter().flat_map(|&seq| (0..40).map(move |port| flow(port, seq))).collect();
    let queue = deliver_all(&sent);
    let received = packets(&queue);
    assert_eq!(received.len(), sent.len());
    for port in 0..40u16 {
        let of_flow = |packets: &[Vec<u8>]| {
            packets.iter().filter(|packet| packet[20..22] == port.to_be_bytes()).cloned().collect::<Vec<_>>()
        };
        let without_id = |packets: Vec<Vec<u8>>| packets.into_iter().map(mask_id).collect::<Vec<_>>();
        assert_eq!(without_id(of_flow(&received)), without_id(of_flow(&sent)));
    }
}

#[test]
fn a_cleared_queue_starts_afresh_in_the_same_memory() {
    let mut queue = deliver_all(&train(&Segment::default(), 50));
    let memory = (queue.memory.arena(), queue.links.as_ptr(), queue.chains.as_ptr());
    for _ in 0..3 {
        queue.clear();
        assert!(queue.is_empty());
        for packet in train(&Segment::default(), 50) {
            deliver(&mut queue, &packet);
        }
        queue.finish();
        assert_eq!(queue.frames().count(), 1);
    }
    assert_eq!(memory, (queue.memory.arena(), queue.links.as_ptr(), queue.chains.as_ptr()));
}

#[test]
fn nothing_delivered_is_nothing() {
    let headers = Headers::parse(&Segment::default().build()).unwrap();
    let mut queue = DeliveryQueue::default();
    queue.deliver(0..0, &headers);
    queue.deliver(0..100, &headers); // no room was opened
    queue.finish();
    assert!(queue.is_empty());
}

/// With DF set the identification means nothing (RFC 6864) and merging may renew it.
fn mask_id(mut packet: Vec<u8>) -> Vec<u8> {
    if packet[0] == 0x45 && packet[6] & 0x40 != 0 {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    // All ones and zero are the same TCP checksum; cutting writes the former.
    let field = if packet[0] >> 4 == 6 { 56..58 } else { 36..38 };
    if packet.get(field.clone()) == Some(&[0xff, 0xff]) {
        packet[field].fill(0);
    }
    packet
}

#[path = "coalesce_properties.rs"]
mod properties;
#[path = "coalesce_udp_tests.rs"]
mod udp_tests;
