//! Systems whose clock is not written yet.

use crate::Unsupported;
use std::{io, time::Duration};

pub(super) fn since_boot() -> io::Result<Duration> {
    Err(Unsupported { what: "a clock that counts sleep" }.into())
}

pub(super) fn entropy(_bytes: &mut [u8]) -> io::Result<()> {
    Err(Unsupported { what: "the system's entropy" }.into())
}

pub(super) fn boot_id() -> io::Result<String> {
    Err(Unsupported { what: "naming this start of the system" }.into())
}
