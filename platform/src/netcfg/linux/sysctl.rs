//! Switches under `/proc/sys/net`, which follow the calling thread's network namespace.

use std::{fs, io, path::PathBuf};

/// A switch that we turned on.
#[derive(Debug)]
pub(super) struct Switch {
    path: PathBuf,
    before: String,
}

impl Switch {
    /// Turns the switch `name` (`net/ipv4/ip_forward`) on; `None` when it was on already.
    pub(super) fn on(name: &str) -> io::Result<Option<Self>> {
        let path = PathBuf::from("/proc/sys").join(name);
        let before = fs::read_to_string(&path)?.trim().to_owned();
        if before == "1" {
            return Ok(None);
        }
        fs::write(&path, "1")?;
        Ok(Some(Self { path, before }))
    }

    /// Sets it back.
    pub(super) fn restore(&self) -> io::Result<()> {
        fs::write(&self.path, &self.before)
    }
}
