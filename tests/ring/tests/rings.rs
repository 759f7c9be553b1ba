//! The rings do what `wintun.h` promises and the driver does.
#![cfg(not(loom))]

use proptest::prelude::*;
use std::collections::VecDeque;
use vestibule_ring::{
    ALIGNMENT, Arc, Consumer, Device, Fences, Lost, MAX_CAPACITY, MAX_PACKET, MIN_CAPACITY, Producer, Receiver,
    Refused, Ring, Sender, Slot, StartError, Taken, check_capacity, stored,
};

fn ring() -> Arc<Ring> {
    Arc::new(Ring::new(MIN_CAPACITY).unwrap())
}

/// An IPv4 packet, as far as the driver looks, of at least 20 bytes.
fn packet(number: u32, len: usize) -> Vec<u8> {
    let mut packet: Vec<u8> = (0..len).map(|at| (at as u32 ^ number) as u8).collect();
    packet[0] = 0x45;
    packet[4..8].copy_from_slice(&number.to_be_bytes());
    packet
}

fn outbound() -> (Sender, Consumer) {
    let ring = ring();
    (Sender::new(ring.clone()), Consumer::new(ring))
}

fn inbound() -> (Producer, Receiver) {
    let ring = ring();
    (Producer::new(ring.clone(), Fences::Sound), Receiver::new(ring, Fences::Sound))
}

fn taken(receiver: &Receiver) -> vestibule_ring::Indicated {
    match receiver.take() {
        Taken::Packet(packet) => packet,
        other => panic!("expected a packet, got {other:?}"),
    }
}

#[test]
fn capacities_are_powers_of_two_within_limits() {
    for good in [MIN_CAPACITY, 1 << 20, MAX_CAPACITY] {
        assert!(check_capacity(good).is_ok());
    }
    for bad in [0, MIN_CAPACITY / 2, MIN_CAPACITY + 4, 3 << 20, MAX_CAPACITY * 2] {
        assert_eq!(Ring::new(bad).unwrap_err().got, bad);
    }
}

#[test]
fn packets_are_aligned_and_keep_their_length() {
    assert_eq!([0, 1, 4, 5, MAX_PACKET].map(stored), [4, 8, 8, 12, 65_540]);
    let (sender, consumer) = outbound();
    let packets: Vec<_> = (20..40).map(|len| packet(len, len as usize)).collect();
    sender.chain(&packets.iter().map(|packet| &packet[..]).collect::<Vec<_>>()).unwrap();
    for expected in &packets {
        let slot = consumer.receive().unwrap();
        let pointer = consumer.ring().pointer(&slot);
        assert!((pointer as usize).is_multiple_of(ALIGNMENT as usize));
        assert_eq!(consumer.ring().read(&slot), *expected);
        // As a C interface gives it back.
        let again = consumer.ring().slot_at(pointer).unwrap();
        assert_eq!(again, slot);
        consumer.release(again);
    }
    assert_eq!(consumer.receive(), Err(Refused::Empty));
}

#[test]
fn a_chain_fits_whole_or_is_lost_whole() {
    let (sender, consumer) = outbound();
    let large = packet(1, 60_000);
    sender.chain(&[&large]).unwrap();
    sender.chain(&[&large]).unwrap();
    let dropped = sender.chain(&[&packet(2, 40), &large]).unwrap_err();
    assert_eq!((dropped.packets, dropped.ended), (2, false));
    sender.chain(&[&packet(3, 40)]).unwrap();
    let lens: Vec<_> = std::iter::from_fn(|| consumer.receive().ok()).map(|slot| slot.len()).collect();
    assert_eq!(lens, [60_000, 60_000, 40]);
}

#[test]
fn released_out_of_order_room_comes_back_in_order() {
    let (sender, consumer) = outbound();
    let large = packet(1, 40_000);
    for _ in 0..3 {
        sender.chain(&[&large]).unwrap();
    }
    let slots: Vec<_> = std::iter::from_fn(|| consumer.receive().ok()).collect();
    assert!(sender.chain(&[&large]).is_err());
    let mut slots = slots.into_iter();
    let first = slots.next().unwrap();
    slots.for_each(|slot| consumer.release(slot));
    assert!(sender.chain(&[&large]).is_err(), "the first is still held");
    consumer.release(first);
    for _ in 0..3 {
        sender.chain(&[&large]).unwrap();
    }
}

#[test]
fn sent_out_of_order_they_arrive_as_allocated() {
    let (producer, receiver) = inbound();
    let slots: Vec<_> = (0..5).map(|number| (number, producer.allocate(20 + number).unwrap())).collect();
    for (number, slot) in slots.into_iter().rev() {
        assert_eq!(receiver.take(), Taken::Nothing, "the first was not sent");
        producer.ring().write(&slot, &packet(number, 20 + number as usize));
        let _ = producer.send(slot);
    }
    for number in 0..5 {
        let indicated = taken(&receiver);
        assert_eq!(receiver.bytes(&indicated), packet(number, 20 + number as usize));
        receiver.give_back(indicated);
    }
}

