//! Merging against its inverse, cutting.

use super::*;
use proptest::prelude::*;

/// One step of one of four flows: mostly the next packet of a train, sometimes something odd.
#[derive(Clone, Debug)]
struct Step {
    flow: u8,
    len: usize,
    odd: u8,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![8 => Just(200usize), 1 => 1usize..300, 1 => Just(0)];
    let step =
        (0u8..4, len, prop_oneof![6 => Just(0u8), 1 => 1u8..12]).prop_map(|(flow, len, odd)| Step { flow, len, odd });
    prop::collection::vec(step, 0..60)
}

fn play(steps: &[Step]) -> Vec<(u8, Vec<u8>)> {
    let mut flows: Vec<Segment> = (0..4u8)
        .map(|flow| Segment {
            v6: flow % 2 == 1,
            may_fragment: flow == 2,
            ports: (1000 + u16::from(flow / 2), 443),
            seq: u32::MAX - 1000,
            ..Default::default()
        })
        .collect();
    let mut sent = Vec::new();
    for (number, Step { flow, len, odd }) in steps.iter().enumerate() {
        let state = &mut flows[usize::from(*flow)];
        state.flags = Tcp::ACK;
        match odd {
            1 => state.seq = state.seq.wrapping_add(50),
            2 => state.seq = state.seq.wrapping_sub(200),
            3 => state.ack = state.ack.wrapping_add(1),
            4 => state.window = state.window.wrapping_add(1),
            5 => state.flags |= Tcp::PSH,
            6 => state.flags |= Tcp::FIN,
            7 => state.flags |= Tcp::ECE,
            8 => state.tos ^= 2,
            9 => state.ttl ^= 1,
            10 => state.options = if state.options.is_empty() { vec![1; 12] } else { Vec::new() },
            _ => {}
        }
        state.payload = vec![number as u8; *len];
        let mut packet = state.build();
        if *odd == 11 {
            let last = packet.len() - 1;
            packet[last] ^= 0x10; // a checksum that is wrong
        }
        sent.push((*flow, packet));
        state.seq = state.seq.wrapping_add(*len as u32);
        state.id = state.id.wrapping_add(1);
    }
    sent
}

proptest! {
    /// Cutting the frames again gives, flow by flow, the packets that were delivered, byte by byte and in order: so
    /// nothing is lost, reordered within a flow, or merged that differed.
    #[test]
    fn merging_loses_nothing_that_cutting_cannot_restore(steps in steps()) {
        let sent = play(&steps);
        let bytes: Vec<_> = sent.iter().map(|(_, packet)| packet.clone()).collect();
        let queue = deliver_all(&bytes);
        let received = packets(&queue);
        prop_assert_eq!(received.len(), sent.len());
        let flow_of = |packet: &[u8]| {
            let v6 = packet[0] >> 4 == 6;
            let at = if v6 { 40 } else { 20 };
            u8::from(v6) + 2 * (packet[at + 1] - (1000u16.to_be_bytes()[1]))
        };
        for flow in 0..4 {
            let of_flow: Vec<_> = received.iter().filter(|packet| flow_of(packet) == flow).cloned().map(mask_id).collect();
            let expected: Vec<_> = sent.iter().filter(|(of, _)| *of == flow).map(|(_, packet)| mask_id(packet.clone())).collect();
            prop_assert_eq!(of_flow, expected);
        }
    }

    #[test]
    fn cutting_and_merging_is_the_identity(v6: bool, payload in prop::collection::vec(any::<u8>(), 1..5000), size in 50u16..1500) {
        let whole = Segment { v6, payload, flags: Tcp::ACK | Tcp::PSH, ..Default::default() }.build();
        let mut cut = Vec::new();
        let offload = Offload { gso: Some(Gso::Tcp { size }), checksum: None };
        segments(Frame { bytes: &mut whole.clone(), offload }, |packet| cut.push(packet.to_vec())).unwrap();
        let queue = deliver_all(&cut);
        let frames = frames(&queue);
        prop_assert_eq!(frames.len(), 1);
        let mut bytes = frames[0].0.clone();
        // All but the checksum, which the merged one leaves to the receiver.
        let field = if v6 { 56 } else { 36 };
        bytes[field..field + 2].copy_from_slice(&whole[field..field + 2]);
        prop_assert_eq!(bytes, whole);
    }

    #[test]
    fn any_bytes_never_panic(packets in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..120), 0usize..200), 0..20)) {
        let mut queue = DeliveryQueue::default();
        for (mut bytes, len) in packets {
            if bytes.len() >= 40 {
                bytes[0] = if len % 2 == 0 { 0x45 } else { 0x60 };
                bytes[2] = 0;
                bytes[3] = 40;
                bytes[4..6].fill(0);
                bytes[9] = 6;
                bytes[32] = 0x50;
            }
            let Ok(headers) = Headers::parse(&bytes) else { continue };
            let (start, room) = queue.open(bytes.len());
            room.copy_from_slice(&bytes);
            queue.deliver(start..start + len, &headers);
            let given = queue.keep(bytes.into());
            queue.deliver(given, &headers);
        }
        queue.finish();
        prop_assert!(queue.frames().all(|frame| !frame.is_empty()));
    }
}
