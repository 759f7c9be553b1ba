//! A D-Bus of a test's own, for what stands in for the system's services.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A `dbus-daemon`; it ends when this is dropped.
#[derive(Debug)]
pub struct Bus {
    daemon: Child,
    /// Where it listens, as D-Bus writes addresses.
    pub address: String,
}

impl Bus {
    /// Starts one that listens at a socket.
    ///
    /// # Panics
    /// When `dbus-daemon` is missing: `tests/setup` installs it.
    #[must_use]
    pub fn start(socket: &Path) -> Self {
        let address = format!("unix:path={}", socket.display());
        let mut daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address", "--address", &address])
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon is missing: tests/setup installs it");
        // It prints its address when it listens.
        let mut line = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with(&address), "{line}");
        Self { daemon, address }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
