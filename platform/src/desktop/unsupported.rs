//! Systems whose desktop we do not know yet.

use super::DesktopError;
use std::process::Child;

pub(super) fn open_browser(_: &str, _: &str) -> Result<Child, DesktopError> {
    Err(DesktopError::Unsupported)
}
