//! In builds for tests: the system does not know an adapter of the stand-in `wintun.dll`, so what is wanted of one is kept
//! in memory. Everything else is the system's.

use super::{Applied, Desired, NetConfig, NetConfigError, imp, memory::Recorder};
use crate::adapter::stand_in::Host;

/// The host's network, and that of the stand-in's adapters.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl NetConfig for System {
    fn apply(&self, desired: &Desired) -> Result<Applied, NetConfigError> {
        if Host::of(&desired.interface).is_some_and(|host| host.exists()) {
            return Recorder::new().apply(desired);
        }
        imp::System.apply(desired)
    }
}
