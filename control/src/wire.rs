//! IP packets between a TCP stack of this process (smoltcp) and the host's side of a memory adapter.

use crossbeam_channel::Receiver;
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use std::collections::VecDeque;
use vestibule_platform::adapter::memory::{HostFrame, MemoryHost};

/// The memory adapter's host side as the stack's link.
pub(crate) struct Wire {
    host: MemoryHost,
    mtu: usize,
    arrived: VecDeque<Vec<u8>>,
}

impl Wire {
    pub(crate) fn new(host: MemoryHost, mtu: usize) -> Self {
        Self { host, mtu, arrived: VecDeque::new() }
    }

    /// Where frames come from.
    pub(crate) fn frames(&self) -> Receiver<HostFrame> {
        self.host.frames()
    }

    /// What a frame is made of; one that fits nobody's rules is dropped, as a kernel drops it.
    pub(crate) fn take(&mut self, frame: HostFrame) {
        self.arrived.extend(frame.into_packets().unwrap_or_default());
    }
}

impl Device for Wire {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let packet = self.arrived.pop_front()?;
        Some((Arrived(packet), Leaving(&self.host)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Self::TxToken<'_>> {
        Some(Leaving(&self.host))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

pub(crate) struct Arrived(Vec<u8>);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

pub(crate) struct Leaving<'a>(&'a MemoryHost);

impl TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        // A full queue loses it, and TCP sends it again.
        let _ = self.0.send(packet);
        result
    }
}
