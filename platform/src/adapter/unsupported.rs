//! Systems whose adapter is not written yet: opening one says so.

use super::{Adapter, AdapterError, ReadReport, TunConfig, WriteReport};
use crate::{
    Unsupported,
    wait::{OsHandle, Waitable},
};
use std::{convert::Infallible, io};
use vestibule_engine::packet::{DeliveryQueue, Frame, Frames};

/// The host's virtual adapter. There is none on this system yet, so no value of this type exists.
#[derive(Debug)]
pub struct Tun(Infallible);

impl Tun {
    /// Makes the adapter.
    ///
    /// # Errors
    /// Always [`AdapterError::Unsupported`] on this system.
    pub fn open(_config: &TunConfig) -> Result<Self, AdapterError> {
        Err(Unsupported { what: "the virtual network adapter" }.into())
    }

    /// Its name on the host.
    #[must_use]
    pub fn name(&self) -> &str {
        match self.0 {}
    }
}

impl Waitable for Tun {
    fn handle(&self) -> Option<OsHandle<'_>> {
        match self.0 {}
    }
}

impl Adapter for Tun {
    fn read(&mut self) -> io::Result<impl Frames + '_> {
        Ok(Nothing(&self.0))
    }

    fn read_report(&self) -> ReadReport {
        match self.0 {}
    }

    fn write(&mut self, _deliveries: &DeliveryQueue) -> io::Result<WriteReport> {
        match self.0 {}
    }

    fn mtu(&self) -> u32 {
        match self.0 {}
    }

    fn cuts_udp(&self) -> bool {
        match self.0 {}
    }
}

struct Nothing<'a>(&'a Infallible);

impl Frames for Nothing<'_> {
    fn next_frame(&mut self) -> Option<Frame<'_>> {
        match *self.0 {}
    }
}
