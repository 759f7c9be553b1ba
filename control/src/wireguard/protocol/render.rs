//! Writing the answers.

use ipnet::IpNet;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};
use vestibule_engine::generation::{PrivateKey, PublicKey};
use zeroize::Zeroizing;

/// Room for an interface, a peer and one of its networks: text that holds secrets does not grow by copying.
const DEVICE_ROOM: usize = 256;
const PEER_ROOM: usize = 512;
const NETWORK_ROOM: usize = 64;

/// An interface as `get=1` tells it.
pub(crate) struct View<'a> {
    pub(crate) private_key: Option<&'a PrivateKey>,
    pub(crate) listen_port: u16,
    pub(crate) fwmark: u32,
    pub(crate) peers: Vec<PeerView<'a>>,
}

/// One of its peers.
pub(crate) struct PeerView<'a> {
    pub(crate) public_key: PublicKey,
    pub(crate) preshared_key: Option<&'a PrivateKey>,
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) last_handshake: Option<SystemTime>,
    pub(crate) tx_bytes: u64,
    pub(crate) rx_bytes: u64,
    pub(crate) persistent_keepalive: u16,
    pub(crate) allowed_ips: Vec<IpNet>,
}

/// The answer to `get=1`, without its status.
pub(crate) fn render(view: &View<'_>) -> Zeroizing<String> {
    let networks: usize = view.peers.iter().map(|peer| peer.allowed_ips.len()).sum();
    let room = DEVICE_ROOM + view.peers.len() * PEER_ROOM + networks * NETWORK_ROOM;
    let mut text = Zeroizing::new(String::with_capacity(room));
    if let Some(key) = view.private_key {
        key_line(&mut text, "private_key", key.expose());
    }
    line(&mut text, format_args!("listen_port={}", view.listen_port));
    if view.fwmark != 0 {
        line(&mut text, format_args!("fwmark={}", view.fwmark));
    }
    for peer in &view.peers {
        key_line(&mut text, "public_key", &peer.public_key.0);
        key_line(&mut text, "preshared_key", peer.preshared_key.map_or(&[0; 32], PrivateKey::expose));
        line(&mut text, format_args!("protocol_version=1"));
        if let Some(endpoint) = peer.endpoint {
            line(&mut text, format_args!("endpoint={endpoint}"));
        }
        let handshake = peer.last_handshake.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        line(&mut text, format_args!("last_handshake_time_sec={}", handshake.as_secs()));
        line(&mut text, format_args!("last_handshake_time_nsec={}", handshake.subsec_nanos()));
        line(&mut text, format_args!("tx_bytes={}", peer.tx_bytes));
        line(&mut text, format_args!("rx_bytes={}", peer.rx_bytes));
        line(&mut text, format_args!("persistent_keepalive_interval={}", peer.persistent_keepalive));
        for network in &peer.allowed_ips {
            line(&mut text, format_args!("allowed_ip={network}"));
        }
    }
    text
}

/// The end of every answer: 0, or an error's number as Linux gives it to programs, below zero.
pub(crate) fn status(errno: i32) -> String {
    format!("errno={}\n\n", -errno.saturating_abs())
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(line);
    text.push('\n');
}

fn key_line(text: &mut String, name: &str, key: &[u8; 32]) {
    text.push_str(name);
    text.push('=');
    for byte in key {
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
}
