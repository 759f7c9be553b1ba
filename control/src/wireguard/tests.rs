//! An interface over memory twins: requests in, answers and the engine's state out.
#![allow(clippy::unwrap_used)]

use super::device::{Device, Handshakes};
use super::server::serve;
use std::io::{self, Cursor, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};
use vestibule_engine::core::{Engine, EngineConfig};
use vestibule_engine::generation::PrivateKey;
use vestibule_engine::random::Seed;
use vestibule_platform::adapter::memory::{MemoryHost, pair};
use vestibule_platform::runtime::{Handle, Worker};
use vestibule_platform::socket::memory::Hub;

struct World {
    device: Mutex<Device>,
    worker: Handle,
    network: Hub,
    _host: MemoryHost,
}

fn hex_of(byte: u8) -> String {
    hex::encode([byte; 32])
}

/// The public key of the private key `[byte; 32]`.
fn public(byte: u8) -> String {
    hex::encode(PrivateKey::new([byte; 32]).public().0)
}

impl World {
    fn new() -> Self {
        let config = EngineConfig::new(PrivateKey::new([200; 32]), Seed::new([1; 32]), SystemTime::now());
        let (adapter, host) = pair(16, 1420);
        let network = Hub::new();
        let socket = network.bind("192.0.2.1:40000".parse().unwrap()).unwrap();
        let (worker, events) = Worker::spawn(Engine::new(config, Instant::now()), adapter, socket, "test").unwrap();
        std::thread::spawn(move || events.into_iter().for_each(drop));
        let device = Mutex::new(Device::new(worker.clone(), Arc::new(Handshakes::default()), 40000));
        Self { device, worker, network, _host: host }
    }

    /// What a client that sends `text` and leaves is told.
    fn ask(&self, text: &str) -> String {
        let mut client = Client { sends: Cursor::new(text.as_bytes().to_vec()), hears: Vec::new() };
        serve(&mut client, &self.device).unwrap();
        String::from_utf8(client.hears).unwrap()
    }

    fn set(&self, text: &str) -> i32 {
        let answer = self.ask(&format!("set=1\n{text}\n\n"));
        answer.strip_prefix("errno=").unwrap().trim().parse().unwrap()
    }

    fn get(&self) -> String {
        let answer = self.ask("get=1\n\n");
        answer.strip_suffix("errno=0\n\n").unwrap().to_owned()
    }

    /// The lines of one peer.
    fn peer(&self, public_key: &str) -> Option<Vec<String>> {
        let all = self.get();
        let from = all.split("public_key=").find(|part| part.starts_with(public_key))?;
        Some(from.lines().skip(1).map(ToOwned::to_owned).collect())
    }

    fn allowed(&self, public_key: &str) -> Vec<String> {
        let lines = self.peer(public_key).unwrap_or_default();
        lines.iter().filter_map(|line| line.strip_prefix("allowed_ip=").map(ToOwned::to_owned)).collect()
    }

    fn generations(&self) -> Vec<u64> {
        self.worker.with(|engine, _| engine.counters().generations()).unwrap().iter().map(|found| found.id.0).collect()
    }
}

struct Client {
    sends: Cursor<Vec<u8>>,
    hears: Vec<u8>,
}

