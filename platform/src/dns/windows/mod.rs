//! Windows: rules of the name resolution policy table, and suffixes at the tunnel's interface.

mod client;
mod registry;

use super::{Applied, DnsError, Keeper, ResolverConfig, SystemDns, Undo, nrpt};
use crate::netcfg::{Adapter, adapters, guid};
use nrpt::Touched;
use registry::LocalMachine;
use std::{
    io,
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
};

/// What the system says of an interface that has no servers: addresses that nobody has.
const NOBODY: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0xffff, 0, 0, 0, 0);

/// The system's resolvers.
#[derive(Clone, Debug, Default)]
pub struct System {
    registry: LocalMachine,
}

impl System {
    /// The system's. Nothing has to be kept in `state`: rules of ours are known by their names.
    #[must_use]
    pub fn new(_state: impl Into<PathBuf>) -> Self {
        Self::default()
    }
}

impl SystemDns for System {
    fn recover(&self) -> Result<bool, DnsError> {
        let cleared = nrpt::clear(&self.registry).map_err(refused("clear"))?;
        if cleared.any() {
            client::refresh(cleared);
        }
        Ok(cleared.any())
    }

    fn servers(&self) -> Result<Vec<IpAddr>, DnsError> {
        let adapters = adapters().map_err(|cause| DnsError::Policy { step: "list the servers of", cause })?;
        Ok(asked(adapters))
    }

    fn apply(&self, config: &ResolverConfig) -> Result<Applied, DnsError> {
        let mut table = Table { registry: self.registry.clone(), config: ResolverConfig::default() };
        if let Err(error) = table.change(config) {
            // It may have the half of it.
            let _ = nrpt::clear(&table.registry);
            return Err(error);
        }
        Ok(Applied::new(Keeper::Policy, table))
    }
}

/// The servers of all interfaces that are up, in the order in which the system asks.
fn asked(mut adapters: Vec<Adapter>) -> Vec<IpAddr> {
    adapters.retain(Adapter::is_up);
    adapters.sort_by_key(Adapter::metric);
    let mut all = Vec::new();
    for server in adapters.into_iter().flat_map(|adapter| adapter.servers) {
        let nobody = matches!(server, IpAddr::V6(v6) if v6.segments()[..4] == NOBODY.segments()[..4]);
        if !nobody && !all.contains(&server) {
            all.push(server);
        }
    }
    all
}

/// The rules in force.
#[derive(Debug)]
struct Table {
    registry: LocalMachine,
    config: ResolverConfig,
}

impl Undo for Table {
    fn change(&mut self, config: &ResolverConfig) -> Result<(), DnsError> {
        let touched = match nrpt::apply(&self.registry, config) {
            Ok(touched) => touched,
            Err(error) => {
                // The former rules are whole again, or there are none.
                let _ = nrpt::apply(&self.registry, &self.config);
                return Err(refused("write")(error));
            }
        };
        suffixes(&config.interface, &config.search);
        client::refresh(touched);
        self.config = config.clone();
        Ok(())
    }

    fn in_place(&self) -> bool {
        nrpt::in_place(&self.registry, &self.config).unwrap_or(false)
    }

    fn undo(&mut self) -> Result<(), DnsError> {
        suffixes(&self.config.interface, &[]);
        let cleared = nrpt::clear(&self.registry);
        // What was not told may have been half of it.
        client::refresh(*cleared.as_ref().unwrap_or(&Touched { local: true, policy: true }));
        cleared.map(drop).map_err(refused("clear"))
    }
}

/// Suffixes for short names, where the interface and the function for it are there: full names do without.
fn suffixes(interface: &str, suffixes: &[String]) {
    let found = adapters().unwrap_or_default().into_iter().find(|adapter| adapter.name() == interface);
    let Some(guid) = found.and_then(|adapter| guid(&adapter.guid)) else { return };
    if let Err(error) = client::set_suffixes(guid, suffixes) {
        tracing::debug!(%error, interface, "the interface's search suffixes were not set");
    }
}

fn refused(step: &'static str) -> impl FnOnce(io::Error) -> DnsError {
    move |cause| DnsError::Policy { step, cause }
}

#[cfg(test)]
mod tests;
