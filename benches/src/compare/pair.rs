//! Two hosts, the cable between them, and one engine at each end.

use super::{
    command::{self, Running},
    engines::{Engine, Kind},
    error::RunError,
    proc,
};
use crate::end::Orders;
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};
use vestibule_benches::masque::Credential;
use vestibule_platform::sandbox::{End, Namespace, cable};

/// Longest wait for an engine's control socket.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where the sandbox has room for files that go with it.
pub(super) const ROOM: &str = "/run/compare";
/// Interfaces of the cable.
const CABLE: [&str; 2] = ["veth-a", "veth-b"];
/// Interfaces of the tunnel: unlike, since the control sockets of both ends share a directory.
const TUNNEL: [&str; 2] = ["wg-a", "wg-b"];
/// Addresses on the cable.
const OUTSIDE: [&str; 2] = ["192.168.77.1", "192.168.77.2"];
/// Addresses in the tunnel.
const INSIDE: [&str; 2] = ["10.99.0.1", "10.99.0.2"];
/// The tunnel's MTU: what is left of 1500 with IPv6 outside.
const MTU: &str = "1420";
const PORT: &str = "51820";

/// An engine at each end of a cable.
#[derive(Debug)]
pub(super) struct Pair {
    /// Where the client runs, and where the server does.
    pub(super) hosts: [Namespace; 2],
    engines: Vec<Running>,
    kind: Kind,
}

impl Pair {
    /// Makes the hosts, starts the engines and joins them.
    pub(super) fn start(engine: &Engine) -> Result<Self, RunError> {
        let hosts = [Namespace::new("client")?, Namespace::new("server")?];
        let outside = |address: Ipv4Addr| [(IpAddr::V4(address), 24)];
        let (a, b) = (outside(Ipv4Addr::new(192, 168, 77, 1)), outside(Ipv4Addr::new(192, 168, 77, 2)));
        cable(
            &End { namespace: &hosts[0], interface: CABLE[0], addresses: &a },
            &End { namespace: &hosts[1], interface: CABLE[1], addresses: &b },
        )?;
        let mut pair = Self { hosts, engines: Vec::new(), kind: engine.kind };
        match engine.kind {
            Kind::Cable => return Ok(pair),
            Kind::Kernel => {
                for (host, interface) in pair.hosts.iter().zip(TUNNEL) {
                    command::run(host, &["ip", "link", "add", interface, "type", "wireguard"])?;
                }
            }
            Kind::Userspace => pair.start_processes(engine)?,
            Kind::Masque => {
                pair.order_masque()?;
                pair.start_processes(engine)?;
                return pair.address().map(|()| pair);
            }
        }
        pair.join()?;
        pair.address()?;
        Ok(pair)
    }

    fn start_processes(&mut self, engine: &Engine) -> Result<(), RunError> {
        for (host, interface) in self.hosts.iter().zip(TUNNEL) {
            // An engine that was killed leaves it.
            let _ = fs::remove_file(sign(engine, interface));
            let words: Vec<&str> = engine.command.iter().map(String::as_str).chain([interface]).collect();
            let running = Running::start(host, &words, &format!("{ROOM}/{interface}.log"))?;
            self.engines.push(running);
        }
        for (running, interface) in self.engines.iter_mut().zip(TUNNEL) {
            let sign = sign(engine, interface);
            running.wait_until("sign of life", PATIENCE, || Ok(sign.exists()))?;
        }
        Ok(())
    }

    /// Tells both ends of a MASQUE tunnel what they are to be: the client the device, the server the gateway.
    fn order_masque(&self) -> Result<(), RunError> {
        let credentials = [Credential::fresh(), Credential::fresh()];
        let port = PORT.parse().unwrap_or_default();
        let gateway = OUTSIDE[1].parse().ok().map(|address| SocketAddr::new(address, port));
        for (end, interface) in TUNNEL.iter().enumerate() {
            let (own, other) = (credentials[end].clone(), credentials[1 - end].clone());
            let orders = Orders {
                own: (own.certificate, own.key),
                other: other.certificate,
                gateway: gateway.filter(|_| end == 0),
                port,
                device: INSIDE[0].parse().ok().map(|address: IpAddr| vec![address.into()]).unwrap_or_default(),
            };
            let (file, orders) = (Orders::file(interface), serde_json::to_vec(&orders).unwrap_or_default());
            let unwritable = |cause| RunError::Start { command: file.display().to_string(), cause };
            fs::write(&file, orders).map_err(unwritable)?;
        }
        Ok(())
    }

    /// Gives both ends their keys and each other.
    fn join(&mut self) -> Result<(), RunError> {
        let mut secrets = Vec::new();
        let mut keys = Vec::new();
        for host in &self.hosts {
            let secret = command::run(host, &["wg", "genkey"])?;
            let public = command::run_with(host, &["wg", "pubkey"], secret.clone())?;
            secrets.push(secret);
            keys.push(public.trim().to_owned());
        }
        for (end, (host, secret)) in self.hosts.iter().zip(secrets).enumerate() {
            let (interface, other) = (TUNNEL[end], 1 - end);
            let endpoint = format!("{}:{PORT}", OUTSIDE[other]);
            let own = ["wg", "set", interface, "listen-port", PORT, "private-key", "/dev/stdin"];
            let peer = ["peer", &keys[other], "endpoint", &endpoint, "allowed-ips", "10.99.0.0/24"];
            let words: Vec<&str> = own.into_iter().chain(peer).collect();
            command::run_with(host, &words, secret)?;
        }
        Ok(())
    }

    /// Gives both ends addresses, and with them routes.
    fn address(&self) -> Result<(), RunError> {
        for ((host, interface), address) in self.hosts.iter().zip(TUNNEL).zip(INSIDE) {
            let address = format!("{address}/24");
            command::run(host, &["ip", "address", "add", &address, "dev", interface])?;
            command::run(host, &["ip", "link", "set", interface, "mtu", MTU, "up"])?;
        }
        Ok(())
    }

    /// The server's address: inside the tunnel, or on the cable where there is none.
    pub(super) fn target(&self) -> &'static str {
        if self.kind == Kind::Cable { OUTSIDE[1] } else { INSIDE[1] }
    }

    /// Bytes that the client's end of what is measured has sent and received.
    pub(super) fn bytes(&self) -> Result<u64, RunError> {
        let interface = if self.kind == Kind::Cable { CABLE[0] } else { TUNNEL[0] };
        let text = self.hosts[0].run(|| fs::read_to_string("/proc/thread-self/net/dev"))?.unwrap_or_default();
        let bytes = proc::interface_bytes(&text, interface);
        let (received, sent) = bytes.ok_or_else(|| RunError::Unreadable(format!("the bytes of {interface}")))?;
        Ok(received + sent)
    }

    /// The engines' process ids; none for those without processes.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.engines.iter().map(Running::pid).collect()
    }

    /// Fails when an engine has ended.
    pub(super) fn expect_alive(&mut self) -> Result<(), RunError> {
        self.engines.iter_mut().try_for_each(Running::expect_alive)
    }

    /// What to add to a failure that an engine may have caused.
    pub(super) fn complain(&self, what: String) -> RunError {
        match self.engines.as_slice() {
            [] => RunError::NoAnswer(what),
            [first, ..] => first.broken(what),
        }
    }
}

/// What is there once an engine can be talked to: its control socket, or, of a MASQUE tunnel, the sign that it stands.
fn sign(engine: &Engine, interface: &str) -> PathBuf {
    match engine.kind {
        Kind::Masque => Orders::sign(interface),
        _ => format!("/var/run/wireguard/{interface}.sock").into(),
    }
}
