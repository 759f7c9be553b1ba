//! Ends that misbehave, for the worker's tests.
#![allow(clippy::unwrap_used)]

use crate::{
    adapter::{Adapter, ReadReport, WriteReport},
    socket::{ReceiveReport, SendReport, Socket},
    wait::{Bell, OsHandle, Waitable},
};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use vestibule_engine::packet::{Datagram, Datagrams, DeliveryQueue, Frame, Frames, Offload, TransmitQueue};

/// A socket with room for nothing while `full`, and without input.
pub(super) struct Narrow {
    pub(super) full: Arc<AtomicBool>,
    pub(super) sent: Arc<AtomicU64>,
    pub(super) bell: Arc<OnceLock<Bell>>,
}

impl Waitable for Narrow {
    fn handle(&self) -> Option<OsHandle<'_>> {
        None
    }

    fn attach(&mut self, bell: &Bell) {
        self.bell.set(bell.clone()).unwrap();
    }
}

impl Socket for Narrow {
    fn send(&mut self, queue: &mut TransmitQueue) -> io::Result<SendReport> {
        if self.full.load(Ordering::SeqCst) {
            return Ok(SendReport { blocked: true, ..SendReport::default() });
        }
        let sent = queue.batches().map(|batch| batch.datagrams() as u64).sum();
        self.sent.fetch_add(sent, Ordering::SeqCst);
        queue.release(usize::MAX);
        Ok(SendReport { sent, calls: 1, ..SendReport::default() })
    }

    fn receive(&mut self) -> io::Result<impl Datagrams + '_> {
        Ok(Nothing)
    }

    fn receive_report(&self) -> ReceiveReport {
        ReceiveReport { drained: true, ..ReceiveReport::default() }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([192, 0, 2, 2], 1)))
    }

    fn rebind_to(&mut self, _port: u16) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_mark(&mut self, _mark: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

struct Nothing;

impl Datagrams for Nothing {
    fn next_datagram(&mut self) -> Option<Datagram<'_>> {
        None
    }
}

/// An adapter that is gone.
pub(super) struct Gone;

impl Waitable for Gone {
    fn handle(&self) -> Option<OsHandle<'_>> {
        None
    }
}

impl Adapter for Gone {
    fn read(&mut self) -> io::Result<impl Frames + '_> {
        Err::<NoFrames, _>(io::Error::other("unplugged"))
    }

    fn read_report(&self) -> ReadReport {
        ReadReport::default()
    }

    fn write(&mut self, _deliveries: &DeliveryQueue) -> io::Result<WriteReport> {
        Ok(WriteReport::default())
    }

    fn mtu(&self) -> u32 {
        1420
    }

    fn cuts_udp(&self) -> bool {
        true
    }
}

struct NoFrames;

impl Frames for NoFrames {
    fn next_frame(&mut self) -> Option<Frame<'_>> {
        Some(Frame { bytes: &mut [], offload: Offload::default() })
    }
}
