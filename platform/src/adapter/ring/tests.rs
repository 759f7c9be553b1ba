//! The adapter over the rings' model: each fault, what it costs, and that it costs no more.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::{
    model::{Host, ModelRings, device},
    *,
};
use crate::wait::{Interest, wait};
use std::sync::atomic::{AtomicU16, Ordering};
use vestibule_engine::packet::Headers;
use vestibule_ring::{ALIGNMENT, Lost, MIN_CAPACITY, stored};

const LEN: usize = 100;

fn adapter() -> (RingAdapter<ModelRings>, Host) {
    let (rings, host) = device(MIN_CAPACITY);
    (RingAdapter::new(rings, 1420), host)
}

/// An IPv4 packet that carries a number.
fn packet(number: u32) -> Vec<u8> {
    let mut packet = vec![0; LEN];
    packet[0] = 0x45;
    packet[20..24].copy_from_slice(&number.to_be_bytes());
    packet
}

fn number(packet: &[u8]) -> u32 {
    u32::from_be_bytes(packet[20..24].try_into().unwrap())
}

/// All that can be read now.
fn read_all(adapter: &mut RingAdapter<ModelRings>) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    loop {
        let mut batch = adapter.read()?;
        while let Some(frame) = batch.next_frame() {
            numbers.push(number(frame.bytes));
        }
        drop(batch);
        if adapter.read_report().drained {
            return Ok(numbers);
        }
    }
}

fn write(adapter: &mut RingAdapter<ModelRings>, numbers: std::ops::Range<u32>) -> WriteReport {
    let mut queue = DeliveryQueue::default();
    numbers.for_each(|number| queue.push(&packet(number)));
    adapter.write(&queue).unwrap()
}

fn is_removed(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|error| error.is::<Removed>())
}

#[test]
fn what_the_host_sends_is_lent_in_order_many_times_round_the_ring() {
    let (mut adapter, host) = adapter();
    let (mut sent, mut read) = (0, 0);
    while sent < 5000 {
        // More than a batch holds.
        let chain: Vec<_> = (sent..sent + 150).map(packet).collect();
        host.send(&chain.iter().map(|packet| &packet[..]).collect::<Vec<_>>()).unwrap();
        sent += 150;
        let numbers = read_all(&mut adapter).unwrap();
        assert_eq!(numbers, (read..sent).collect::<Vec<_>>());
        read = sent;
    }
    let counts = host.device.counts();
    assert_eq!((counts.unread(), counts.dropped_full, counts.sessions), (0, 0, 1));
}

#[test]
fn a_batch_gives_all_back_when_it_is_dropped_half_way() {
    let (mut adapter, host) = adapter();
    let large = vec![0x45; 40_000];
    for _ in 0..20 {
        host.send(&[&large]).expect("room that was given back");
        let mut batch = adapter.read().unwrap();
        assert_eq!(batch.next_frame().unwrap().bytes.len(), large.len());
    }
}

#[test]
fn a_full_outbound_ring_costs_whole_chains_and_nothing_else() {
    let (mut adapter, host) = adapter();
    let mut taken = Vec::new();
    for first in (0..3000).step_by(7) {
        let chain: Vec<_> = (first..first + 7).map(packet).collect();
        match host.send(&chain.iter().map(|packet| &packet[..]).collect::<Vec<_>>()) {
            Ok(()) => taken.extend(first..first + 7),
            Err(lost) => assert_eq!(lost, Lost::Full),
        }
    }
    let counts = host.device.counts();
    assert!(counts.dropped_full > 0);
    assert_eq!(counts.sent + counts.dropped_full, 3003);
    assert_eq!(read_all(&mut adapter).unwrap(), taken, "what the driver took all arrives");
    host.send(&[&packet(1)]).unwrap();
    assert_eq!(read_all(&mut adapter).unwrap(), [1]);
}

#[test]
fn a_corrupt_ring_costs_what_lies_in_it_and_a_new_session_goes_on() {
    let (mut adapter, host) = adapter();
    for round in 0..20 {
        host.send(&[&packet(round)]).unwrap();
        assert_eq!(read_all(&mut adapter).unwrap(), [round]);
        let before = host.device.counts();
        assert!(host.device.race(&packet(99)));
        let mut restarts = 0;
        let mut batch = adapter.read().unwrap();
        assert!(batch.next_frame().is_none());
        drop(batch);
        restarts += adapter.read_report().restarts;
        let after = host.device.counts();
        assert_eq!((restarts, after.sessions), (1, before.sessions + 1));
        assert!(after.unread() > before.unread(), "the packets that filled the ring are lost");
        assert_eq!(after.dropped_ended, 0);
        assert_eq!(write(&mut adapter, 0..3).written, 3);
        assert_eq!(host.take().len(), 3);
        host.send(&[&packet(round)]).unwrap();
        assert_eq!(read_all(&mut adapter).unwrap(), [round]);
        // What was lost is lost, and nothing besides.
        assert_eq!(host.device.counts().unread(), after.unread());
    }
}

