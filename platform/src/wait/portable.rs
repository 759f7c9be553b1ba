//! Waiting without handles, for ends that ring the bell: a flag and a condition variable.

use super::{Interest, Ready};
use crate::Unsupported;
use std::{
    io,
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

#[derive(Debug)]
pub(super) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    // The signature is shared with systems where making a bell can fail.
    #[allow(clippy::unnecessary_wraps)]
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { rung: Mutex::new(false), changed: Condvar::new() })
    }

    pub(super) fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    pub(super) fn wait(&self, interest: &Interest<'_>, timeout: Option<Duration>) -> io::Result<Ready> {
        if interest.adapter.is_some() || interest.socket.is_some() {
            return Err(Unsupported { what: "waiting for a handle" }.into());
        }
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rung = match timeout {
            None => self.changed.wait_while(rung, |rung| !*rung).unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => {
                self.changed.wait_timeout_while(rung, timeout, |rung| !*rung).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        Ok(Ready { bell: std::mem::take(&mut *rung), ..Ready::default() })
    }
}
