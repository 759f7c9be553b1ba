//! Merging UDP datagrams.

use super::*;
use crate::packet::testing::sum_v4;

/// The identification of packets that are never fragmented means nothing (RFC 6864).
fn masked(packets: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    packets.into_iter().map(mask_id).collect()
}

/// `count` datagrams of one flow, `len` bytes each.
fn datagrams(v6: bool, len: usize, count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| udp(v6, (40_000, 443), &vec![number as u8; len])).collect()
}

fn deliver_udp(packets: &[Vec<u8>]) -> DeliveryQueue {
    let mut queue = DeliveryQueue::default();
    queue.merge_udp(true);
    packets.iter().for_each(|packet| deliver(&mut queue, packet));
    queue.finish();
    queue
}

#[test]
fn datagrams_become_super_packets_where_the_adapter_takes_them() {
    for v6 in [false, true] {
        let mut sent = datagrams(v6, 100, 4);
        sent.extend(datagrams(v6, 30, 1));
        sent.extend(datagrams(v6, 100, 2));
        let queue = deliver_udp(&sent);
        assert_eq!(queue.frames().map(|frame| frame.pieces().len()).collect::<Vec<_>>(), [5, 2]);
        let start = if v6 { 40 } else { 20 };
        let offload = Offload { gso: Some(Gso::Udp { size: 100 }), checksum: Some((start, 6)) };
        let frames = frames(&queue);
        assert_eq!(frames[0].1, offload);
        assert_eq!(deliver_all(&sent).frames().count(), 7, "an adapter that does not take them");
        let headers = Headers::parse(&frames[0].0).unwrap();
        let len = u16::from_be_bytes([frames[0].0[usize::from(start) + 4], frames[0].0[usize::from(start) + 5]]);
        assert_eq!((headers.total_len, usize::from(len)), (frames[0].0.len(), headers.transport_len()));
        assert!(masked(packets(&queue)) == masked(sent));
    }
}

#[test]
fn datagrams_that_must_stay_apart_stay_apart() {
    for v6 in [false, true] {
        let first = udp(v6, (40_000, 443), &[1; 100]);
        let mut marked = udp(v6, (40_000, 443), &[1; 100]);
        let mut hop = marked.clone();
        if v6 {
            marked[1] |= 0x30;
            hop[7] = 3;
        } else {
            marked[1] = 3;
            sum_v4(&mut marked);
            hop[8] = 3;
            sum_v4(&mut hop);
        }
        let mut broken = udp(v6, (40_000, 443), &[1; 100]);
        *broken.last_mut().unwrap() ^= 1;
        let mut odd = vec![
            ("a congestion mark", marked),
            ("another hop limit", hop),
            ("a wrong checksum", broken),
            ("another port", udp(v6, (40_001, 443), &[1; 100])),
            ("a longer one", udp(v6, (40_000, 443), &[1; 101])),
            ("an empty one", udp(v6, (40_000, 443), &[])),
        ];
        if !v6 {
            let mut unsummed = first.clone();
            unsummed[26..28].fill(0);
            odd.push(("no checksum", unsummed));
        }
        for (what, odd) in odd {
            for sent in [[first.clone(), odd.clone()], [odd.clone(), first.clone()]] {
                let merges = what == "a longer one" && sent[0] == odd;
                let queue = deliver_udp(&sent);
                assert_eq!(queue.frames().count(), if merges { 1 } else { 2 }, "{what} (IPv6: {v6})");
                assert_eq!(masked(packets(&queue)), masked(sent.to_vec()), "{what} (IPv6: {v6})");
            }
        }
    }
}

#[test]
fn udp_super_packets_stay_within_what_the_kernel_sends() {
    let sent = datagrams(false, 100, 150);
    let queue = deliver_udp(&sent);
    assert_eq!(queue.frames().map(|frame| frame.pieces().len()).collect::<Vec<_>>(), [64, 64, 22]);
    assert!(masked(packets(&queue)) == masked(sent));
}
