//! Systems whose resolver settings are not written yet.

use super::{Applied, DnsError, ResolverConfig, SystemDns};
use crate::Unsupported;
use std::{net::IpAddr, path::PathBuf};

const UNSUPPORTED: Unsupported = Unsupported { what: "setting the system's resolvers" };

/// The system's resolvers.
#[derive(Clone, Debug)]
pub struct System;

impl System {
    /// Settings that would be kept in `state`.
    #[must_use]
    pub fn new(_state: impl Into<PathBuf>) -> Self {
        Self
    }
}

impl SystemDns for System {
    /// Nothing was ever set.
    fn recover(&self) -> Result<bool, DnsError> {
        Ok(false)
    }

    fn servers(&self) -> Result<Vec<IpAddr>, DnsError> {
        Err(UNSUPPORTED.into())
    }

    fn apply(&self, _config: &ResolverConfig) -> Result<Applied, DnsError> {
        Err(UNSUPPORTED.into())
    }
}
