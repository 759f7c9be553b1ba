//! Two ends and the bytes between them.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::masque::ip::Refusal;
use crate::packet::testing::ip;
use std::net::IpAddr;

/// Use for experimentation and testing (RFC 3692).
const EXPERIMENT: u8 = 253;

fn packet(source: &str, destination: &str, len: usize) -> Vec<u8> {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    ip(address(source), address(destination), EXPERIMENT, &vec![0x55; len], None)
}

/// Both ends, with addresses and routes.
fn pair(settings: StreamSettings) -> (Stream, Stream) {
    let now = Instant::now();
    let [mut client, mut gateway] =
        [Role::Client, Role::Gateway].map(|role| Stream::new(role, Scope::all(), settings, now));
    gateway.assign(&["10.0.0.1/32".parse().unwrap(), "fd00::1/128".parse().unwrap()]).unwrap();
    gateway.advertise(Scope::all().routes(true, true)).unwrap();
    carry(&mut gateway, &mut client);
    carry(&mut client, &mut gateway);
    assert!(matches!(client.poll_news(), Some(News::Assigned(_))));
    assert!(matches!(client.poll_news(), Some(News::RoutesAdvertised(_))));
    (client, gateway)
}

fn carry(from: &mut Stream, to: &mut Stream) -> usize {
    let mut batches = 0;
    while let Some(batch) = from.poll_output(Instant::now()) {
        to.handle_bytes(&batch, Instant::now()).unwrap();
        batches += 1;
    }
    batches
}

#[test]
fn d17_what_waits_leaves_as_one_batch_and_is_taken_without_a_copy() {
    let (mut client, mut gateway) = pair(StreamSettings::default());
    let sent: Vec<_> = (0..40).map(|n| packet("10.0.0.1", "203.0.113.1", 30 * n)).collect();
    for packet in &sent {
        client.send(&mut packet.clone(), Origin::Local).unwrap();
    }
    let batch = client.poll_output(Instant::now()).unwrap();
    assert!(client.poll_output(Instant::now()).is_none());
    gateway.handle_bytes(&batch, Instant::now()).unwrap();
    let got: Vec<_> = std::iter::from_fn(|| gateway.poll_packet()).collect();
    assert_eq!(got, sent);
    assert!(got.iter().all(|packet| batch.as_ptr_range().contains(&packet.as_ptr())));
}

#[test]
fn d8_packets_in_capsules_cut_anywhere_come_out_whole() {
    let (mut client, mut gateway) = pair(StreamSettings::default());
    let sent: Vec<_> = (0..9).map(|n| packet("10.0.0.1", "203.0.113.1", 150 * n)).collect();
    for size in [1, 7, 100] {
        for packet in &sent {
            client.send(&mut packet.clone(), Origin::Local).unwrap();
        }
        let batch = client.poll_output(Instant::now()).unwrap();
        for piece in batch.chunks(size) {
            gateway.handle_bytes(&Bytes::copy_from_slice(piece), Instant::now()).unwrap();
        }
        assert_eq!(std::iter::from_fn(|| gateway.poll_packet()).collect::<Vec<_>>(), sent);
    }
}

#[test]
fn a_full_queue_drops_packets_and_counts_them_and_capsules_still_leave() {
    let (mut client, mut gateway) = pair(StreamSettings { queue: 4000, ..StreamSettings::default() });
    let one = packet("10.0.0.1", "203.0.113.1", 1000);
    client.narrow(true);
    let results: Vec<_> = (0..5).map(|_| client.send(&mut one.clone(), Origin::Local)).collect();
    assert_eq!(results[..3], [Ok(()), Ok(()), Ok(())]);
    assert_eq!(results[3..], [Err(SendError::Full), Err(SendError::Full)]);
    assert_eq!((client.counters().sent, client.counters().full), (3, 2));
    client.request_addresses(&["0.0.0.0/32".parse().unwrap()]).unwrap();
    carry(&mut client, &mut gateway);
    assert_eq!(std::iter::from_fn(|| gateway.poll_packet()).count(), 3);
    assert!(matches!(gateway.poll_news(), Some(News::AddressesRequested(_))));
}

#[test]
fn a_peer_that_never_reads_and_one_that_never_is_read_hold_bounded_memory() {
    let (mut client, mut gateway) = pair(StreamSettings::default());
    let many = vec!["fd00::1/128".parse().unwrap(); 200];
    let stalled = (0..2000).find_map(|_| gateway.assign(&many).err()).unwrap();
    assert!(matches!(stalled, TunnelError::Stalled { waiting } if waiting < 4 << 20));
    assert_eq!(stalled.fault(), Fault::Excessive);
    let one = packet("10.0.0.1", "203.0.113.1", 0);
    let (_, mut other) = pair(StreamSettings::default());
    for _ in 0..6 {
        while client.send(&mut one.clone(), Origin::Local).is_ok() {}
        carry(&mut client, &mut other);
    }
    assert_eq!(std::iter::from_fn(|| other.poll_packet()).count(), MAX_PACKETS);
    assert_eq!(other.counters().overrun, client.counters().sent - MAX_PACKETS as u64);
}