/// The slot in use lies where the ring begins, so that it is the first thing that a chain too many overwrites.
#[test]
fn a_race_for_the_packet_in_use_costs_what_lies_in_the_ring() {
    for goes_on in [true, false] {
        let (mut adapter, host) = adapter();
        for round in 0..20 {
            // One packet before it, or more than a batch: what overwrites the ring's start lies behind its end.
            let before: Vec<_> = (0..1 + round % 3 * 70).map(packet).collect();
            host.send(&before.iter().map(|packet| &packet[..]).collect::<Vec<_>>()).unwrap();
            assert_eq!(read_all(&mut adapter).unwrap().len(), before.len());
            host.send(&[&packet(round)]).unwrap();
            let mut batch = adapter.read().unwrap();
            assert_eq!(number(batch.next_frame().unwrap().bytes), round);
            assert!(host.device.race(&packet(99)));
            if goes_on {
                assert!(batch.next_frame().is_none(), "the new session is empty");
            }
            drop(batch);
            assert_eq!(adapter.read_report().restarts, 1);
            assert_eq!(host.device.counts().sessions, u64::from(round) + 2);
        }
        // The host finds room for as much as ever.
        let (lost, dropped) = (host.device.counts().unread(), host.device.counts().dropped_full);
        for first in (0..5000).step_by(50) {
            let chain: Vec<_> = (first..first + 50).map(packet).collect();
            host.send(&chain.iter().map(|packet| &packet[..]).collect::<Vec<_>>()).unwrap();
            assert_eq!(read_all(&mut adapter).unwrap(), (first..first + 50).collect::<Vec<_>>());
        }
        assert_eq!((host.device.counts().unread(), host.device.counts().dropped_full), (lost, dropped));
    }
}

#[test]
fn an_adapter_that_is_always_corrupt_is_given_up() {
    let (mut adapter, host) = adapter();
    for _ in 0..MAX_RESTARTS {
        assert!(host.device.race(&packet(99)));
        assert!(read_all(&mut adapter).unwrap().is_empty());
    }
    assert!(host.device.race(&packet(99)));
    assert!(read_all(&mut adapter).unwrap_err().to_string().contains("corrupt"));
}

#[test]
fn a_session_that_does_not_start_again_is_told() {
    let (mut rings, host) = device(MIN_CAPACITY);
    rings.refuse_restart = true;
    let mut adapter = RingAdapter::new(rings, 1420);
    assert!(host.device.race(&packet(99)));
    assert_eq!(read_all(&mut adapter).unwrap_err().to_string(), "no session");
    assert!(is_removed(&read_all(&mut adapter).unwrap_err()));
}

#[test]
fn an_error_that_nobody_names_is_told_as_it_is() {
    let (mut adapter, _host) = adapter();
    let strange = || Some(io::Error::from_raw_os_error(1));
    adapter.rings.strange = strange();
    assert_eq!(read_all(&mut adapter).unwrap_err().raw_os_error(), Some(1));
    adapter.rings.strange = strange();
    let mut queue = DeliveryQueue::default();
    queue.push(&packet(1));
    assert_eq!(adapter.write(&queue).unwrap_err().raw_os_error(), Some(1));
    assert!(read_all(&mut adapter).unwrap().is_empty(), "the rings themselves are as they were");
}

#[test]
fn a_host_that_keeps_the_ring_costs_what_does_not_fit() {
    let (mut adapter, host) = adapter();
    let fits = u64::from((MIN_CAPACITY - ALIGNMENT) / stored(LEN as u32));
    host.device.keep(true);
    let report = write(&mut adapter, 0..2000);
    assert_eq!((report.written, report.full, report.dropped()), (fits, 2000 - fits, 2000 - fits));
    // It stands still: the next write does not wait for it.
    let tries = host.device.counts().full;
    assert_eq!(write(&mut adapter, 2000..2003).full, 3);
    assert_eq!(host.device.counts().full, tries + 3);
    host.device.keep(false);
    let report = write(&mut adapter, 0..1000);
    assert_eq!((report.written, report.dropped()), (1000, 0));
    let numbers: Vec<_> = host.take().iter().map(|packet| number(packet)).collect();
    assert_eq!(numbers, (0..fits as u32).chain(0..1000).collect::<Vec<_>>(), "in order, and each once");
}

