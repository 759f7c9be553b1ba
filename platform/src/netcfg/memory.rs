//! The twin: remembers what was asked of it.

use super::{Applied, Desired, NetConfig, NetConfigError, Undo};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A host without a network. Clones are the same host.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    current: Option<Desired>,
    history: Vec<Desired>,
}

impl Recorder {
    /// A host on which nothing is set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is in force now.
    #[must_use]
    pub fn current(&self) -> Option<Desired> {
        self.record().current.clone()
    }

    /// Everything that was ever applied, in order.
    #[must_use]
    pub fn history(&self) -> Vec<Desired> {
        self.record().history.clone()
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, desired: &Desired) {
        let mut record = self.record();
        record.current = Some(desired.clone());
        record.history.push(desired.clone());
    }
}

impl NetConfig for Recorder {
    fn apply(&self, desired: &Desired) -> Result<Applied, NetConfigError> {
        self.set(desired);
        Ok(Applied::new(self.clone()))
    }
}

impl Undo for Recorder {
    fn change(&mut self, desired: &Desired) -> Result<(), NetConfigError> {
        self.set(desired);
        Ok(())
    }

    fn undo(&mut self) -> Result<(), NetConfigError> {
        self.record().current = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::netcfg::Routing;

    fn desired(route: &str) -> Desired {
        Desired {
            interface: "vestibule0".to_owned(),
            addresses: vec!["100.96.0.2/32".parse().unwrap()],
            routes: vec![route.parse().unwrap()],
            routing: Routing::Main,
            forwarding: false,
        }
    }

    #[test]
    fn it_knows_what_is_in_force_and_what_was() {
        let host = Recorder::new();
        let mut applied = host.apply(&desired("10.0.0.0/8")).unwrap();
        applied.change(&desired("10.1.0.0/16")).unwrap();
        assert_eq!(host.current(), Some(desired("10.1.0.0/16")));
        applied.revert().unwrap();
        assert_eq!(host.current(), None);
        assert_eq!(host.history(), [desired("10.0.0.0/8"), desired("10.1.0.0/16")]);
    }

    #[test]
    fn dropping_takes_back() {
        let host = Recorder::new();
        drop(host.apply(&desired("10.0.0.0/8")).unwrap());
        assert_eq!(host.current(), None);
    }
}
