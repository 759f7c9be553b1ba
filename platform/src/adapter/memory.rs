//! The adapter's in-memory twin: the engine's end, and the end on which a host (a test, an embedding) stands.

use super::{Adapter, ReadReport, WriteReport};
use crate::wait::{Bell, OsHandle, Waitable};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};
use vestibule_engine::packet::{DeliveryQueue, Frame, Frames, Offload, SegmentError, segments};

/// Most frames lent in one batch.
const BATCH: usize = 64;

/// One packet (or super-packet) that the host and the adapter exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFrame {
    /// From the IP header on.
    pub bytes: Vec<u8>,
    /// What the receiver of the frame must still do.
    pub offload: Offload,
}

impl HostFrame {
    /// The packets that a kernel makes of it: cut into segments, checksums complete.
    ///
    /// # Errors
    /// The offload does not fit the bytes.
    pub fn into_packets(mut self) -> Result<Vec<Vec<u8>>, SegmentError> {
        let mut packets = Vec::new();
        let frame = Frame { bytes: &mut self.bytes, offload: self.offload };
        segments(frame, |packet| packets.push(packet.to_vec()))?;
        Ok(packets)
    }
}

/// An adapter and its host, joined by two queues of `capacity` frames each. A full queue drops, as a real one does.
#[must_use]
pub fn pair(capacity: usize, mtu: u32) -> (MemoryAdapter, MemoryHost) {
    let (to_adapter, from_host) = bounded(capacity);
    let (to_host, from_adapter) = bounded(capacity);
    let bell = Arc::new(OnceLock::new());
    let adapter =
        MemoryAdapter { from_host, to_host, bell: bell.clone(), mtu, lent: Vec::new(), report: ReadReport::default() };
    (adapter, MemoryHost { to_adapter, from_adapter, bell })
}

/// The engine's end. Give it to a worker.
#[derive(Debug)]
pub struct MemoryAdapter {
    from_host: Receiver<HostFrame>,
    to_host: Sender<HostFrame>,
    bell: Arc<OnceLock<Bell>>,
    mtu: u32,
    lent: Vec<HostFrame>,
    report: ReadReport,
}

impl Waitable for MemoryAdapter {
    fn handle(&self) -> Option<OsHandle<'_>> {
        None
    }

    fn attach(&mut self, bell: &Bell) {
        // A second worker would wait on its own bell: an adapter serves one worker in its life.
        let _ = self.bell.set(bell.clone());
        bell.ring();
    }
}

impl Adapter for MemoryAdapter {
    fn read(&mut self) -> io::Result<impl Frames + '_> {
        self.lent.clear();
        self.lent.extend(self.from_host.try_iter().take(BATCH));
        self.report = ReadReport { calls: 1, drained: self.lent.len() < BATCH, ..ReadReport::default() };
        Ok(Lent(self.lent.iter_mut()))
    }

    fn read_report(&self) -> ReadReport {
        self.report
    }

    fn write(&mut self, deliveries: &DeliveryQueue) -> io::Result<WriteReport> {
        let mut report = WriteReport::default();
        for delivery in deliveries.frames() {
            let mut bytes = Vec::with_capacity(delivery.len());
            delivery.pieces().for_each(|piece| bytes.extend_from_slice(piece));
            report.calls += 1;
            match self.to_host.try_send(HostFrame { bytes, offload: delivery.offload }) {
                Ok(()) => report.written += 1,
                Err(TrySendError::Full(_)) => report.full += 1,
                Err(TrySendError::Disconnected(_)) => report.down += 1,
            }
        }
        Ok(report)
    }

    fn mtu(&self) -> u32 {
        self.mtu
    }

    fn cuts_udp(&self) -> bool {
        true
    }
}

struct Lent<'a>(std::slice::IterMut<'a, HostFrame>);

impl Frames for Lent<'_> {
    fn next_frame(&mut self) -> Option<Frame<'_>> {
        self.0.next().map(|frame| Frame { bytes: &mut frame.bytes, offload: frame.offload })
    }
}

/// The host's end: where a kernel would stand.
#[derive(Clone, Debug)]
pub struct MemoryHost {
    to_adapter: Sender<HostFrame>,
    from_adapter: Receiver<HostFrame>,
    bell: Arc<OnceLock<Bell>>,
}

