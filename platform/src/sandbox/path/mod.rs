//! A path with delay, loss and a bottleneck between two adapters, for kernels without netem.
//!
//! A thread stands where the network would: what it reads from one adapter it writes to the other, as [`Shape`] says.
//! Super-packets are cut first, so that every packet has a fate of its own, and merged again on arrival as a network
//! card does.

mod pipe;

pub use pipe::{Fates, Pipe, Shape};

use crate::adapter::Adapter;
use crate::wait::{Bell, Interest, wait};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use vestibule_engine::packet::{DeliveryQueue, Frames, Headers, segments};

/// Most packets written in one go: what a super-packet holds, a few times.
const BATCH: usize = 256;

/// A path that lasts until it is dropped.
#[derive(Debug)]
pub struct Path {
    stop: Arc<AtomicBool>,
    bell: Bell,
    fates: Arc<Mutex<[Fates; 2]>>,
    thread: Option<JoinHandle<()>>,
}

impl Path {
    /// Joins two adapters.
    ///
    /// # Errors
    /// No thread, or no event object, could be had.
    pub fn join<A, B>(mut a: A, mut b: B, shape: Shape) -> io::Result<Self>
    where
        A: Adapter + 'static,
        B: Adapter + 'static,
    {
        let bell = Bell::new()?;
        a.attach(&bell);
        b.attach(&bell);
        let (stop, fates) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::default()));
        let other = Shape { seed: shape.seed.wrapping_add(1), ..shape };
        let mut ends = Ends {
            a,
            b,
            bell: bell.clone(),
            pipes: [Pipe::new(shape), Pipe::new(other)],
            deliveries: DeliveryQueue::default(),
            spare: Vec::new(),
        };
        let (stopped, told) = (Arc::clone(&stop), Arc::clone(&fates));
        let work = move || {
            while !stopped.load(Ordering::Relaxed) {
                if let Err(error) = ends.turn() {
                    tracing::warn!(%error, "an emulated path has ended");
                    return;
                }
                *told.lock().unwrap_or_else(PoisonError::into_inner) = ends.pipes.each_ref().map(Pipe::fates);
            }
        };
        let thread = thread::Builder::new().name("emulated path".to_owned()).spawn(work)?;
        Ok(Self { stop, bell, fates, thread: Some(thread) })
    }

    /// What became of packets from the first adapter, and of those from the second.
    #[must_use]
    pub fn fates(&self) -> [Fates; 2] {
        *self.fates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            // A panic inside was printed.
            let _ = thread.join();
        }
    }
}

struct Ends<A, B> {
    a: A,
    b: B,
    bell: Bell,
    pipes: [Pipe<Vec<u8>>; 2],
    deliveries: DeliveryQueue,
    /// Memory of packets that have arrived or are lost.
    spare: Vec<Vec<u8>>,
}

impl<A: Adapter, B: Adapter> Ends<A, B> {
    fn turn(&mut self) -> io::Result<()> {
        let due = self.pipes.iter().filter_map(Pipe::due).min();
        let timeout = due.map(|due| due.saturating_duration_since(Instant::now()));
        if timeout != Some(Duration::ZERO) {
            let interest =
                Interest { adapter: self.a.handle(), socket: self.b.handle(), readable: true, writable: false };
            wait(&self.bell, &interest, timeout)?;
        }
        let [there, back] = &mut self.pipes;
        take(&mut self.a, there, &mut self.spare)?;
        take(&mut self.b, back, &mut self.spare)?;
        give(&mut self.b, there, &mut self.deliveries, &mut self.spare)?;
        give(&mut self.a, back, &mut self.deliveries, &mut self.spare)
    }
}

/// From the adapter into the pipe: all there is in one batch.
fn take(adapter: &mut impl Adapter, pipe: &mut Pipe<Vec<u8>>, spare: &mut Vec<Vec<u8>>) -> io::Result<()> {
    let now = Instant::now();
    let mut frames = adapter.read()?;
    while let Some(frame) = frames.next_frame() {
        // What cannot be cut is nothing that a network carries.
        let _ = segments(frame, |packet| {
            let mut bytes = spare.pop().unwrap_or_default();
            bytes.clear();
            bytes.extend_from_slice(packet);
            pipe.offer(bytes, packet.len(), now);
        });
    }
    Ok(())
}

/// From the pipe to the adapter: what has come out by now.
fn give(
    adapter: &mut impl Adapter,
    pipe: &mut Pipe<Vec<u8>>,
    deliveries: &mut DeliveryQueue,
    spare: &mut Vec<Vec<u8>>,
) -> io::Result<()> {
    let now = Instant::now();
    deliveries.merge_udp(adapter.cuts_udp());
    for _ in 0..BATCH {
        let Some(packet) = pipe.next(now) else { break };
        match Headers::parse(&packet) {
            Ok(headers) => {
                let (start, room) = deliveries.open(packet.len());
                room.copy_from_slice(&packet);
                deliveries.deliver(start..start + packet.len(), &headers);
            }
            Err(_) => deliveries.push(&packet),
        }
        spare.push(packet);
    }
    deliveries.finish();
    if !deliveries.is_empty() {
        adapter.write(deliveries)?;
        deliveries.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::adapter::memory::pair;

    #[test]
    fn packets_cross_in_order_and_late_both_ways() {
        let delay = Duration::from_millis(20);
        let (a, near) = pair(256, 1500);
        let (b, far) = pair(256, 1500);
        let path = Path::join(a, b, Shape { delay, ..Shape::default() }).unwrap();
        let packet = |number: u8| {
            let mut packet = vec![0; 28];
            packet[..4].copy_from_slice(&[0x45, 0, 0, 28]);
            packet[8] = 64;
            // No protocol that anybody merges.
            packet[9] = 254;
            packet[27] = number;
            packet
        };
        let sent = Instant::now();
        for number in 0..100 {
            assert!(near.send(packet(number)));
            assert!(far.send(packet(number)));
        }
        for end in [&near, &far] {
            for number in 0..100 {
                assert_eq!(end.receive(Duration::from_secs(30)).unwrap().bytes, packet(number));
            }
        }
        assert!(sent.elapsed() >= delay);
        let fates = path.fates();
        drop(path);
        assert!(fates.iter().all(|fates| fates.lost + fates.overflowed == 0), "{fates:?}");
    }
}
