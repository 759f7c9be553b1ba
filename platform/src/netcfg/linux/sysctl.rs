//! Switches under `/proc/sys/net`, which follow the calling thread's network namespace.

use std::{fs, io, path::PathBuf};

/// Turns IPv6 on `interface` on or off: off, the kernel does not solicit routers through a tunnel that carries none.
/// The switch goes with the interface. A kernel without IPv6 has none.
pub(super) fn set_ipv6(interface: &str, on: bool) -> io::Result<()> {
    let path = PathBuf::from("/proc/sys/net/ipv6/conf").join(interface).join("disable_ipv6");
    match fs::write(path, if on { "0" } else { "1" }) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

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
