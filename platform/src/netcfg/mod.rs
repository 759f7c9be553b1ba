//! The host's network settings: addresses, routes, and the rules that keep the tunnel's own packets out of it.
//!
//! [`NetConfig::apply`] brings the host from whatever it finds, also from what a killed predecessor left, to what is
//! desired; [`Applied::revert`] takes it all back. What is there already stays untouched, so applying twice disturbs
//! nothing.

#[cfg_attr(target_os = "linux", path = "linux/mod.rs")]
#[cfg_attr(windows, path = "windows/mod.rs")]
#[cfg_attr(not(any(target_os = "linux", windows)), path = "unsupported.rs")]
mod imp;
pub mod memory;
#[cfg(any(windows, test))]
mod routes;
#[cfg(all(windows, feature = "stand-in"))]
mod stand_in;
mod watch;

#[cfg(not(all(windows, feature = "stand-in")))]
pub use imp::System;
#[cfg(windows)]
pub(crate) use imp::{
    changes, interface_around_tunnels, interface_luid,
    sys::{Adapter, adapters, change_interface, guid},
    wakes, woke,
};
#[cfg(all(windows, feature = "stand-in"))]
pub use stand_in::System;
pub use watch::{source_towards, watch};

/// The number of the network interface called `name`, in the network namespace of the calling thread. `None` when there is
/// none, or no way to ask.
#[must_use]
pub fn interface_index(name: &str) -> Option<u32> {
    imp::interface_index(name)
}

#[cfg(all(test, target_os = "linux"))]
pub(crate) use imp::testing as linux_testing;

use ipnet::IpNet;
use std::{fmt, io};

/// What changing the network takes.
const RIGHTS: &str = if cfg!(windows) { "the rights of an administrator" } else { "CAP_NET_ADMIN" };

/// Sets up the host's network.
pub trait NetConfig: Send + Sync {
    /// Makes the host as `desired`. The interface exists already.
    ///
    /// # Errors
    /// The interface is missing, or a privilege. What was done until then is taken back.
    fn apply(&self, desired: &Desired) -> Result<Applied, NetConfigError>;
}

/// What the host's network shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The tunnel's interface. It is set up; its other addresses are removed.
    pub interface: String,
    /// Our addresses inside the tunnel, with the length of their network.
    pub addresses: Vec<IpNet>,
    /// Destinations reached through the tunnel.
    pub routes: Vec<IpNet>,
    /// How these routes are found.
    pub routing: Routing,
    /// The host shall forward packets between its interfaces (a gateway).
    pub forwarding: bool,
}

/// Which packets look at the tunnel's routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routing {
    /// All: the routes stand in the main table (a gateway).
    Main,
    /// All that do not carry the tunnel's mark (a device): an own table, and rules before the main table's.
    Policy(PolicyRouting),
}

/// Names of a device's own routing table and rules. Everything in them is ours, also after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRouting {
    /// The routing table.
    pub table: u32,
    /// What the tunnel's own packets carry (`UdpConfig::mark`).
    pub mark: u32,
    /// The first of three successive priorities of rules, below 32,764.
    pub priority: u32,
    /// Destinations that never go through the tunnel, whoever sends: the gateway's own address. With it the host's
    /// reverse-path filter accepts the tunnel's packets too.
    pub bypass: Vec<IpNet>,
}

impl Default for PolicyRouting {
    fn default() -> Self {
        Self { table: 22_082, mark: 0x5642, priority: 22_082, bypass: Vec::new() }
    }
}

/// Settings in force. Dropping it takes them back, as [`Self::revert`] does, but tells nobody how that went.
pub struct Applied(Option<Box<dyn Undo>>);

/// What an implementation keeps to change and take back its settings.
pub(crate) trait Undo: Send {
    fn change(&mut self, desired: &Desired) -> Result<(), NetConfigError>;
    fn undo(&mut self) -> Result<(), NetConfigError>;
}

impl Applied {
    pub(crate) fn new(undo: impl Undo + 'static) -> Self {
        Self(Some(Box::new(undo)))
    }

    /// Moves to other settings for the same interface; what both have in common is not disturbed.
    ///
    /// # Errors
    /// As for [`NetConfig::apply`]; the host may then have parts of both.
    pub fn change(&mut self, desired: &Desired) -> Result<(), NetConfigError> {
        self.0.as_mut().map_or(Ok(()), |undo| undo.change(desired))
    }

    /// Takes everything back. An interface that is gone already is no error.
    ///
    /// # Errors
    /// Something could not be removed.
    pub fn revert(mut self) -> Result<(), NetConfigError> {
        self.0.take().map_or(Ok(()), |mut undo| undo.undo())
    }
}

impl Drop for Applied {
    fn drop(&mut self) {
        if let Some(mut undo) = self.0.take()
            && let Err(error) = undo.undo()
        {
            tracing::warn!(%error, "network settings were not taken back");
        }
    }
}

impl fmt::Debug for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Applied")
    }
}

/// Why the host's network was not set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetConfigError {
    /// The interface does not exist.
    #[error("there is no interface {name:?}: open the adapter first")]
    NoInterface {
        /// Asked for.
        name: String,
    },
    /// A setting was refused.
    #[error("failed to {step}: does this process have {rights} here, and is nothing of others in its place?", rights = RIGHTS)]
    Step {
        /// What was being done.
        step: String,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
    /// No implementation here.
    #[error(transparent)]
    Unsupported(#[from] crate::Unsupported),
}
