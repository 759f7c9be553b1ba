//! The system's resolver, pointed at one of ours while a tunnel is up.
//!
//! [`SystemDns::apply`] makes the system ask our servers and [`Applied::revert`] takes that back; so does
//! [`SystemDns::recover`] after a predecessor that was killed. A change that somebody else made meanwhile is never
//! overwritten.

#[cfg_attr(target_os = "linux", path = "linux/mod.rs")]
#[cfg_attr(windows, path = "windows/mod.rs")]
#[cfg_attr(not(any(target_os = "linux", windows)), path = "unsupported.rs")]
mod imp;
pub mod memory;
#[cfg(any(windows, test))]
mod nrpt;

pub use imp::System;

use std::{fmt, io, net::IpAddr, path::PathBuf};

/// Where the system resolves names.
pub trait SystemDns: Send + Sync {
    /// Takes back what a killed predecessor has left; true when there was something.
    ///
    /// # Errors
    /// It could not be taken back.
    fn recover(&self) -> Result<bool, DnsError>;

    /// The servers that the system asks now, in its order.
    ///
    /// # Errors
    /// The system's settings cannot be read.
    fn servers(&self) -> Result<Vec<IpAddr>, DnsError>;

    /// Makes the system ask the servers of `config`.
    ///
    /// # Errors
    /// A privilege is missing. Nothing is changed then.
    fn apply(&self, config: &ResolverConfig) -> Result<Applied, DnsError>;
}

/// What the system's resolver shall ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolverConfig {
    /// The tunnel's interface: a system that keeps resolvers by link keeps these with it.
    pub interface: String,
    /// The servers, at port 53.
    pub servers: Vec<IpAddr>,
    /// Suffixes that these servers answer for. A system that can tells them apart and asks others for the rest; one that
    /// cannot asks these servers for everything.
    pub domains: Vec<String>,
    /// Suffixes tried for short names, before the system's own.
    pub search: Vec<String>,
}

/// What keeps the system's resolvers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// The file `/etc/resolv.conf`.
    File,
    /// systemd-resolved, by link.
    Resolved,
    /// Windows' name resolution policy table.
    Policy,
    /// The in-memory twin.
    Memory,
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "/etc/resolv.conf",
            Self::Resolved => "systemd-resolved",
            Self::Policy => "the name resolution policy table",
            Self::Memory => "memory",
        })
    }
}

/// Settings in force. Dropping it takes them back, as [`Self::revert`] does, but tells nobody how that went.
pub struct Applied {
    keeper: Keeper,
    undo: Option<Box<dyn Undo>>,
}

/// What an implementation keeps to change and take back its settings.
pub(crate) trait Undo: Send {
    fn change(&mut self, config: &ResolverConfig) -> Result<(), DnsError>;
    fn in_place(&self) -> bool;
    fn undo(&mut self) -> Result<(), DnsError>;
}

impl Applied {
    pub(crate) fn new(keeper: Keeper, undo: impl Undo + 'static) -> Self {
        Self { keeper, undo: Some(Box::new(undo)) }
    }

    /// What was changed.
    #[must_use]
    pub fn keeper(&self) -> Keeper {
        self.keeper
    }

    /// Moves to other settings.
    ///
    /// # Errors
    /// As for [`SystemDns::apply`]; the former settings stay then.
    pub fn change(&mut self, config: &ResolverConfig) -> Result<(), DnsError> {
        self.undo.as_mut().map_or(Ok(()), |undo| undo.change(config))
    }

    /// Whether the system still asks as it was told: false when somebody else has changed it since.
    #[must_use]
    pub fn in_place(&self) -> bool {
        self.undo.as_ref().is_some_and(|undo| undo.in_place())
    }

    /// Takes everything back, unless somebody else has changed it meanwhile.
    ///
    /// # Errors
    /// The system refused.
    pub fn revert(mut self) -> Result<(), DnsError> {
        self.undo.take().map_or(Ok(()), |mut undo| undo.undo())
    }
}

impl Drop for Applied {
    fn drop(&mut self) {
        if let Some(mut undo) = self.undo.take()
            && let Err(error) = undo.undo()
        {
            tracing::warn!(%error, "the system's resolvers were not taken back");
        }
    }
}

impl fmt::Debug for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Applied").field("keeper", &self.keeper).finish_non_exhaustive()
    }
}

/// Why the system's resolvers were not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DnsError {
    /// A file could not be read or written.
    #[error("cannot {action} {}: does this process have the rights of root?", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
    /// Somebody else has changed the system's resolvers since they were set.
    #[error("{} was changed by somebody else and is left as it is", path.display())]
    Displaced {
        /// The file.
        path: PathBuf,
    },
    /// systemd-resolved keeps `/etc/resolv.conf`, and did not do as it was asked.
    #[error("systemd-resolved did not {step}: {cause}")]
    Resolved {
        /// What it was asked.
        step: &'static str,
        /// Its answer.
        cause: String,
    },
    /// Windows' name resolution policy table was not read or written.
    #[error(
        "failed to {step} the name resolution policy table: does this process have the rights of an administrator?"
    )]
    Policy {
        /// What was being done.
        step: &'static str,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
    /// The tunnel's interface is gone.
    #[error("there is no interface {name:?}")]
    NoInterface {
        /// Asked for.
        name: String,
    },
    /// No implementation here.
    #[error(transparent)]
    Unsupported(#[from] crate::Unsupported),
}
