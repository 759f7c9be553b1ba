//! The twin: a system whose resolvers are a list in memory.

use super::{Applied, DnsError, Keeper, ResolverConfig, SystemDns, Undo};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A system's resolvers. Clones are the same system.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    servers: Vec<IpAddr>,
    current: Option<ResolverConfig>,
    history: Vec<ResolverConfig>,
}

impl Recorder {
    /// A system that asks `servers`.
    #[must_use]
    pub fn new(servers: Vec<IpAddr>) -> Self {
        Self(Arc::new(Mutex::new(Record { servers, ..Record::default() })))
    }

    /// What is in force now.
    #[must_use]
    pub fn current(&self) -> Option<ResolverConfig> {
        self.record().current.clone()
    }

    /// Everything that was ever applied, in order.
    #[must_use]
    pub fn history(&self) -> Vec<ResolverConfig> {
        self.record().history.clone()
    }

    fn set(&self, config: &ResolverConfig) {
        let mut record = self.record();
        record.current = Some(config.clone());
        record.history.push(config.clone());
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SystemDns for Recorder {
    fn recover(&self) -> Result<bool, DnsError> {
        Ok(self.record().current.take().is_some())
    }

    fn servers(&self) -> Result<Vec<IpAddr>, DnsError> {
        Ok(self.record().servers.clone())
    }

    fn apply(&self, config: &ResolverConfig) -> Result<Applied, DnsError> {
        self.set(config);
        Ok(Applied::new(Keeper::Memory, self.clone()))
    }
}

impl Undo for Recorder {
    fn change(&mut self, config: &ResolverConfig) -> Result<(), DnsError> {
        self.set(config);
        Ok(())
    }

    fn in_place(&self) -> bool {
        self.record().current.is_some()
    }

    fn undo(&mut self) -> Result<(), DnsError> {
        self.record().current = None;
        Ok(())
    }
}
