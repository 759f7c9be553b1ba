//! `loom` tries the interleavings of the two ends of a ring, and what memory may show them meanwhile (C11).
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p vestibule-ring --target-dir target/loom --test loom` (`tests/run` does).
#![cfg(loom)]

use loom::{model::Builder, thread};
use vestibule_ring::{Arc, Consumer, Fences, Producer, Receiver, Refused, Ring, Sender, Taken};

/// Interleavings with at most three preemptions: almost all faults need no more than two.
fn explore(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(f);
}

/// Two packets of one word fit, and the third waits for room.
fn ring() -> Arc<Ring> {
    Arc::new(Ring::tiny(32, 4))
}

fn packet(number: u32) -> [u8; 4] {
    number.to_ne_bytes()
}

fn next(consumer: &Consumer) -> Option<Vec<u8>> {
    match consumer.receive() {
        Ok(slot) => {
            let bytes = consumer.ring().read(&slot);
            consumer.release(slot);
            Some(bytes)
        }
        Err(Refused::Empty) => None,
        Err(refused) => panic!("{refused}"),
    }
}

/// The driver writes while the program reads and releases: no word is touched by both, nothing is torn or lost.
#[test]
fn what_the_host_sends_arrives_in_order() {
    explore(|| {
        let ring = ring();
        let (sender, consumer) = (Sender::new(ring.clone()), Consumer::new(ring));
        let host = thread::spawn(move || {
            let mut sent = 0;
            for number in 1..=4 {
                // Full: this packet is dropped, as its chain would be.
                sent += u32::from(sender.chain(&[&packet(number)]).is_ok());
            }
            sent
        });
        let mut read = Vec::new();
        for _ in 0..2 {
            read.extend(next(&consumer));
        }
        let sent = host.join().unwrap();
        read.extend(std::iter::from_fn(|| next(&consumer)));
        assert_eq!(read.len() as u32, sent);
        assert!(read.is_sorted_by(|a, b| a[0] < b[0]), "{read:?}");
    });
}

/// Two threads of the program send what was allocated in order: it arrives in that order.
#[test]
fn the_order_of_allocation_is_the_order_of_arrival() {
    explore(|| {
        let ring = ring();
        let (producer, receiver) =
            (Arc::new(Producer::new(ring.clone(), Fences::Sound)), Receiver::new(ring, Fences::Sound));
        let (first, second) = (producer.allocate(4).unwrap(), producer.allocate(4).unwrap());
        let other = thread::spawn({
            let producer = producer.clone();
            move || {
                producer.ring().write(&first, &packet(1));
                let _ = producer.send(first);
            }
        });
        producer.ring().write(&second, &packet(2));
        let _ = producer.send(second);
        let mut taken = Vec::new();
        let mut take = |receiver: &Receiver| {
            if let Taken::Packet(indicated) = receiver.take() {
                taken.push(receiver.bytes(&indicated));
                receiver.give_back(indicated);
            }
        };
        take(&receiver);
        other.join().unwrap();
        take(&receiver);
        take(&receiver);
        assert_eq!(taken, [packet(1), packet(2)]);
    });
}

/// The host gives packets back while the program writes into the room: it writes nothing that the host still has.
#[test]
fn room_is_reused_only_when_it_was_given_back() {
    explore(|| {
        let ring = Arc::new(Ring::tiny(16, 4));
        let (producer, receiver) = (Producer::new(ring.clone(), Fences::Sound), Receiver::new(ring, Fences::Sound));
        let send = |producer: &Producer, number| {
            producer.allocate(4).map(|slot| {
                producer.ring().write(&slot, &packet(number));
                let _ = producer.send(slot);
            })
        };
        send(&producer, 1).unwrap();
        let program = thread::spawn(move || {
            let refused = (2..4).filter(|number| send(&producer, *number) == Err(Refused::Full)).count();
            2 - refused
        });
        let mut taken = 0;
        let mut take = |receiver: &Receiver| {
            if let Taken::Packet(indicated) = receiver.take() {
                taken += 1;
                assert!((1..4).contains(&receiver.bytes(&indicated)[0]));
                receiver.give_back(indicated);
            }
        };
        take(&receiver);
        take(&receiver);
        let written = program.join().unwrap();
        take(&receiver);
        take(&receiver);
        assert_eq!(taken, written + 1);
    });
}

/// The driver's thread goes to sleep while the program sends its one packet: it has found the packet, or it is woken.
fn sleeper(fences: Fences) {
    explore(move || {
        let ring = ring();
        let (producer, receiver) = (Producer::new(ring.clone(), fences), Receiver::new(ring, fences));
        let driver = thread::spawn(move || match receiver.take() {
            Taken::Nothing => receiver.fall_asleep(),
            _ => false,
        });
        let slot = producer.allocate(4).unwrap();
        producer.ring().write(&slot, &packet(7));
        let woken = producer.send(slot);
        let sleeps = driver.join().unwrap();
        assert!(woken || !sleeps, "it sleeps, and nobody wakes it");
    });
}

#[test]
fn no_wakeup_is_missed_with_barriers() {
    sleeper(Fences::Sound);
}

/// The model has the released driver's fault: both look before the other's word is visible, and the packet lies there.
#[test]
#[should_panic(expected = "nobody wakes it")]
fn a_wakeup_is_missed_without() {
    sleeper(Fences::AsReleased);
}

/// Two of the host's processors send while the program reads.
fn two_senders(stale: bool) {
    explore(move || {
        let ring = Arc::new(Ring::tiny(16, 4));
        let (sender, consumer) = (Arc::new(Sender::new(ring.clone())), Consumer::new(ring));
        sender.chain(&[&packet(1)]).unwrap();
        let other = thread::spawn({
            let sender = sender.clone();
            move || {
                if stale {
                    let head = sender.head();
                    sender.chain_at(head, &[&packet(2)]).is_ok()
                } else {
                    sender.chain(&[&packet(2)]).is_ok()
                }
            }
        });
        assert_eq!(next(&consumer), Some(packet(1).to_vec()));
        // The tail is past the place where the other saw the reader.
        let third = sender.chain(&[&packet(3)]).is_ok();
        let second = other.join().unwrap();
        let mut read = Vec::new();
        loop {
            match consumer.receive() {
                Ok(slot) => {
                    read.push(consumer.ring().read(&slot)[0]);
                    consumer.release(slot);
                }
                Err(Refused::Empty) => break,
                Err(refused) => panic!("{refused}"),
            }
        }
        let mut sent: Vec<u8> = Vec::new();
        sent.extend(second.then_some(2));
        sent.extend(third.then_some(3));
        read.sort_unstable();
        assert_eq!(read, sent, "overwritten");
    });
}

#[test]
fn senders_that_look_with_the_lock_overwrite_nothing() {
    two_senders(false);
}

/// The model has the released driver's fault.
#[test]
#[should_panic]
fn senders_that_look_before_they_have_the_lock_do() {
    two_senders(true);
}