#[test]
fn d5_nothing_is_sent_after_the_end() {
    let (mut client, mut gateway) = pair(StreamSettings::default());
    client.send(&mut packet("10.0.0.1", "203.0.113.1", 10), Origin::Local).unwrap();
    client.close();
    assert_eq!(client.send(&mut packet("10.0.0.1", "203.0.113.1", 10), Origin::Local), Err(SendError::NotOpen));
    assert_eq!(carry(&mut client, &mut gateway), 1, "what was queued before still leaves");
    assert_eq!(gateway.handle_end(), Ok(()));
    assert_eq!(gateway.send(&mut packet("203.0.113.1", "10.0.0.1", 10), Origin::Local), Err(SendError::NotOpen));
}

#[test]
fn d14_the_other_end_is_told_of_what_is_refused() {
    let (mut client, mut gateway) = pair(StreamSettings::default());
    assert_eq!(
        client.send(&mut packet("10.9.9.9", "203.0.113.1", 10), Origin::Local),
        Err(SendError::Refused(Refusal::Source))
    );
    gateway.assign(&["10.0.0.8/32".parse().unwrap()]).unwrap();
    client.send(&mut packet("10.0.0.1", "203.0.113.1", 10), Origin::Local).unwrap();
    carry(&mut client, &mut gateway);
    assert_eq!(gateway.poll_packet(), None);
    assert_eq!(gateway.counters().refused, 1);
}

#[test]
fn a_path_that_stands_still_loses_nothing_for_as_long_as_its_patience() {
    let settings = StreamSettings { queue: 4000, patience: Duration::from_millis(400), ..StreamSettings::default() };
    let (mut client, _) = pair(settings);
    let one = packet("10.0.0.1", "203.0.113.1", 1000);
    let send = |client: &mut Stream| client.send(&mut one.clone(), Origin::Local);
    let start = Instant::now();
    // A second of 500 packets, then nothing leaves.
    for n in 0..500 {
        send(&mut client).unwrap();
        assert!(client.poll_output(start + Duration::from_millis(2) * n).is_some());
    }
    client.narrow(true);
    let kept = (0..1000).take_while(|_| send(&mut client).is_ok()).count();
    assert!((195..=200).contains(&kept), "{kept} packets of 0.4 s");
    // What leaves leaves in order, in batches that are full.
    let batches: Vec<_> = std::iter::from_fn(|| client.poll_output(start + Duration::from_millis(1500))).collect();
    assert!(batches.len() <= 5, "{} batches", batches.len());
    // Its share of memory is a limit too, but never below what may always wait.
    client.limit(0);
    assert_eq!((0..1000).take_while(|_| send(&mut client).is_ok()).count(), 3);
    // Whoever takes its place knows what it carried.
    let (mut next, _) = pair(settings);
    next.expect(client.carried(), start);
    next.narrow(true);
    assert!((0..1000).take_while(|_| send(&mut next).is_ok()).count() > 190);
    // After a long silence nobody knows what the path carries.
    while client.poll_output(start + Duration::from_secs(60)).is_some() {}
    client.limit(usize::MAX);
    assert!((0..1000).take_while(|_| send(&mut client).is_ok()).count() < 10);
}

#[test]
fn what_leaves_is_what_was_put_in() {
    let (mut client, mut gateway) = pair(StreamSettings::default());
    let sent: Vec<_> = (0..900).map(|n| packet("10.0.0.1", "203.0.113.1", n % 1400)).collect();
    for some in sent.chunks(7) {
        for packet in some {
            client.send(&mut packet.clone(), Origin::Local).unwrap();
        }
        if some[0].len().is_multiple_of(3) {
            carry(&mut client, &mut gateway);
        }
    }
    gateway.handle_bytes(&client.take_output(), Instant::now()).unwrap();
    assert_eq!(client.waiting(), 0);
    assert_eq!(std::iter::from_fn(|| gateway.poll_packet()).collect::<Vec<_>>(), sent);
}

#[test]
fn in_warp_s_dialect_capsules_are_packets_and_all_others_are_skipped() {
    let settings = StreamSettings { dialect: Dialect::Warp, ..StreamSettings::default() };
    let mut client = Stream::new(Role::Client, Scope::all(), settings, Instant::now());
    assert!(client.poll_output(Instant::now()).is_none(), "no capsule of its own");
    let sent = packet("10.0.0.1", "203.0.113.1", 30);
    client.send(&mut sent.clone(), Origin::Local).unwrap();
    let capsule = [&[0, sent.len() as u8][..], &sent].concat();
    assert_eq!(client.poll_output(Instant::now()).unwrap(), capsule);

    // An ADDRESS_ASSIGN that RFC 9484 calls malformed, and a ROUTE_ADVERTISEMENT.
    let others = [0x01, 0x02, 0x00, 0x09, 0x03, 0x00];
    let back = packet("203.0.113.1", "10.0.0.1", 30);
    let bytes = [&others[..], &[0, back.len() as u8], &back].concat();
    client.handle_bytes(&bytes.into(), Instant::now()).unwrap();
    assert_eq!(client.poll_packet().unwrap(), back);
    assert!(client.poll_news().is_none());
}
