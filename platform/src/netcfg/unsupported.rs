//! Systems whose network settings are not written yet.

use super::{Applied, Desired, NetConfig, NetConfigError};
use crate::Unsupported;
use std::{io, thread, time::Duration};

/// How often it is looked where the system does not tell.
const LOOK: Duration = Duration::from_secs(3);

pub(super) fn watch(mut changed: impl FnMut() -> bool + Send + 'static) -> io::Result<()> {
    let work = move || {
        while changed() {
            thread::sleep(LOOK);
        }
    };
    thread::Builder::new().name("network watch".to_owned()).spawn(work).map(drop)
}

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
