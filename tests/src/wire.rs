//! What an onlooker sees on the cable between two ends: who starts handshakes, and when.

use crate::netns::Namespace;
use crate::process::Process;
use std::path::PathBuf;
use std::time::Duration;

/// Watches `wire0` of a namespace for handshake initiations.
#[derive(Debug)]
pub struct Watcher {
    process: Process,
}

impl Watcher {
    /// Starts watching.
    ///
    /// # Panics
    /// When `tcpdump` is missing.
    #[must_use]
    pub fn start(namespace: &Namespace, log: PathBuf) -> Self {
        let mut command = namespace.command("tcpdump");
        // Message type 1 with its three reserved bytes, right after the UDP header.
        command.args(["-l", "-n", "-tt", "-i", "wire0", "udp[8:4] = 0x01000000 and udp[4:2] = 156"]);
        let mut process = namespace.start(command, log.clone());
        process.wait_for("tcpdump", Duration::from_secs(10), || {
            std::fs::read_to_string(&log).is_ok_and(|said| said.contains("listening on")).then_some(())
        });
        Self { process }
    }

    /// The initiations so far: Unix time, and the address they came from.
    #[must_use]
    pub fn initiations(&self) -> Vec<(f64, String)> {
        let said = self.process.said();
        let lines = said.lines().filter(|line| line.contains(" IP ") && line.contains(" > "));
        lines
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                let at = words.next()?.parse().ok()?;
                let source = words.nth(1)?;
                Some((at, source.rsplit_once('.')?.0.to_owned()))
            })
            .collect()
    }
}