impl Read for Client {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // In small pieces, as a stream may.
        let len = buffer.len().min(7);
        self.sends.read(&mut buffer[..len])
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hears.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_is_set_is_told() {
    let world = World::new();
    assert_eq!(world.get(), "listen_port=40000\n");
    let (own, peer) = (hex_of(1), public(2));
    let set = format!(
        "private_key={own}\nlisten_port=51820\nfwmark=77\npublic_key={peer}\npreshared_key={}\n\
         endpoint=[2001:db8::7]:9\npersistent_keepalive_interval=0\nallowed_ip=10.0.0.7/24\nallowed_ip=::/0",
        hex_of(3)
    );
    assert_eq!(world.set(&set), 0);
    assert!(world.get().starts_with(&format!("private_key={own}\nlisten_port=51820\nfwmark=77\npublic_key={peer}\n")));
    let expected = [
        &format!("preshared_key={}", hex_of(3)),
        "protocol_version=1",
        "endpoint=[2001:db8::7]:9",
        "last_handshake_time_sec=0",
        "last_handshake_time_nsec=0",
        "tx_bytes=0",
        "rx_bytes=0",
        "persistent_keepalive_interval=0",
        "allowed_ip=10.0.0.0/24",
        "allowed_ip=::/0",
    ];
    assert_eq!(world.peer(&peer).unwrap(), expected);
    assert_eq!(world.generations(), [1]);
}

#[test]
fn one_client_may_ask_many_times_and_a_stranger_is_shown_out() {
    let world = World::new();
    let answer = world.ask("get=1\n\nset=1\nfwmark=5\n\nget=1\n\nhello\nget=1\n\n");
    assert_eq!(answer, "listen_port=40000\nerrno=0\n\nerrno=0\n\nlisten_port=40000\nfwmark=5\nerrno=0\n\n");
    assert_eq!(world.ask("get=1\nmore=1\n\nget=1\n\n"), "errno=-22\n\nlisten_port=40000\nfwmark=5\nerrno=0\n\n");
    assert_eq!(world.ask(&format!("{}\n", "a".repeat(5000))), "");
}

#[test]
fn a_bad_request_changes_nothing() {
    let world = World::new();
    let sound = format!("private_key={}\npublic_key={}\nallowed_ip=10.0.0.1/32", hex_of(1), public(2));
    assert_eq!(world.set(&sound), 0);
    let before = world.get();
    let bad = format!(
        "private_key={}\nlisten_port=1234\nreplace_peers=true\npublic_key={}\nallowed_ip=10.0.0.1/33",
        hex_of(5),
        public(6)
    );
    assert_eq!(world.set(&bad), -22);
    assert_eq!(world.set(&format!("listen_port=1234\n{}", "a".repeat(2000))), -71);
    // The client has left in the middle of it.
    assert_eq!(world.ask("set=1\nlisten_port=1234\n"), "errno=-71\n\n");
    // The port is somebody else's.
    let _taken = world.network.bind("192.0.2.1:1234".parse::<SocketAddr>().unwrap()).unwrap();
    assert!(world.set(&format!("private_key={}\nlisten_port=1234\nreplace_peers=true", hex_of(5))) < 0);
    assert_eq!(world.get(), before);
    assert_eq!(world.generations(), [1]);
}

#[test]
fn an_allowed_ip_moves_to_whom_it_is_given_last() {
    let world = World::new();
    let (one, two) = (public(2), public(3));
    assert_eq!(world.set(&format!("private_key={}", hex_of(1))), 0);
    assert_eq!(world.set(&format!("public_key={one}\nallowed_ip=10.0.0.0/8\nallowed_ip=10.1.0.0/16")), 0);
    assert_eq!(world.set(&format!("public_key={two}\nallowed_ip=10.1.2.3/16")), 0);
    assert_eq!((world.allowed(&one), world.allowed(&two)), (vec!["10.0.0.0/8".into()], vec!["10.1.0.0/16".into()]));
    // Removing what is another's takes nothing from it.
    assert_eq!(world.set(&format!("public_key={one}\nallowed_ip=-10.1.0.0/16\nallowed_ip=-10.0.0.0/8")), 0);
    assert_eq!((world.allowed(&one).len(), world.allowed(&two).len()), (0, 1));
    assert_eq!(world.set(&format!("public_key={two}\nreplace_allowed_ips=true\nallowed_ip=fd00::1/128")), 0);
    assert_eq!(world.allowed(&two), ["fd00::1/128"]);
    assert_eq!(world.set(&format!("public_key={one}\nallowed_ip=10.1.0.0/16")), 0);
    assert_eq!(world.allowed(&one), ["10.1.0.0/16"]);
}

#[test]
fn peers_come_and_go() {
    let world = World::new();
    let (one, two) = (public(2), public(3));
    assert_eq!(world.set(&format!("private_key={}", hex_of(1))), 0);
    assert_eq!(world.set(&format!("public_key={one}\nupdate_only=true\nallowed_ip=10.0.0.1/32")), 0);
    assert_eq!(world.peer(&one), None);
    assert_eq!(world.set(&format!("public_key={one}\nallowed_ip=10.0.0.1/32\npublic_key={two}")), 0);
    assert_eq!(world.generations(), [1, 2]);
    assert_eq!(world.set(&format!("public_key={one}\nremove=true\npublic_key={}\nremove=true", public(9))), 0);
    assert_eq!(world.peer(&one), None);
    assert_eq!(world.generations().len(), 1);
    // Another peer takes the place of the removed one in the engine, and has nothing of it.
    let three = public(4);
    assert_eq!(world.set(&format!("public_key={three}")), 0);
    assert_eq!(world.allowed(&three), Vec::<String>::new());
    assert_eq!(world.set("replace_peers=true"), 0);
    assert!(!world.get().contains("public_key"));
    assert_eq!(world.generations(), Vec::<u64>::new());
}

#[test]
fn a_peer_that_is_replaced_by_itself_keeps_its_session_and_none_of_its_settings() {
    let world = World::new();
    let (one, two) = (public(2), public(3));
    let peer = format!("public_key={one}\npersistent_keepalive_interval=25\nallowed_ip=10.0.0.1/32");
    assert_eq!(world.set(&format!("private_key={}\n{peer}\npublic_key={two}", hex_of(1))), 0);
    assert_eq!(world.set(&format!("replace_peers=true\npublic_key={one}")), 0);
    assert_eq!(world.generations().len(), 1, "the other one is gone, this one is not new");
    let lines = world.peer(&one).unwrap();
    assert!(lines.contains(&"persistent_keepalive_interval=0".into()) && world.allowed(&one).is_empty(), "{lines:?}");
    assert_eq!(world.peer(&two), None);
}

#[test]
fn settings_change_in_place_and_another_key_begins_anew() {
    let world = World::new();
    let (one, own) = (public(2), public(7));
    assert_eq!(world.set(&format!("private_key={}\npublic_key={one}\npublic_key={own}", hex_of(1))), 0);
    let before = world.generations();
    assert_eq!(
        world.set(&format!("public_key={one}\npreshared_key={}\npersistent_keepalive_interval=5", hex_of(9))),
        0
    );
    assert_eq!(world.set(&format!("private_key={}", hex_of(1))), 0);
    assert_eq!(world.generations(), before);
    // The new key is one of the peers': that peer is ourselves, and goes.
    assert_eq!(world.set(&format!("private_key={}", hex_of(7))), 0);
    assert_eq!(world.peer(&own), None);
    assert_eq!(world.worker.with(|engine, _| engine.public_key()).unwrap(), PrivateKey::new([7; 32]).public());
    let after = world.generations();
    assert!(after.iter().any(|id| !before.contains(id)), "{before:?} {after:?}");
    assert_eq!(world.set(&format!("public_key={own}\nallowed_ip=10.0.0.1/32")), 0);
    assert_eq!(world.peer(&own), None, "no peer of our own key");
    // Without a key nothing is left but the settings.
    assert_eq!(world.set(&format!("private_key={}", hex_of(0))), 0);
    assert!(!world.get().contains("private_key") && world.peer(&one).is_some());
    assert_eq!(world.worker.with(|engine, _| engine.active(vestibule_engine::core::PeerId(1))).unwrap(), None);
}
