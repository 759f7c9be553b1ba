//! Systems whose firewall is not spoken to yet.

use super::{Allowed, Lockdown, LockdownError};
use crate::Unsupported;

const UNSUPPORTED: Unsupported = Unsupported { what: "a lockdown" };

/// The host's firewall.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Lockdown for System {
    fn engage(&self, _allowed: &Allowed) -> Result<(), LockdownError> {
        Err(UNSUPPORTED.into())
    }

    /// Nothing was ever closed.
    fn is_engaged(&self) -> Result<bool, LockdownError> {
        Ok(false)
    }

    /// Nothing was ever closed.
    fn lift(&self) -> Result<bool, LockdownError> {
        Ok(false)
    }
}
