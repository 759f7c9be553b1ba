//! Systems whose desktop we do not know yet.

use super::DesktopError;
use std::{convert::Infallible, io, process::ExitStatus};

/// No value of this type exists.
#[derive(Debug)]
pub(super) struct Opener(Infallible);

impl Opener {
    pub(super) fn wait(self) -> io::Result<ExitStatus> {
        match self.0 {}
    }
}

pub(super) fn open_browser(_: &str, _: &str) -> Result<Opener, DesktopError> {
    Err(DesktopError::Unsupported)
}

pub(super) fn show_message(_: &str, _: &str, _: &str) -> Result<(), DesktopError> {
    Err(DesktopError::Unsupported)
}
