//! The twin: remembers what was asked of it.

use super::{Allowed, Lockdown, LockdownError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A host's firewall that closes nothing. Clones are the same host, which outlives whoever has engaged it.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Option<Allowed>>>);

impl Recorder {
    /// What passes now; `None` without a lockdown.
    #[must_use]
    pub fn current(&self) -> Option<Allowed> {
        self.held().clone()
    }

    fn held(&self) -> MutexGuard<'_, Option<Allowed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lockdown for Recorder {
    fn engage(&self, allowed: &Allowed) -> Result<(), LockdownError> {
        *self.held() = Some(allowed.clone());
        Ok(())
    }

    fn is_engaged(&self) -> Result<bool, LockdownError> {
        Ok(self.held().is_some())
    }

    fn lift(&self) -> Result<bool, LockdownError> {
        Ok(self.held().take().is_some())
    }
}
