//! Other WireGuard implementations, as `tests/setup` puts them into `target/peers/bin`.

use crate::netns::Namespace;
use crate::process::{Process, run};
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// An implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implementation {
    /// The reference implementation in Go.
    WireguardGo,
    /// Cloudflare's, with its own device and timers.
    BoringtunCli,
}

impl Implementation {
    fn command(self, namespace: &Namespace, interface: &str) -> Command {
        let program = match self {
            Self::WireguardGo => "wireguard-go",
            Self::BoringtunCli => "boringtun-cli",
        };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers/bin").join(program);
        assert!(path.exists(), "no {}: run tests/setup", path.display());
        let mut command = namespace.command(path);
        match self {
            Self::WireguardGo => command.args(["-f", interface]).env("LOG_LEVEL", "verbose"),
            Self::BoringtunCli => command.args(["--foreground", "--disable-drop-privileges", interface]),
        };
        command
    }
}

/// A static key pair in the textual form that WireGuard's tools use.
#[derive(Clone)]
pub struct Keys {
    pub(crate) secret: String,
    /// Base64.
    pub public: String,
}

impl Keys {
    /// Fresh ones.
    ///
    /// # Panics
    /// When `wg` is missing.
    #[must_use]
    pub fn generate() -> Self {
        let secret = run(Command::new("wg").arg("genkey")).trim().to_owned();
        let child = Command::new("wg").arg("pubkey").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let public = child.and_then(|mut child| {
            if let Some(stdin) = &mut child.stdin {
                stdin.write_all(secret.as_bytes())?;
            }
            child.wait_with_output()
        });
        let public = public.unwrap_or_else(|error| panic!("wg pubkey: {error}")).stdout;
        Self { secret, public: String::from_utf8_lossy(&public).trim().to_owned() }
    }

    /// The secret one in a file of mode 0600.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn file(&self, directory: &Path, name: &str) -> PathBuf {
        crate::interface::secret_file(directory, name, &self.secret)
    }
}

/// A running peer with its own TUN device; dropping it ends it.
#[derive(Debug)]
pub struct Peer {
    process: Process,
}

impl Peer {
    /// Starts one in `namespace` that listens at UDP `port` and has the inner `address` (`10.77.0.2/32`); its other end
    /// is `gateway_key`, at `endpoint` if it is to initiate, and reached for `allowed`.
    ///
    /// # Panics
    /// When a step fails, with the program's output.
    #[must_use]
    pub fn start(
        implementation: Implementation,
        namespace: &Namespace,
        directory: &Path,
        keys: &Keys,
        port: u16,
        address: &str,
        gateway: &Remote<'_>,
    ) -> Self {
        // The control sockets of all namespaces share one directory, so that names must differ.
        let interface = format!("wg{}", namespace.name().trim_start_matches("vst-").replace('-', "n"));
        let command = implementation.command(namespace, &interface);
        let mut process = namespace.start(command, directory.join("peer.log"));
        let socket = PathBuf::from(format!("/var/run/wireguard/{interface}.sock"));
        process.wait_for("control socket of the peer", Duration::from_secs(10), || socket.exists().then_some(()));

        let secret = directory.join("peer.key");
        fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&secret)
            .and_then(|mut file| file.write_all(keys.secret.as_bytes()))
            .unwrap_or_else(|error| panic!("{}: {error}", secret.display()));
        let mut set = namespace.command("wg");
        set.args(["set", &interface, "listen-port", &port.to_string(), "private-key"]).arg(&secret);
        set.args(["peer", gateway.public_key, "allowed-ips", gateway.allowed]);
        if let Some(endpoint) = gateway.endpoint {
            set.args(["endpoint", endpoint]);
        }
        run(&mut set);
        namespace.run("ip", &["address", "add", address, "dev", &interface]);
        namespace.run("ip", &["link", "set", &interface, "mtu", "1420", "up"]);
        for network in gateway.allowed.split(',') {
            namespace.run("ip", &["route", "add", network, "dev", &interface]);
        }
        Self { process }
    }

    /// Everything it has printed.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.said()
    }
}

/// The far end as a peer is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Remote<'a> {
    /// Base64.
    pub public_key: &'a str,
    /// `192.0.2.1:51820`; without it the peer waits to be found.
    pub endpoint: Option<&'a str>,
    /// Networks inside the tunnel, comma separated.
    pub allowed: &'a str,
}