#[test]
fn a_write_waits_for_a_host_that_is_only_slow() {
    let (mut adapter, host) = adapter();
    host.device.keep(true);
    let fits = (MIN_CAPACITY - ALIGNMENT) / stored(LEN as u32);
    assert_eq!(write(&mut adapter, 0..fits).full, 0);
    let mut patience = Patience::new(Duration::from_secs(60));
    let mut queue = DeliveryQueue::default();
    queue.push(&packet(fits));
    let waited = AtomicU16::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Once the writer has found the ring full, the host gives back.
            while host.device.counts().full < 100 {
                std::thread::yield_now();
            }
            waited.fetch_add(1, Ordering::SeqCst);
            host.device.keep(false);
        });
        let delivery = queue.frames().next().unwrap();
        let fate = adapter.write_one(&delivery, &mut patience, &mut 0).unwrap();
        assert!(matches!(fate, Fate::Written));
    });
    assert_eq!(waited.into_inner(), 1);
    assert_eq!(host.take().len(), fits as usize + 1);
}

#[test]
fn a_missed_wakeup_is_made_good_by_a_nudge() {
    let (mut adapter, host) = adapter();
    assert_eq!(adapter.nudge_at(), None, "nothing was written");
    host.device.miss_wakeups(1);
    assert_eq!(write(&mut adapter, 0..1).written, 1);
    assert!(host.take().is_empty(), "it lies in the ring");
    let due = adapter.nudge_at().expect("a nudge is due");
    assert!(due <= Instant::now() + NUDGE_AFTER);
    adapter.nudge().unwrap();
    assert_eq!(host.take(), [packet(0)]);
    assert_eq!(adapter.nudge_at(), None, "one nudge is enough");
    let counts = host.device.counts();
    assert_eq!((counts.missed, counts.untaken(), counts.discarded), (1, 0, 0), "the nudge passes for IP");
}

#[test]
fn an_adapter_that_goes_is_removed_whichever_way_it_is_found() {
    let (mut adapter, host) = adapter();
    host.send(&[&packet(1)]).unwrap();
    host.device.remove();
    assert!(is_removed(&read_all(&mut adapter).unwrap_err()));
    let mut queue = DeliveryQueue::default();
    queue.push(&packet(1));
    assert!(is_removed(&adapter.write(&queue).unwrap_err()));
    assert!(is_removed(&adapter.nudge().unwrap_err()));
}

#[test]
fn what_is_no_ip_packet_never_reaches_the_driver() {
    let (mut adapter, host) = adapter();
    let mut queue = DeliveryQueue::default();
    for bad in [&[0x45; 19][..], &[0x60; 39], &[0; 40], &[0x50; 60]] {
        queue.push(bad);
    }
    queue.push(&packet(5));
    let report = adapter.write(&queue).unwrap();
    assert_eq!((report.refused, report.written), (4, 1));
    assert_eq!(host.device.counts().discarded, 0);
    assert_eq!(host.take(), [packet(5)]);
}

/// A TCP segment of 100.96.0.1:80 for 10.0.0.2:9000, with checksums.
fn segment(seq: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((40 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 100, 96, 0, 1, 10, 0, 0, 2]);
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend([0, 80, 0x23, 0x28]);
    packet.extend(seq.to_be_bytes());
    packet.extend([0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    packet.extend(payload);
    let mut pseudo = packet[12..20].to_vec();
    pseudo.extend([0, 6]);
    pseudo.extend((20 + payload.len() as u16).to_be_bytes());
    pseudo.extend(&packet[20..]);
    let sum = checksum(&pseudo);
    packet[36..38].copy_from_slice(&sum.to_be_bytes());
    packet
}

#[test]
fn segments_of_a_flow_become_one_packet_with_whole_checksums() {
    let (mut adapter, host) = adapter();
    let mut queue = DeliveryQueue::default();
    queue.merge_udp(adapter.cuts_udp());
    // Odd sizes: a checksum over pieces must not stumble over them.
    for (at, len) in [(0, 501), (501, 501), (1002, 77)] {
        let packet = segment(at, &vec![at as u8 ^ 0x5a; len]);
        let (start, room) = queue.open(packet.len());
        room.copy_from_slice(&packet);
        queue.deliver(start..start + packet.len(), &Headers::parse(&packet).unwrap());
    }
    queue.finish();
    let report = adapter.write(&queue).unwrap();
    assert_eq!((report.written, report.calls), (1, 1), "one packet for the driver, one NBL for the host");
    let packets = host.take();
    let mut whole = vec![0x5a; 501];
    whole.extend([501u32 as u8 ^ 0x5a; 501]);
    whole.extend([1002u32 as u8 ^ 0x5a; 77]);
    assert_eq!(packets, [segment(0, &whole)]);
}

#[test]
fn the_host_rings_the_worker() {
    let (mut adapter, host) = adapter();
    let bell = Bell::new().unwrap();
    adapter.attach(&bell);
    let look = || wait(&bell, &Interest::default(), Some(Duration::ZERO)).unwrap().bell;
    assert!(look() && !look());
    host.send(&[&packet(1)]).unwrap();
    assert!(look());
}
