//! Reading `set=1`, a line at a time.

use super::{AllowedIp, Changes, KeyChange, MAX_LINE, PeerChange, RequestError};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use vestibule_engine::generation::{PrivateKey, PublicKey};
use zeroize::Zeroizing;

/// Most characters of a key or value that an error repeats.
const MAX_QUOTED: usize = 64;

/// Longest word that is repeated as an unknown key.
const MAX_WORD: usize = 40;

/// Collects a request. Nothing of it holds until [`Self::finish`] has said that all of it is sound.
#[derive(Debug)]
pub(crate) struct SetParser {
    changes: Changes,
    lines: usize,
    failed: Option<RequestError>,
    /// The number of a network interface by its name, for `fe80::1%eth0`.
    scope: fn(&str) -> Option<u32>,
}

impl SetParser {
    pub(crate) fn new(scope: fn(&str) -> Option<u32>) -> Self {
        Self { changes: Changes::default(), lines: 0, failed: None, scope }
    }

    /// The next line, without its end. After a bad one the rest is only counted.
    pub(crate) fn line(&mut self, line: &[u8]) {
        self.lines += 1;
        if self.failed.is_none() {
            self.failed = self.read(line).err();
        }
    }

    /// The line that comes now is too long to be kept.
    pub(crate) fn too_long(&mut self) {
        self.lines += 1;
        self.failed.get_or_insert(RequestError::TooLong { line: self.lines });
    }

    /// The whole request, or its first bad line.
    pub(crate) fn finish(self) -> Result<Changes, RequestError> {
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.changes),
        }
    }

    fn read(&mut self, line: &[u8]) -> Result<(), RequestError> {
        if line.len() > MAX_LINE {
            return Err(RequestError::TooLong { line: self.lines });
        }
        let pair = std::str::from_utf8(line).ok().and_then(|line| line.split_once('='));
        let (key, value) = pair.ok_or(RequestError::NotAPair { line: self.lines })?;
        let here = Line { number: self.lines, value };
        if key == "public_key" {
            let public_key = PublicKey(*here.key().ok_or_else(|| here.bad("public_key", DIGITS))?);
            self.changes.peers.push(PeerChange::of(public_key));
            return Ok(());
        }
        match self.changes.peers.last_mut() {
            None => self.changes.device_line(key, &here),
            Some(peer) => peer.line(key, &here, self.scope),
        }
    }
}

const DIGITS: &str = "64 hexadecimal digits";
const TRUE: &str = "true";

impl Changes {
    fn device_line(&mut self, key: &str, line: &Line<'_>) -> Result<(), RequestError> {
        match key {
            "private_key" => self.private_key = Some(line.secret("private_key")?),
            "listen_port" => self.listen_port = Some(line.number("listen_port", "a port, 0 to 65535")?),
            "fwmark" => self.fwmark = Some(line.number("fwmark", "a number, 0 to 4294967295")?),
            "replace_peers" => {
                line.truth("replace_peers")?;
                self.replace_peers = true;
                self.peers.clear();
            }
            _ => return Err(line.unknown("an interface", key)),
        }
        Ok(())
    }
}

impl PeerChange {
    fn of(public_key: PublicKey) -> Self {
        Self {
            public_key,
            remove: false,
            update_only: false,
            preshared_key: None,
            endpoint: None,
            persistent_keepalive: None,
            replace_allowed_ips: false,
            allowed_ips: Vec::new(),
        }
    }

    fn line(&mut self, key: &str, line: &Line<'_>, scope: fn(&str) -> Option<u32>) -> Result<(), RequestError> {
        match key {
            "remove" => self.remove = line.truth("remove")?,
            "update_only" => self.update_only = line.truth("update_only")?,
            "preshared_key" => self.preshared_key = Some(line.secret("preshared_key")?),
            "endpoint" => self.endpoint = Some(line.endpoint(scope)?),
            "persistent_keepalive_interval" => {
                let seconds = line.number("persistent_keepalive_interval", "seconds, 0 to 65535")?;
                self.persistent_keepalive = Some(seconds);
            }
            "replace_allowed_ips" => {
                self.replace_allowed_ips = line.truth("replace_allowed_ips")?;
                self.allowed_ips.clear();
            }
            "allowed_ip" => self.allowed_ips.push(line.allowed_ip()?),
            "protocol_version" if line.value == "1" => {}
            "protocol_version" => return Err(line.bad("protocol_version", "1")),
            _ => return Err(line.unknown("a peer", key)),
        }
        Ok(())
    }
}

/// A line's value, and where it stands.
struct Line<'a> {
    number: usize,
    value: &'a str,
}

impl Line<'_> {
    fn truth(&self, key: &'static str) -> Result<bool, RequestError> {
        if self.value == TRUE { Ok(true) } else { Err(self.bad(key, TRUE)) }
    }

    fn number<N: std::str::FromStr>(&self, key: &'static str, expected: &'static str) -> Result<N, RequestError> {
        // Rust's numbers may begin with a plus sign; the protocol's may not.
        let digits = self.value.bytes().all(|byte| byte.is_ascii_digit());
        self.value.parse().ok().filter(|_| digits).ok_or_else(|| self.bad(key, expected))
    }

    fn key(&self) -> Option<Zeroizing<[u8; 32]>> {
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(self.value, bytes.as_mut()).ok().map(|()| bytes)
    }

    fn secret(&self, name: &'static str) -> Result<KeyChange, RequestError> {
        let bytes = self.key().ok_or(RequestError::BadSecret { line: self.number, key: name })?;
        Ok(if *bytes == [0; 32] { KeyChange::Remove } else { KeyChange::Set(PrivateKey::new(*bytes)) })
    }

    fn endpoint(&self, scope: fn(&str) -> Option<u32>) -> Result<SocketAddr, RequestError> {
        let parsed = self.value.parse().ok().or_else(|| scoped(self.value, scope));
        parsed.ok_or_else(|| self.bad("endpoint", "IPV4:PORT or [IPV6]:PORT"))
    }

    fn allowed_ip(&self) -> Result<AllowedIp, RequestError> {
        let bad = || self.bad("allowed_ip", "ADDRESS/LENGTH, with `-` before it to remove it");
        let network = |text: &str| text.parse::<IpNet>().map(|net| net.trunc()).map_err(|_| bad());
        match self.value.strip_prefix('-') {
            Some(text) => network(text).map(AllowedIp::Remove),
            None => network(self.value).map(AllowedIp::Add),
        }
    }

    fn bad(&self, key: &'static str, expected: &'static str) -> RequestError {
        RequestError::BadValue { line: self.number, key, value: quoted(self.value), expected }
    }

    fn unknown(&self, of: &'static str, key: &str) -> RequestError {
        // A key of WireGuard's in the place of a word ends in `=`, too.
        let word = key.len() <= MAX_WORD && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        RequestError::UnknownKey { line: self.number, of, key: if word { key } else { "(hidden)" }.to_owned() }
    }
}

/// What is shown of a stranger's text.
fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_QUOTED).flat_map(char::escape_default).collect();
    if text.chars().nth(MAX_QUOTED).is_some() {
        shown.push_str("...");
    }
    shown
}

/// `[fe80::1%eth0]:51820`: the system names the interface, the standard library wants its number.
fn scoped(text: &str, scope: fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let (inside, port) = text.strip_prefix('[')?.rsplit_once("]:")?;
    let (address, interface) = inside.split_once('%')?;
    let IpAddr::V6(address) = address.parse().ok()? else { return None };
    let port = port.parse().ok().filter(|_| port.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some(SocketAddr::V6(SocketAddrV6::new(address, port, 0, scope(interface)?)))
}