#[test]
fn one_packet_that_the_host_keeps_holds_the_ring() {
    let (producer, receiver) = inbound();
    let len = 1420;
    let fits = (MIN_CAPACITY - ALIGNMENT) / stored(len);
    let send = || {
        producer.allocate(len).map(|slot| {
            producer.ring().write(&slot, &packet(0, len as usize));
            let _ = producer.send(slot);
        })
    };
    (0..fits).for_each(|_| send().unwrap());
    assert_eq!(send(), Err(Refused::Full));
    let mut kept: Vec<_> = (0..fits).map(|_| taken(&receiver)).collect();
    let first = kept.remove(0);
    kept.into_iter().for_each(|packet| receiver.give_back(packet));
    assert_eq!(send(), Err(Refused::Full));
    receiver.give_back(first);
    (0..fits).for_each(|_| send().unwrap());
}

#[test]
fn what_is_not_ip_waits_for_all_that_the_host_keeps() {
    let (producer, receiver) = inbound();
    for bytes in [&packet(1, 20)[..], b"short", &[0x60; 39], &packet(2, 20)] {
        let slot = producer.allocate(bytes.len() as u32).unwrap();
        producer.ring().write(&slot, bytes);
        let _ = producer.send(slot);
    }
    let first = taken(&receiver);
    assert_eq!(receiver.take(), Taken::Stuck);
    receiver.give_back(first);
    assert_eq!((receiver.take(), receiver.take()), (Taken::Discarded, Taken::Discarded));
    let indicated = taken(&receiver);
    assert_eq!(receiver.bytes(&indicated), packet(2, 20));
}

#[test]
fn the_program_wakes_the_driver_only_where_it_sleeps() {
    let (producer, receiver) = inbound();
    let send = || {
        let slot = producer.allocate(20).unwrap();
        producer.ring().write(&slot, &packet(0, 20));
        producer.send(slot)
    };
    assert!(!send());
    assert!(!receiver.fall_asleep(), "there is a packet");
    assert!(!receiver.sleeps());
    receiver.give_back(taken(&receiver));
    assert!(receiver.fall_asleep());
    assert!(send());
    receiver.wake_up();
    assert!(!send());
}

#[test]
fn the_end_is_told_both_ways() {
    let device = Device::default();
    let session = device.start(MIN_CAPACITY).unwrap();
    assert_eq!(device.start(MIN_CAPACITY).unwrap_err(), StartError::Busy);
    device.host_send(&[&packet(1, 20)]).unwrap();
    device.end();
    assert_eq!(session.outbound.receive(), Err(Refused::Ended));
    assert_eq!(session.inbound.allocate(20), Err(Refused::Ended));
    assert_eq!(device.host_send(&[&packet(1, 20)]), Err(Lost::Ended));
    assert_eq!((device.counts().unread(), device.counts().dropped_ended), (1, 1));
    assert!(device.start(MIN_CAPACITY).is_ok());
    device.remove();
    assert_eq!(device.start(MIN_CAPACITY).unwrap_err(), StartError::Removed);
}

#[test]
fn the_race_makes_a_ring_that_makes_no_sense() {
    // Miri takes a thousand times as long.
    let lens = if cfg!(miri) { &[1420, 60_000][..] } else { &[20, 21, 576, 1420, 60_000] };
    for &len in lens {
        for before in 0..7 {
            let device = Device::default();
            let session = device.start(MIN_CAPACITY).unwrap();
            for _ in 0..before {
                device.host_send(&[&packet(7, 1000)]).unwrap();
                session.outbound.release(device.receive(&session).unwrap());
            }
            assert!(device.race(&packet(1, len)));
            assert_eq!(device.receive(&session), Err(Refused::Corrupt), "packets of {len} after {before}");
            assert_eq!(device.counts().read, before);
        }
    }
}

#[test]
fn codes_are_the_systems() {
    let codes = [Refused::Ended, Refused::Empty, Refused::Full, Refused::Corrupt].map(Refused::code);
    assert_eq!(codes, [38, 259, 111, 13]);
}

