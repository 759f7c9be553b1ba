//! A real OpenID Connect provider, npm `oidc-provider`, in a namespace.

use crate::netns::Namespace;
use crate::process::Process;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Its port on 127.0.0.1.
pub const PORT: u16 = 4011;
/// What it knows the gateway by.
pub const CLIENT_SECRET: &str = "the-secret-of-the-client";

/// A running provider, with a signing key of its own.
#[derive(Debug)]
pub struct Provider {
    process: Process,
}

impl Provider {
    /// Starts one; `words` are those of `tests/oidc-provider.mjs`.
    ///
    /// # Panics
    /// When it is not installed, or not ready within 20 s.
    #[must_use]
    pub fn start(namespace: &Namespace, room: &Path, words: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let modules = modules();
        let installed = modules.join("node_modules/oidc-provider").exists();
        assert!(installed, "no {}: tests/setup installs it", modules.display());
        let mut command = namespace.command("node");
        command.arg(root.join("oidc-provider.mjs")).arg(modules).arg(PORT.to_string()).args(words);
        let log = room.join("provider.log");
        let mut process = namespace.start(command, log.clone());
        let ready = || std::fs::read_to_string(&log).ok().filter(|said| said.contains("ready at"));
        process.wait_for("the identity provider", Duration::from_secs(20), ready);
        Self { process }
    }

    /// Its issuer.
    #[must_use]
    pub fn issuer() -> String {
        format!("http://127.0.0.1:{PORT}")
    }

    /// Ends it.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

/// Where tests/setup has put it.
fn modules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/oidc-provider")
}
