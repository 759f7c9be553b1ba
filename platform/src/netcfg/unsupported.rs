//! Systems whose network settings are not written yet.

use super::{Applied, Desired, NetConfig, NetConfigError};
use crate::Unsupported;

pub(super) fn interface_index(_name: &str) -> Option<u32> {
    None
}

/// The host's network.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl NetConfig for System {
    fn apply(&self, _desired: &Desired) -> Result<Applied, NetConfigError> {
        Err(Unsupported { what: "setting up the host's network" }.into())
    }
}