#[derive(Clone, Debug)]
enum Step {
    Send(Vec<usize>),
    Receive,
    Release(usize),
    Allocate(usize),
    Fill(usize),
    Take,
    GiveBack(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![20usize..80, 1000usize..1500, 20_000usize..65_536];
    prop_oneof![
        prop::collection::vec(len.clone(), 1..4).prop_map(Step::Send),
        Just(Step::Receive),
        any::<usize>().prop_map(Step::Release),
        len.prop_map(Step::Allocate),
        any::<usize>().prop_map(Step::Fill),
        Just(Step::Take),
        any::<usize>().prop_map(Step::GiveBack),
    ]
}

/// Takes one of `held` by any number.
fn pick<T>(held: &mut Vec<T>, which: usize) -> Option<T> {
    (!held.is_empty()).then(|| held.remove(which % held.len()))
}

proptest! {
    /// Whatever is received, released, allocated, sent, taken and given back in whatever order: what goes in comes out,
    /// unchanged and in order, in both directions, and what is refused is refused for want of room.
    #[test]
    fn what_goes_in_comes_out(steps in prop::collection::vec(step(), 1..200)) {
        let (sender, consumer) = outbound();
        let (producer, receiver) = inbound();
        let (mut number, mut sent, mut lent) = (0, VecDeque::new(), Vec::new());
        let (mut rooms, mut order, mut kept) = (Vec::new(), VecDeque::new(), Vec::new());
        for step in steps {
            number += 1;
            match step {
                Step::Send(lens) => {
                    let chain: Vec<_> = lens.iter().map(|len| packet(number, *len)).collect();
                    if sender.chain(&chain.iter().map(|packet| &packet[..]).collect::<Vec<_>>()).is_ok() {
                        sent.extend(chain);
                    } else {
                        let wanted: u32 = lens.iter().map(|len| stored(*len as u32)).sum();
                        let held: u32 = lent.iter().map(|(slot, _): &(Slot, Vec<u8>)| stored(slot.len() as u32)).sum();
                        let waiting: u32 = sent.iter().map(|packet: &Vec<u8>| stored(packet.len() as u32)).sum();
                        // Released ones behind a held one take room as well, so this much room is not always there.
                        prop_assert!(!lent.is_empty() || wanted + held + waiting > MIN_CAPACITY - ALIGNMENT);
                    }
                }
                Step::Receive => match consumer.receive() {
                    Ok(slot) => {
                        let expected = sent.pop_front();
                        prop_assert_eq!(Some(consumer.ring().read(&slot)), expected.clone());
                        lent.push((slot, expected.unwrap_or_default()));
                    }
                    Err(refused) => prop_assert!(sent.is_empty() && refused == Refused::Empty),
                },
                Step::Release(which) => {
                    if let Some((slot, expected)) = pick(&mut lent, which) {
                        prop_assert_eq!(consumer.ring().read(&slot), expected, "overwritten while it was held");
                        consumer.release(slot);
                    }
                }
                Step::Allocate(len) => match producer.allocate(len as u32) {
                    Ok(slot) => {
                        rooms.push((slot, packet(number, len)));
                        order.push_back(packet(number, len));
                    }
                    Err(refused) => prop_assert_eq!(refused, Refused::Full),
                },
                Step::Fill(which) => {
                    if let Some((slot, bytes)) = pick(&mut rooms, which) {
                        producer.ring().write(&slot, &bytes);
                        let _ = producer.send(slot);
                    }
                }
                Step::Take => match receiver.take() {
                    Taken::Packet(indicated) => {
                        let expected = order.pop_front();
                        prop_assert_eq!(Some(receiver.bytes(&indicated)), expected.clone());
                        kept.push((indicated, expected.unwrap_or_default()));
                    }
                    nothing => prop_assert_eq!(nothing, Taken::Nothing),
                },
                Step::GiveBack(which) => {
                    if let Some((indicated, expected)) = pick(&mut kept, which) {
                        prop_assert_eq!(receiver.bytes(&indicated), expected, "overwritten while the host had it");
                        receiver.give_back(indicated);
                    }
                }
            }
        }
        // All that was allocated and not sent is still to come.
        prop_assert!(order.len() >= rooms.len());
    }
}

/// Threads at both ends of both rings, for what AddressSanitizer makes of it.
#[test]
fn four_threads_carry_a_million_bytes_each_way() {
    const PACKETS: u32 = if cfg!(miri) { 20 } else { 2000 };
    let (sender, consumer) = outbound();
    let (producer, receiver) = inbound();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..PACKETS {
                while sender.chain(&[&packet(number, 700)]).is_err() {
                    std::thread::yield_now();
                }
            }
        });
        scope.spawn(|| {
            for number in 0..PACKETS {
                let slot = loop {
                    match consumer.receive() {
                        Ok(slot) => break slot,
                        Err(refused) => assert_eq!(refused, Refused::Empty),
                    }
                    std::thread::yield_now();
                };
                assert_eq!(consumer.ring().read(&slot), packet(number, 700));
                consumer.release(slot);
            }
        });
        scope.spawn(|| {
            for number in 0..PACKETS {
                let slot = loop {
                    match producer.allocate(700) {
                        Ok(slot) => break slot,
                        Err(refused) => assert_eq!(refused, Refused::Full),
                    }
                    std::thread::yield_now();
                };
                producer.ring().write(&slot, &packet(number, 700));
                let _ = producer.send(slot);
            }
        });
        scope.spawn(|| {
            for number in 0..PACKETS {
                let indicated = loop {
                    match receiver.take() {
                        Taken::Packet(indicated) => break indicated,
                        nothing => assert_eq!(nothing, Taken::Nothing),
                    }
                    std::thread::yield_now();
                };
                assert_eq!(receiver.bytes(&indicated), packet(number, 700));
                receiver.give_back(indicated);
            }
        });
    });
}
