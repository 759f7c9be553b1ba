//! Lockdown: the host's firewall lets nothing through but the tunnel, and what the tunnel itself needs.
//!
//! It fails closed. The filters belong to nobody's life: they stand when the daemon is killed and when the machine starts
//! again, until [`Lockdown::lift`] takes them away, which an administrator can do without the daemon
//! (`vestibule lockdown lift`).

#[cfg(any(windows, test))]
mod filters;
#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(windows), path = "unsupported.rs")]
mod imp;
pub mod memory;

pub use imp::System;

use ipnet::IpNet;
use std::{io, path::PathBuf};

/// Closes the host's network, and opens it again.
pub trait Lockdown: Send + Sync {
    /// Lets nothing through but `allowed`, in one step from whatever is in force.
    ///
    /// # Errors
    /// A privilege is missing, or the firewall is switched off. What was in force stays so.
    fn engage(&self, allowed: &Allowed) -> Result<(), LockdownError>;

    /// Whether it is in force, whoever has ordered it.
    ///
    /// # Errors
    /// The firewall cannot be asked.
    fn is_engaged(&self) -> Result<bool, LockdownError>;

    /// Opens the network again; true when it was closed.
    ///
    /// # Errors
    /// A privilege is missing. The lockdown stays then.
    fn lift(&self) -> Result<bool, LockdownError>;
}

/// What passes, besides the loopback and what a host needs to be on its network at all (DHCP, neighbour discovery).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// The tunnel's interface; everything through it passes.
    pub interface: Option<String>,
    /// The daemon's executable: it reaches its gateway wherever that is.
    pub program: Option<PathBuf>,
    /// The gateway's addresses, for everybody: a sign-in's page is there.
    pub gateways: Vec<IpNet>,
    /// The system's own resolver may ask its servers: the gateway's name is known by it.
    pub names: bool,
}

/// Why the host's network was neither closed nor opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockdownError {
    /// The firewall refused.
    #[error(
        "failed to {step}: does this process have the rights of an administrator, and is the firewall's service on?"
    )]
    Firewall {
        /// What was being done.
        step: &'static str,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
    /// The tunnel's interface does not exist.
    #[error("there is no interface {name:?}: open the adapter first")]
    NoInterface {
        /// Asked for.
        name: String,
    },
    /// No implementation here.
    #[error(transparent)]
    Unsupported(#[from] crate::Unsupported),
}
