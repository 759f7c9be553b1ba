//! A gateway in a namespace.

use crate::netns::Namespace;
use crate::process::{Process, wrapped};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// A running `vestibule gateway`.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    /// `gateway.json`: what it says of itself, without secrets.
    pub facts: Value,
}

impl Gateway {
    /// Starts one with its data in `directory`, reached at `address` (no port), and waits until it serves.
    ///
    /// # Panics
    /// When it does not within 20 s, with its output.
    #[must_use]
    pub fn start(namespace: &Namespace, directory: &Path, address: &str, more: &[&str]) -> Self {
        Self::start_under(namespace, &[], directory, address, more)
    }

    /// As [`Self::start`], with the words of `wrapper` before `vestibule` (a clock that is off).
    ///
    /// # Panics
    /// When it does not serve within 20 s, with its output.
    #[must_use]
    pub fn start_under(
        namespace: &Namespace,
        wrapper: &[&str],
        directory: &Path,
        address: &str,
        more: &[&str],
    ) -> Self {
        let data = directory.join("gateway");
        fs::create_dir_all(&data).unwrap_or_else(|error| panic!("{}: {error}", data.display()));
        let mut command = wrapped(namespace, wrapper);
        command.arg("gateway").arg("--data").arg(&data);
        command.args(["--organization", "mycompany"]);
        command.args(["--https", &format!("{address}:8443"), "--tunnel", &format!("{address}:51820")]);
        command.args(["--advertise", &format!("{address}:51820")]);
        command.args(more);
        let file = data.join("gateway.json");
        // One that was killed leaves it behind.
        let _ = fs::remove_file(&file);
        let mut process = namespace.start(command, directory.join("gateway.log"));
        let facts = process
            .wait_for("gateway.json", Duration::from_secs(20), || serde_json::from_slice(&fs::read(&file).ok()?).ok());
        Self { process, facts }
    }

    /// One of its facts.
    ///
    /// # Panics
    /// When there is no text of that name.
    #[must_use]
    pub fn fact(&self, name: &str) -> &str {
        self.facts[name].as_str().unwrap_or_else(|| panic!("no {name} in gateway.json: {}", self.facts))
    }

    /// What its administrator sees: peers, generations, counters.
    ///
    /// # Panics
    /// When `curl` is missing.
    #[must_use]
    pub fn status(&self, namespace: &Namespace) -> String {
        let token = fs::read_to_string(self.fact("admin_token_file")).unwrap_or_default();
        let address = format!("{}/client/v4/accounts/{}/vestibule/status", self.fact("url"), self.fact("account_id"));
        let bearer = format!("Authorization: Bearer {}", token.trim());
        namespace.run("curl", &["-sSk", "-H", &bearer, &address])
    }

    /// Ends it by SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Everything it has printed.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.said()
    }
}
