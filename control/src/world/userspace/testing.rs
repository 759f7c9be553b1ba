//! Two hosts of memory without engines between them.

#![allow(clippy::unwrap_used)]

use std::{thread, time::Duration};
use vestibule_engine::packet::{DeliveryQueue, Frames};
use vestibule_platform::adapter::{
    Adapter,
    memory::{MemoryHost, pair},
};

/// Two hosts whose adapters are joined back to back; `lose` says which packet is lost.
pub(super) fn joined(lose: Option<usize>) -> (MemoryHost, MemoryHost) {
    let (mut a, near) = pair(1024, 1420);
    let (mut b, far) = pair(1024, 1420);
    thread::spawn(move || {
        let mut count = 0;
        loop {
            for _ in 0..2 {
                let mut packets = DeliveryQueue::default();
                let mut frames = a.read().unwrap();
                while let Some(frame) = frames.next_frame() {
                    count += 1;
                    if Some(count) != lose {
                        packets.push(frame.bytes);
                    }
                }
                drop(frames);
                b.write(&packets).unwrap();
                std::mem::swap(&mut a, &mut b);
            }
            thread::sleep(Duration::from_micros(200));
        }
    });
    (near, far)
}
