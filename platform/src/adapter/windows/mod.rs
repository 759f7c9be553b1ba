//! Wintun: an adapter whose driver shares two rings of packets with us.
//!
//! What is done about the driver's faults is in [`super::ring`]. Here are the library, the adapter's name and identity,
//! and the calls.

mod guid;
mod image;
mod interface;
mod library;
mod mtu;
mod session;
mod signature;
#[cfg(any(test, feature = "stand-in"))]
pub mod stand_in;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use library::LibraryError;

use super::{
    Adapter, AdapterError, ReadReport, TunConfig, WriteReport, check_name,
    ring::{RingAdapter, ring_capacity},
};
use crate::wait::{Bell, OsHandle, Waitable};
use library::Library;
use session::{Device, Session};
use std::{io, time::Instant};
use vestibule_engine::packet::{DeliveryQueue, Frames};
use windows_sys::Win32::Foundation::{ERROR_ALREADY_INITIALIZED, ERROR_NOT_FOUND};

/// What Windows shows as the adapter's kind.
const KIND: &str = "Vestibule";

/// The host's virtual adapter: Wintun. It vanishes from the host when dropped by the process that made it, and comes back
/// under the same identity, so that Windows takes it for the network it knows.
#[derive(Debug)]
pub struct Tun {
    rings: RingAdapter<Session>,
    name: String,
    luid: u64,
    _ipv6: Option<mtu::Awaited>,
}

impl Tun {
    /// Opens the adapter of this name, or makes it, and starts the session; `netcfg` gives it addresses.
    ///
    /// # Errors
    /// An unusable or taken name, no usable `wintun.dll`, no privilege, or another program that uses the adapter.
    pub fn open(config: &TunConfig) -> Result<Self, AdapterError> {
        check_name(&config.name)?;
        Self::open_by(Library::load()?, config, ring_capacity())
    }

    fn open_by(library: Library, config: &TunConfig, capacity: u32) -> Result<Self, AdapterError> {
        let name = config.name.as_str();
        let failed = |step| move |cause| AdapterError::Create { name: name.to_owned(), step, cause };
        let (device, made) = find_or_make(&library, name)?;
        let luid = device.luid();
        let ipv6 =
            if library.is_stand_in() { None } else { mtu::set(luid, config.mtu).map_err(failed("set the MTU of"))? };
        let session = Session::start(device, capacity).map_err(|cause| match cause.raw_os_error() {
            Some(code) if code.cast_unsigned() == ERROR_ALREADY_INITIALIZED => {
                AdapterError::Busy { name: name.to_owned() }
            }
            _ => failed("start the session of")(cause),
        })?;
        let version = library.driver_version().map(|(major, minor)| format!("{major}.{minor}"));
        tracing::debug!(name, made, mtu = config.mtu, capacity, driver = version, "adapter opened");
        Ok(Self { rings: RingAdapter::new(session, config.mtu), name: name.to_owned(), luid, _ipv6: ipv6 })
    }

    /// Its name on the host.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number by which IP Helper knows it (`NET_LUID`).
    #[must_use]
    pub fn luid(&self) -> u64 {
        self.luid
    }
}

/// The adapter of this name, if it is ours, or a new one; true of a new one.
fn find_or_make(library: &Library, name: &str) -> Result<(Device, bool), AdapterError> {
    let failed = |step| move |cause| AdapterError::Create { name: name.to_owned(), step, cause };
    let guid = guid::of_name(name);
    match Device::open(library, name) {
        // One of ours: by this name and another identity it is somebody else's.
        Ok(device) if device.guid().is_none_or(|found| found == guid) => return Ok((device, false)),
        Ok(_) => return Err(AdapterError::Taken { name: name.to_owned() }),
        Err(error) if error.raw_os_error().is_some_and(|code| code.cast_unsigned() == ERROR_NOT_FOUND) => {}
        Err(error) => {
            // "Not found" has several numbers by version of Windows; what is really wrong, making one tells.
            tracing::debug!(name, %error, "no adapter to open");
        }
    }
    // Wintun would rename an interface that is in the way.
    if interface::guid_of_alias(name).is_some_and(|found| found != guid) {
        return Err(AdapterError::Taken { name: name.to_owned() });
    }
    let device = Device::create(library, name, KIND, guid).map_err(failed("make"))?;
    Ok((device, true))
}

impl Waitable for Tun {
    fn handle(&self) -> Option<OsHandle<'_>> {
        self.rings.handle()
    }

    fn attach(&mut self, bell: &Bell) {
        self.rings.attach(bell);
    }
}

impl Adapter for Tun {
    fn read(&mut self) -> io::Result<impl Frames + '_> {
        self.rings.read()
    }

    fn read_report(&self) -> ReadReport {
        self.rings.read_report()
    }

    fn write(&mut self, deliveries: &DeliveryQueue) -> io::Result<WriteReport> {
        self.rings.write(deliveries)
    }

    fn mtu(&self) -> u32 {
        self.rings.mtu()
    }

    fn cuts_udp(&self) -> bool {
        self.rings.cuts_udp()
    }

    fn nudge_at(&self) -> Option<Instant> {
        self.rings.nudge_at()
    }

    fn nudge(&mut self) -> io::Result<()> {
        self.rings.nudge()
    }
}
