//! Interfaces of `vestibule wireguard`, steered by `wg` as anyone would.

use crate::netns::Namespace;
use crate::peers::Keys;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A name that no other test has: the configuration sockets of all namespaces share one directory.
#[must_use]
pub fn unique_name() -> String {
    format!("vw{}n{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Where an interface is configured.
#[must_use]
pub fn socket(name: &str) -> PathBuf {
    PathBuf::from(format!("/var/run/wireguard/{name}.sock"))
}

/// Starts `vestibule wireguard` in the background, as `wg-quick` does, and gives what came of it.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn daemonise(namespace: &Namespace, name: &str) -> Output {
    let mut command = namespace.command(crate::vestibule());
    command.args(["wireguard", name]);
    command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

/// An interface in the background. It ends with its namespace, and its socket with this.
#[derive(Debug)]
pub struct Interface<'a> {
    namespace: &'a Namespace,
    /// Its name on the host.
    pub name: String,
    /// Its public key, base64.
    pub public_key: String,
}

impl<'a> Interface<'a> {
    /// Makes one with fresh keys that listens on `port`, has `addresses` (`10.0.0.1/24`) and is up.
    ///
    /// # Panics
    /// When a step fails, with what was said.
    #[must_use]
    pub fn start(namespace: &'a Namespace, directory: &Path, port: u16, addresses: &[&str]) -> Self {
        let name = unique_name();
        let output = daemonise(namespace, &name);
        assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        let keys = Keys::generate();
        let interface = Self { namespace, name, public_key: keys.public.clone() };
        let secret = secret_file(directory, &interface.name, &keys.secret);
        interface.set(&["listen-port", &port.to_string(), "private-key", &secret.to_string_lossy()]);
        for address in addresses {
            namespace.run("ip", &["address", "add", address, "dev", &interface.name, "nodad"]);
        }
        namespace.run("ip", &["link", "set", &interface.name, "up"]);
        interface
    }

    /// `wg set` with these words.
    ///
    /// # Panics
    /// When it fails.
    pub fn set(&self, words: &[&str]) {
        self.namespace.run("wg", &[&["set", &self.name], words].concat());
    }

    /// What `wg show INTERFACE WHAT` says of a peer, without its key.
    ///
    /// # Panics
    /// When it fails, or says nothing of that peer.
    #[must_use]
    pub fn of(&self, what: &str, peer: &str) -> String {
        let said = self.namespace.run("wg", &["show", &self.name, what]);
        let line = said.lines().find_map(|line| line.strip_prefix(peer));
        line.unwrap_or_else(|| panic!("nothing of {peer} in {said:?}")).trim().to_owned()
    }

    /// Waits until [`Self::of`] says something that `expected` likes.
    ///
    /// # Panics
    /// When it does not within ten seconds.
    pub fn wait_for(&self, what: &str, peer: &str, expected: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let said = self.of(what, peer);
            if expected(&said) {
                return;
            }
            assert!(Instant::now() < deadline, "{what} of {peer} stays {said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Interface<'_> {
    fn drop(&mut self) {
        // By its interface, as an administrator does; the process removes the socket.
        let _ = self.namespace.command("ip").args(["link", "delete", &self.name]).output();
        let deadline = Instant::now() + Duration::from_secs(3);
        while socket(&self.name).exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A file of mode 0600 with a secret in it.
///
/// # Panics
/// When it cannot be written.
#[must_use]
pub fn secret_file(directory: &Path, name: &str, secret: &str) -> PathBuf {
    let path = directory.join(format!("{name}.key"));
    let _ = fs::remove_file(&path);
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(secret.as_bytes()))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}

/// A fresh preshared key.
///
/// # Panics
/// When `wg` is missing.
#[must_use]
pub fn preshared_key() -> String {
    crate::process::run(Command::new("wg").arg("genpsk")).trim().to_owned()
}