impl MemoryHost {
    /// Sends one IP packet into the adapter. False when its queue is full or the adapter is gone: the packet is lost.
    pub fn send(&self, packet: impl Into<Vec<u8>>) -> bool {
        self.send_frame(HostFrame { bytes: packet.into(), offload: Offload::default() })
    }

    /// As [`Self::send`], for a frame with work left to do.
    pub fn send_frame(&self, frame: HostFrame) -> bool {
        let sent = self.to_adapter.try_send(frame).is_ok();
        if let Some(bell) = self.bell.get() {
            bell.ring();
        }
        sent
    }

    /// The next frame the adapter wrote, waiting for it at most `timeout`; `None` when there is none.
    #[must_use]
    pub fn receive(&self, timeout: Duration) -> Option<HostFrame> {
        self.from_adapter.recv_timeout(timeout).ok()
    }

    /// The frames that the adapter wrote, to wait for them beside other things.
    #[must_use]
    pub fn frames(&self) -> Receiver<HostFrame> {
        self.from_adapter.clone()
    }

    /// Frames that the adapter wrote and nobody has received yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.from_adapter.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read_all(adapter: &mut MemoryAdapter) -> Vec<Vec<u8>> {
        let mut batch = adapter.read().unwrap();
        let mut all = Vec::new();
        while let Some(frame) = batch.next_frame() {
            all.push(frame.bytes.to_vec());
        }
        all
    }

    #[test]
    fn frames_pass_in_order_and_a_full_queue_drops() {
        let (mut adapter, host) = pair(2, 1420);
        assert!(host.send([1]) && host.send([2]));
        assert!(!host.send([3]));
        assert_eq!(read_all(&mut adapter), [[1], [2]]);
        assert!(read_all(&mut adapter).is_empty());
        assert!(adapter.read_report().drained);
    }

    #[test]
    fn a_batch_is_bounded_and_says_that_more_waits() {
        let (mut adapter, host) = pair(200, 1420);
        for n in 0..65 {
            assert!(host.send([n]));
        }
        assert_eq!(read_all(&mut adapter).len(), BATCH);
        assert!(!adapter.read_report().drained);
        assert_eq!(read_all(&mut adapter), [[64]]);
        assert!(adapter.read_report().drained);
    }

    #[test]
    fn a_write_counts_what_the_host_does_not_take() {
        let (mut adapter, host) = pair(1, 1420);
        let mut deliveries = DeliveryQueue::default();
        deliveries.push(&[7; 20]);
        deliveries.push(&[8; 20]);
        let report = adapter.write(&deliveries).unwrap();
        assert_eq!((report.written, report.full, report.dropped()), (1, 1, 1));
        assert_eq!(host.receive(Duration::ZERO).unwrap().bytes, [7; 20]);
        drop(host);
        assert_eq!(adapter.write(&deliveries).unwrap().down, 2);
    }

    #[test]
    fn a_super_packet_becomes_packets() {
        use vestibule_engine::packet::{Gso, Headers};
        // IPv4 from 10.0.0.1 to 10.0.0.2, TCP with an empty header, 25 bytes of payload in segments of 10.
        let mut bytes = vec![0x45, 0, 0, 65, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        bytes.extend([0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0]);
        bytes.extend(0..25);
        let offload = Offload { gso: Some(Gso::Tcp { size: 10 }), checksum: Some((20, 16)) };
        let packets = HostFrame { bytes, offload }.into_packets().unwrap();
        assert_eq!(packets.iter().map(Vec::len).collect::<Vec<_>>(), [50, 50, 45]);
        assert_eq!(packets[2][40..], [20, 21, 22, 23, 24]);
        assert!(packets.iter().all(|packet| Headers::parse(packet).is_ok()));
        let broken = HostFrame { bytes: vec![0x45; 10], offload };
        assert!(broken.into_packets().is_err());
    }

    #[test]
    fn the_host_rings_the_worker() {
        let (mut adapter, host) = pair(4, 1420);
        let bell = Bell::new().unwrap();
        adapter.attach(&bell);
        let silent = Some(Duration::ZERO);
        assert!(crate::wait::wait(&bell, &crate::wait::Interest::default(), silent).unwrap().bell);
        host.send([0]);
        assert!(crate::wait::wait(&bell, &crate::wait::Interest::default(), silent).unwrap().bell);
    }
}
