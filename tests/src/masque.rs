//! What runs against MASQUE peers that others wrote has in common: certificates, the corpus, packets that are echoed.

use crate::house::Room;
use rustls::pki_types::PrivateKeyDer;
use std::fs;
use std::path::{Path, PathBuf};
use vestibule_engine::masque::request::UriTemplate;
use vestibule_engine::masque::session::tls::{Identity, Trust, key_id, public_key};

/// The gateway's name.
pub const GATEWAY: &str = "gateway.example";
/// The client's address in the tunnel, and where it sends to.
pub const CLIENT: [u8; 4] = [10, 0, 0, 1];
/// Behind the gateway.
pub const FAR: [u8; 4] = [203, 0, 113, 5];

/// A certificate of its own with its key, also as `name.pem` and `name.key` in the room.
///
/// # Panics
/// When it cannot be made or written.
#[must_use]
pub fn identity(room: &Room, name: &str) -> Identity {
    let signed = rcgen::generate_simple_self_signed(vec![GATEWAY.to_owned()]).expect("a certificate");
    fs::write(room.0.join(format!("{name}.pem")), signed.cert.pem()).expect("the room is writable");
    fs::write(room.0.join(format!("{name}.key")), signed.signing_key.serialize_pem()).expect("the room is writable");
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).expect("a key");
    Identity { chain: vec![signed.cert.into()], key }
}

/// SHA-256 of an identity's public key, in hexadecimal digits: what a verb calls a pin.
///
/// # Panics
/// When it has no certificate.
#[must_use]
pub fn key_name(identity: &Identity) -> String {
    let name = key_id(&public_key(&identity.chain[0]).expect("a certificate"));
    name.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Believes this identity alone.
///
/// # Panics
/// When it has no certificate.
#[must_use]
pub fn trust(identity: &Identity) -> Trust {
    Trust::Keys(vec![public_key(&identity.chain[0]).expect("a certificate")])
}

/// What the gateway serves.
///
/// # Panics
/// Never: the name is valid.
#[must_use]
pub fn template() -> UriTemplate {
    UriTemplate::well_known(GATEWAY).expect("a valid name")
}

/// The file of capsule streams that peers are tried with.
#[must_use]
pub fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/src/masque/capsule/corpus.txt")
}

/// For each of its streams, whether it is malformed.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn malformed() -> Vec<bool> {
    let text = fs::read_to_string(corpus()).expect("the corpus is part of the source");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.rsplit('|').next().is_some_and(|expected| expected.contains("error:"))).collect()
}

/// A file beside these tests.
#[must_use]
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("masque").join(name)
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// An IPv4 packet.
#[must_use]
pub fn ipv4(source: [u8; 4], destination: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len() as u16).to_be_bytes();
    let mut packet = vec![0x45, 0, len[0], len[1], 0, 0, 0x40, 0, 64, protocol, 0, 0];
    packet.extend(source.into_iter().chain(destination));
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum);
    packet.extend(payload);
    packet
}

/// The client's request for an echo.
#[must_use]
pub fn ping(sequence: u16) -> Vec<u8> {
    let mut icmp = vec![8, 0, 0, 0, 0x12, 0x34];
    icmp.extend(sequence.to_be_bytes());
    icmp.extend(b"an echo request of the interop tests");
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum);
    ipv4(CLIENT, FAR, 1, &icmp)
}

/// A packet of the client's with a number, `len` bytes in all.
#[must_use]
pub fn numbered(number: u32, len: usize) -> Vec<u8> {
    let mut payload = vec![number as u8; len - 20];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    ipv4(CLIENT, FAR, 253, &payload)
}

/// What the other end makes of a packet: to where it came from, a request for an echo into the echo.
#[must_use]
pub fn echo(packet: &[u8]) -> Vec<u8> {
    let mut back = packet.to_vec();
    back[12..16].copy_from_slice(&packet[16..20]);
    back[16..20].copy_from_slice(&packet[12..16]);
    if packet[9] == 1 && packet[20] == 8 {
        back[20] = 0;
        back[22..24].fill(0);
        let sum = checksum(&back[20..]);
        back[22..24].copy_from_slice(&sum);
    }
    back
}
