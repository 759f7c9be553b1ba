//! Our side of the tunnel: an interface with addresses and routes, or proxies.

use super::Told;
use crate::masque::front::{Dialer, Fronts};
use crate::masque::host::HostError;
use crate::masque::options::MasqueError;
use crate::masque::report::Reporter;
use crate::masque::routes;
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::IpAddr;
use vestibule_engine::masque::capsule::Routes;
use vestibule_platform::netcfg::{Applied, Desired, NetConfig as _, NetConfigError, System};

/// Most routes set on the host.
const MAX_ROUTES: usize = 1024;

/// Where packets come from.
pub(super) enum Side {
    /// The host, through an interface: what it is to be, and is.
    Host { interface: String, desired: Option<Desired>, applied: Option<Applied> },
    /// Proxies' clients.
    Proxies { dialer: Dialer, fronts: Fronts, addresses: Vec<IpNet> },
}

/// Our side of the tunnel.
pub(super) struct Network {
    pub(super) mtu: u32,
    pub(super) peers: Vec<IpAddr>,
    pub(super) fixed: Vec<IpNet>,
    pub(super) wanted: BTreeSet<IpNet>,
    pub(super) assigned: Vec<IpNet>,
    pub(super) advertised: BTreeSet<IpNet>,
    pub(super) side: Side,
}

impl Network {
    pub(super) fn advertise(&mut self, routes: &Routes, report: Reporter) -> Result<(), MasqueError> {
        let prefixes = routes::prefixes(routes);
        report.tell(&Told::Routes { routes: &prefixes.iter().copied().collect::<Vec<_>>() });
        if matches!(self.side, Side::Host { .. }) && self.wanted.is_empty() && prefixes.len() > MAX_ROUTES {
            return Err(MasqueError::TooManyRoutes { got: prefixes.len(), most: MAX_ROUTES });
        }
        self.advertised = prefixes;
        Ok(())
    }

    /// Takes everything back.
    pub(super) fn revert(&mut self) -> Result<(), NetConfigError> {
        match &mut self.side {
            Side::Host { applied, .. } => applied.take().map_or(Ok(()), Applied::revert),
            Side::Proxies { .. } => Ok(()),
        }
    }

    /// Brings our side to where it is to be.
    pub(super) fn apply(&mut self, report: Reporter) -> Result<(), HostError> {
        let addresses: Vec<_> = self.fixed.iter().chain(&self.assigned).copied().collect();
        // Without addresses there is nothing to route; those there were stay until others come.
        if addresses.is_empty() {
            return Ok(());
        }
        let routes = if self.wanted.is_empty() { &self.advertised } else { &self.wanted };
        let (interface, former, applied) = match &mut self.side {
            Side::Host { interface, desired, applied } => (interface, desired, applied),
            Side::Proxies { addresses: former, .. } if *former == addresses => return Ok(()),
            Side::Proxies { dialer, fronts, addresses: former } => {
                former.clone_from(&addresses);
                let own: Vec<_> = addresses.into_iter().map(routes::host_of).collect();
                dialer.set_addresses(own.clone());
                report.tell(&Told::Proxies { addresses: &own, socks: fronts.socks, http: fronts.http });
                return Ok(());
            }
        };
        let desired = routes::desired(interface, &addresses, routes.clone(), &self.peers);
        if former.as_ref() == Some(&desired) {
            return Ok(());
        }
        match applied {
            Some(applied) => applied.change(&desired)?,
            none => {
                // Rules may be left by one of this interface's name that was killed.
                let applied = none.insert(System.apply(&routes::no_routes(&desired, &self.peers))?);
                applied.change(&desired)?;
            }
        }
        report.tell(&Told::Up { interface, addresses: &desired.addresses, routes: &desired.routes });
        *former = Some(desired);
        Ok(())
    }
}
