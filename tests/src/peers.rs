//! WireGuard implementations behind one interface: `vestibule wireguard`, and others as `tests/setup` puts them into
//! `target/peers/bin`.

use crate::netns::Namespace;
use crate::process::{Process, run};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// An implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implementation {
    /// `vestibule wireguard`.
    Vestibule,
    /// The reference implementation in Go.
    WireguardGo,
    /// Cloudflare's, with its own device and timers.
    BoringtunCli,
    /// Mullvad's. It builds for minutes, so `benches/setup` makes it and tests ask [`Implementation::is_there`].
    Gotatun,
}

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers/bin").join(name)
}

impl Implementation {
    /// Whether it can be started here; says so when not. Gotatun alone may be missing.
    #[must_use]
    pub fn is_there(self) -> bool {
        let there = self != Self::Gotatun || program("gotatun").exists();
        if !there {
            eprintln!("gotatun: left out; `benches/setup` builds it into target/peers/bin");
        }
        there
    }

    fn command(self, namespace: &Namespace, interface: &str) -> Command {
        let (path, words): (_, &[_]) = match self {
            Self::Vestibule => (crate::vestibule(), &["wireguard", "-f"]),
            Self::WireguardGo => (program("wireguard-go"), &["-f"]),
            Self::BoringtunCli => (program("boringtun-cli"), &["--foreground", "--disable-drop-privileges"]),
            Self::Gotatun => (program("gotatun"), &["--foreground", "--disable-drop-privileges"]),
        };
        assert!(path.exists(), "no {}: run tests/setup", path.display());
        let mut command = namespace.command(path);
        command.args(words).arg(interface).env("LOG_LEVEL", "verbose").env("NO_COLOR", "1");
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
    interface: String,
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
        let inner = Inner { addresses: &[address], mtu: 1420, preshared: None };
        Self::start_with(implementation, namespace, directory, keys, port, &inner, gateway)
    }

    /// The same with more to say about what is inside.
    ///
    /// # Panics
    /// When a step fails, with the program's output.
    #[must_use]
    pub fn start_with(
        implementation: Implementation,
        namespace: &Namespace,
        directory: &Path,
        keys: &Keys,
        port: u16,
        inner: &Inner<'_>,
        gateway: &Remote<'_>,
    ) -> Self {
        // The control sockets of all namespaces share one directory, so that names must differ.
        let interface = format!("wg{}", namespace.name().trim_start_matches("vst-").replace('-', "n"));
        let command = implementation.command(namespace, &interface);
        let mut process = namespace.start(command, directory.join("peer.log"));
        let socket = PathBuf::from(format!("/var/run/wireguard/{interface}.sock"));
        process.wait_for("control socket of the peer", Duration::from_secs(10), || socket.exists().then_some(()));

        let secret = keys.file(directory, "peer");
        let mut set = namespace.command("wg");
        set.args(["set", &interface, "listen-port", &port.to_string(), "private-key"]).arg(&secret);
        set.args(["peer", gateway.public_key, "allowed-ips", gateway.allowed]);
        if let Some(endpoint) = gateway.endpoint {
            set.args(["endpoint", endpoint]);
        }
        if let Some(preshared) = inner.preshared {
            set.arg("preshared-key").arg(crate::interface::secret_file(directory, "preshared", preshared));
        }
        run(&mut set);
        namespace.run("ip", &["link", "set", &interface, "mtu", &inner.mtu.to_string(), "up"]);
        for address in inner.addresses {
            let nodad: &[_] = if address.contains(':') { &["nodad"] } else { &[] };
            namespace.run("ip", &[&["address", "add", address, "dev", &interface], nodad].concat());
        }
        for network in gateway.allowed.split(',') {
            namespace.run("ip", &["route", "add", network, "dev", &interface]);
        }
        Self { process, interface }
    }

    /// The name of its TUN device.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Everything it has printed.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.said()
    }
}

/// What a peer is inside the tunnel.
#[derive(Clone, Copy, Debug)]
pub struct Inner<'a> {
    /// Its addresses with prefix lengths.
    pub addresses: &'a [&'a str],
    /// Of its TUN device.
    pub mtu: u32,
    /// Base64.
    pub preshared: Option<&'a str>,
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
