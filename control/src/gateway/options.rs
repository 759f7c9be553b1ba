//! What a gateway is started with.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crossbeam_channel::Receiver;
use ipnet::{IpNet, Ipv4Net};
use std::{fmt, io, net::Ipv4Addr, net::SocketAddr, path::PathBuf, str::FromStr};
use vestibule_engine::core::{Engine, Event};
use vestibule_platform::runtime::Handle;

/// Settings of a gateway.
#[derive(Debug)]
pub struct Options {
    /// Directory of the database, the keys and the certificate. Made on first start.
    pub data: PathBuf,
    /// Team name; fixed on first start.
    pub organization: String,
    /// Where the API and the login form are served. Port 0 picks one.
    pub https: SocketAddr,
    /// Where tunnels end. Port 0 picks one.
    pub tunnel: SocketAddr,
    /// Where devices reach `tunnel`, if that is another address (a wildcard must be told).
    pub advertise: Option<SocketAddr>,
    /// Inner addresses: the gateway has the first host, devices get the rest.
    pub addresses: Ipv4Net,
    /// What devices route into the tunnel; empty for `addresses` alone.
    pub routes: Vec<IpNet>,
    /// Name of the tunnel's network interface.
    pub interface: String,
    /// Inner MTU in bytes.
    pub mtu: u16,
    /// Certificate chain and key (PEM); `None` makes one on first start.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Other WireGuard peers.
    pub plain_peers: Vec<PlainPeer>,
    /// Print machine-readable lines.
    pub json: bool,
    /// What moves the packets.
    pub data_plane: DataPlaneKind,
}

impl Options {
    /// Defaults, for a data directory.
    #[must_use]
    pub fn new(data: PathBuf) -> Self {
        Self {
            data,
            organization: "mycompany".to_owned(),
            https: SocketAddr::from(([0, 0, 0, 0], 8443)),
            tunnel: SocketAddr::from(([0, 0, 0, 0], 51820)),
            advertise: None,
            addresses: DEFAULT_ADDRESSES,
            routes: Vec::new(),
            interface: "vestibule0".to_owned(),
            mtu: 1420,
            certificate: None,
            plain_peers: Vec::new(),
            json: false,
            data_plane: DataPlaneKind::Kernel,
        }
    }
}

/// The vendor's pool of unique inner addresses, 100.96.0.0/12.
const DEFAULT_ADDRESSES: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(100, 96, 0, 0), 12);

/// Starts the worker that owns the engine.
pub type StartWorker = Box<dyn FnOnce(Engine) -> io::Result<(Handle, Receiver<Event>)> + Send>;

/// What moves the packets.
pub enum DataPlaneKind {
    /// This host's kernel: a TUN device, a UDP socket, addresses and routes. Needs the rights for them.
    Kernel,
    /// A worker of the caller's making, on memory twins for instance. `tunnel` (or `advertise`) is still what devices
    /// are told.
    Worker(StartWorker),
}

impl fmt::Debug for DataPlaneKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "Kernel",
            Self::Worker(_) => "Worker",
        })
    }
}

/// A peer that speaks WireGuard but is no Vestibule device: `KEY,ADDR/LEN[,ENDPOINT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainPeer {
    /// Its X25519 public key.
    pub key: [u8; 32],
    /// Its inner addresses.
    pub addresses: Vec<IpNet>,
    /// Where it is; without, it must call first.
    pub endpoint: Option<SocketAddr>,
}

impl PlainPeer {
    /// The name under which rules and counters know it.
    #[must_use]
    pub fn identity(&self) -> String {
        format!("plain:{}", STANDARD.encode(self.key))
    }
}

/// A plain peer that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a plain peer is KEY,ADDR/LEN[,ENDPOINT]: expected {expected}, got `{got}`")]
pub struct PlainPeerError {
    expected: &'static str,
    got: String,
}

impl FromStr for PlainPeer {
    type Err = PlainPeerError;

    fn from_str(text: &str) -> Result<Self, PlainPeerError> {
        let wrong = |expected, got: &str| PlainPeerError { expected, got: got.to_owned() };
        let mut parts = text.split(',').map(str::trim);
        let key = parts.next().unwrap_or_default();
        let address = parts.next().unwrap_or_default();
        let endpoint = parts.next();
        if let Some(rest) = parts.next() {
            return Err(wrong("at most three parts", rest));
        }
        let bytes = STANDARD.decode(key).ok().and_then(|bytes| bytes.try_into().ok());
        let endpoint = endpoint.map(|text| text.parse().map_err(|_| wrong("an endpoint IP:PORT", text))).transpose()?;
        Ok(Self {
            key: bytes.ok_or_else(|| wrong("a WireGuard public key (44 characters of base64)", key))?,
            addresses: vec![address.parse().map_err(|_| wrong("an inner address with its length", address))?],
            endpoint,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KEY: &str = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=";

    #[test]
    fn a_plain_peer_is_read_with_and_without_an_endpoint() {
        let peer: PlainPeer = format!("{KEY},100.96.0.9/32,192.0.2.1:51820").parse().unwrap();
        assert_eq!(peer.addresses, ["100.96.0.9/32".parse::<IpNet>().unwrap()]);
        assert_eq!(peer.endpoint, Some("192.0.2.1:51820".parse().unwrap()));
        assert_eq!(peer.identity(), format!("plain:{KEY}"));
        assert_eq!(format!("{KEY},100.96.0.9/32").parse::<PlainPeer>().unwrap().endpoint, None);
    }

    #[test]
    fn a_wrong_part_is_named() {
        let message = |text: &str| text.parse::<PlainPeer>().unwrap_err().to_string();
        assert!(
            message("short,100.96.0.9/32").contains("44 characters of base64, got `short`")
                || message("short,100.96.0.9/32").contains("public key")
        );
        assert!(message(&format!("{KEY},nowhere")).contains("got `nowhere`"));
        assert!(message(&format!("{KEY},10.0.0.1/32,host:port")).contains("IP:PORT, got `host:port`"));
    }
}
