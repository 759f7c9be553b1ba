//! Linux: systemd-resolved where it keeps `/etc/resolv.conf`, else that file itself.

mod file;
mod former;
mod resolved;
mod text;

use super::{Applied, DnsError, Keeper, ResolverConfig, SystemDns, Undo};
use file::Held;
use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

/// What the C library and most programs read.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The system's resolvers.
#[derive(Clone, Debug)]
pub struct System {
    state: PathBuf,
    path: PathBuf,
    bus: resolved::Bus,
}

impl System {
    /// The system's. What has to outlive a crash is kept in the directory `state`.
    #[must_use]
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self::at(RESOLV_CONF, state)
    }

    /// With another file in the place of `/etc/resolv.conf`.
    pub(crate) fn at(path: impl Into<PathBuf>, state: impl Into<PathBuf>) -> Self {
        Self { state: state.into(), path: path.into(), bus: resolved::Bus::default() }
    }

    fn held(&self) -> Held {
        Held::new(&self.path, &self.state)
    }
}

impl SystemDns for System {
    fn recover(&self) -> Result<bool, DnsError> {
        // systemd-resolved forgets a link's servers with the link.
        self.held().restore()
    }

    fn servers(&self) -> Result<Vec<IpAddr>, DnsError> {
        let text = read(&self.path)?;
        if resolved::keeps(&text) { resolved::servers(&self.bus) } else { Ok(text::servers(&text)) }
    }

    fn apply(&self, config: &ResolverConfig) -> Result<Applied, DnsError> {
        let text = read(&self.path)?;
        if resolved::keeps(&text) {
            let link = resolved::Link::set(&self.bus, config)?;
            return Ok(Applied::new(Keeper::Resolved, link));
        }
        let held = self.held();
        held.restore()?;
        held.replace(&text::rewritten(&read(&self.path)?, config))?;
        Ok(Applied::new(Keeper::File, File { held }))
    }
}

/// `/etc/resolv.conf`, rewritten.
#[derive(Debug)]
struct File {
    held: Held,
}

impl Undo for File {
    fn change(&mut self, config: &ResolverConfig) -> Result<(), DnsError> {
        let former = self.held.former()?;
        self.held.replace(&text::rewritten(&former, config))
    }

    fn in_place(&self) -> bool {
        self.held.in_place()
    }

    fn undo(&mut self) -> Result<(), DnsError> {
        self.held.restore().map(drop)
    }
}

/// The file's text; empty when there is none. Bytes that are no text are told apart from nothing else.
fn read(path: &Path) -> Result<String, DnsError> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(cause) => Err(DnsError::File { action: "read", path: path.to_owned(), cause }),
    }
}

#[cfg(test)]
mod tests;
