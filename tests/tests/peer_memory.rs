//! What a peer costs while it is idle, counted by the allocator itself.
#![allow(clippy::unwrap_used, missing_docs)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use vestibule_counting::held;
use vestibule_engine::core::{Engine, EngineConfig, PeerId, PeerKind};
use vestibule_engine::generation::{GenerationConfig, GenerationId, PrivateKey};
use vestibule_engine::packet::{Datagram, Datagrams, Ecn};
use vestibule_engine::policy::{Action, Policy};
use vestibule_engine::random::Seed;

#[global_allocator]
static ALLOCATOR: vestibule_counting::Counting = vestibule_counting::Counting;

/// A power of two, so that tables which double are as full as they get.
const PEERS: u64 = 1024;

struct One(Option<Vec<u8>>, Vec<u8>, SocketAddr);

impl Datagrams for One {
    fn next_datagram(&mut self) -> Option<Datagram<'_>> {
        self.1 = self.0.take()?;
        Some(Datagram { stride: self.1.len(), bytes: &mut self.1, source: self.2, ecn: Ecn::NotEct })
    }
}

fn carry(from: &mut Engine, source: SocketAddr, to: &mut Engine, now: Instant) {
    for batch in from.transmits().batches() {
        to.handle_datagrams(&mut One(Some(batch.bytes().to_vec()), Vec::new(), source), now);
    }
    from.transmits().release(usize::MAX);
}

fn key(number: u64) -> PrivateKey {
    let mut bytes = [0; 32];
    // The first byte is clamped.
    bytes[1..9].copy_from_slice(&(number + 1).to_le_bytes());
    PrivateKey::new(bytes)
}

fn engine(key: &PrivateKey, now: Instant) -> Engine {
    let config = EngineConfig::new(key.clone(), Seed::new(*key.expose()), SystemTime::now());
    Engine::new(EngineConfig { max_flows: 16, ..config }, now)
}

#[test]
fn an_idle_peer_costs_little_and_its_session_not_much_more() {
    let now = Instant::now();
    let gateway_key = key(PEERS);
    let policy = Arc::new(Policy::compile(Vec::new(), Action::Allow));
    let identity: Arc<str> = "someone@example.com".into();
    let generation = |ours: &PrivateKey, theirs: &PrivateKey, endpoint, index| GenerationConfig {
        id: GenerationId(u64::from(index)),
        swap_seq: 1,
        identity: Arc::clone(&identity),
        private_key: ours.clone(),
        peer_public_key: theirs.public(),
        preshared_key: None,
        endpoint,
        persistent_keepalive: None,
        policy: Arc::clone(&policy),
        last_handshake: [0; 12],
        index,
    };
    let mut gateway = engine(&gateway_key, now);
    let per_peer = |before: isize| (held() - before) / PEERS as isize;

    let empty = held();
    for number in 0..PEERS {
        let address = std::net::Ipv4Addr::from(0x6460_0000 + number as u32);
        gateway.set_peer(PeerId(number), PeerKind::Device, vec![format!("{address}/32").parse().unwrap()]);
        let config = generation(&gateway_key, &key(number), None, number as u32 + 1);
        gateway.prepare(PeerId(number), config, now).unwrap();
    }
    let configured = per_peer(empty);

    let at_gateway = SocketAddr::from(([192, 0, 2, 1], 51820));
    for number in 0..PEERS {
        let at_device = SocketAddr::from(([198, 51, 100, 1], 1024 + number as u16));
        let mut device = engine(&key(number), now);
        device.set_peer(PeerId(0), PeerKind::Gateway, vec!["0.0.0.0/0".parse().unwrap()]);
        let config = generation(&key(number), &gateway_key, Some(at_gateway), 9);
        device.prepare(PeerId(0), config, now + std::time::Duration::from_secs(number)).unwrap();
        let now = now + std::time::Duration::from_secs(number);
        carry(&mut device, at_device, &mut gateway, now);
        carry(&mut gateway, at_gateway, &mut device, now);
        device.commit(PeerId(0), GenerationId(9), now).unwrap();
        carry(&mut device, at_device, &mut gateway, now);
        gateway.transmits().release(usize::MAX);
        while gateway.poll_event().is_some() {}
        assert!(gateway.active(PeerId(number)).is_some(), "{number}");
    }
    let connected = per_peer(empty);
    println!("bytes per peer: {configured} configured, {connected} with a session");
    assert!(configured <= 1536, "{configured} bytes per configured peer");
    assert!(connected <= 3072, "{connected} bytes per peer with a session");
}
