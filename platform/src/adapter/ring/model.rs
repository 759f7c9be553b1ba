//! The rings' model as an adapter's, with the host at hand. The driver's thread always sleeps until it is woken, so that
//! nothing here depends on time.

use super::{Refused, Rings};
use crate::wait::{Bell, OsHandle};
use std::{
    io,
    sync::{Arc, OnceLock},
};
use vestibule_ring::{Device, Lost, Session, Slot};

/// Both sides of an adapter with rings of `capacity` bytes.
pub(crate) fn device(capacity: u32) -> (ModelRings, Host) {
    let device = Arc::<Device>::default();
    let bell = Arc::new(OnceLock::new());
    let session = device.start(capacity).ok();
    assert!(!device.fall_asleep() || session.is_some());
    let rings = ModelRings {
        device: device.clone(),
        session,
        capacity,
        slot: None,
        bytes: Vec::new(),
        bell: bell.clone(),
        refuse_restart: false,
        strange: None,
    };
    (rings, Host { device, bell })
}

/// The program's side. What it lends is a copy: no reference into shared memory is needed to see that the adapter does
/// right.
#[derive(Debug)]
pub(crate) struct ModelRings {
    device: Arc<Device>,
    session: Option<Arc<Session>>,
    capacity: u32,
    slot: Option<Slot>,
    bytes: Vec<u8>,
    bell: Arc<OnceLock<Bell>>,
    pub(super) refuse_restart: bool,
    /// What the next call fails with.
    pub(super) strange: Option<io::Error>,
}

impl ModelRings {
    fn session(&mut self) -> Result<Arc<Session>, Refused> {
        self.strange.take().map_or(Ok(()), |error| Err(Refused::Other(error)))?;
        self.session.clone().ok_or(Refused::Ended)
    }
}

fn refused(refused: vestibule_ring::Refused) -> Refused {
    match refused {
        vestibule_ring::Refused::Empty => Refused::Empty,
        vestibule_ring::Refused::Full => Refused::Full,
        vestibule_ring::Refused::Ended => Refused::Ended,
        vestibule_ring::Refused::Corrupt => Refused::Corrupt,
    }
}

impl Rings for ModelRings {
    fn receive(&mut self) -> Result<(), Refused> {
        let session = self.session()?;
        let slot = self.device.receive(&session).map_err(refused)?;
        self.bytes = session.outbound.ring().read(&slot);
        self.slot = Some(slot);
        Ok(())
    }

    fn received(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn release(&mut self) -> Result<(), Refused> {
        self.bytes.clear();
        if let (Some(slot), Some(session)) = (self.slot.take(), &self.session) {
            if !session.outbound.ring().is_intact(&slot) {
                return Err(Refused::Corrupt);
            }
            session.outbound.release(slot);
        }
        Ok(())
    }

    fn send(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) -> Result<(), Refused> {
        let session = self.session()?;
        let slot = self.device.allocate(&session, len as u32).map_err(refused)?;
        let mut bytes = vec![0xaa; len];
        fill(&mut bytes);
        session.inbound.ring().write(&slot, &bytes);
        if self.device.send(&session, slot) {
            self.device.wake_up();
            self.device.pump();
            let _ = self.device.fall_asleep();
        }
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.slot = None;
        self.session = None;
        self.device.end();
        if self.refuse_restart {
            return Err(io::Error::other("no session"));
        }
        self.session = Some(self.device.start(self.capacity).map_err(io::Error::other)?);
        let _ = self.device.fall_asleep();
        Ok(())
    }

    fn event(&self) -> Option<OsHandle<'_>> {
        None
    }

    fn attach(&mut self, bell: &Bell) {
        let _ = self.bell.set(bell.clone());
        bell.ring();
    }
}

/// The host's side.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) device: Arc<Device>,
    bell: Arc<OnceLock<Bell>>,
}

impl Host {
    pub(crate) fn send(&self, chain: &[&[u8]]) -> Result<(), Lost> {
        let outcome = self.device.host_send(chain);
        self.ring();
        outcome
    }

    /// What the reader's event does.
    pub(crate) fn ring(&self) {
        if let Some(bell) = self.bell.get() {
            bell.ring();
        }
    }

    /// All that the adapter brought, but for nudges.
    pub(crate) fn take(&self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.device.host_take()).filter(|packet| *packet != super::NUDGE).collect()
    }
}
