//! All devices of a gateway knock at the same moment: those above the limit are asked for a cookie, bring it, and are
//! served; traffic of those that are connected is not held up.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};
use vestibule_engine::core::{DropReason, Engine, EngineConfig, Event, PeerId, PeerKind};
use vestibule_engine::generation::{GenerationConfig, GenerationId, PrivateKey};
use vestibule_engine::packet::{Datagram, Datagrams, Ecn};
use vestibule_engine::policy::{Action, Policy};
use vestibule_engine::random::Seed;

const DEVICES: usize = 700;
/// What a gateway serves in a second without asking for proof.
const LIMIT: usize = 500;

struct Wire(VecDeque<(SocketAddr, Vec<u8>)>, Vec<u8>);
impl Datagrams for Wire {
    fn next_datagram(&mut self) -> Option<Datagram<'_>> {
        let (source, bytes) = self.0.pop_front()?;
        self.1 = bytes;
        Some(Datagram { stride: self.1.len(), bytes: &mut self.1, source, ecn: Ecn::NotEct })
    }
}

fn key(number: usize) -> PrivateKey {
    let mut bytes = [7; 32];
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    PrivateKey::new(bytes)
}

fn engine(key: &PrivateKey, now: Instant) -> Engine {
    let config = EngineConfig::new(key.clone(), Seed::new(*key.expose()), UNIX_EPOCH);
    Engine::new(EngineConfig { max_flows: 16, ..config }, now)
}

fn address(number: usize) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 1], 1024 + number as u16))
}

fn sent(engine: &mut Engine) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut sent = Vec::new();
    for batch in engine.transmits().batches() {
        sent.extend(batch.bytes().chunks(batch.segment).map(|bytes| (batch.destination, bytes.to_vec())));
    }
    engine.transmits().release(usize::MAX);
    sent
}

#[test]
fn seven_hundred_devices_at_once_are_all_served_within_two_seconds() {
    let mut now = Instant::now();
    let start = now;
    let gateway_key = key(usize::MAX);
    let at_gateway = SocketAddr::from(([192, 0, 2, 1], 51820));
    let policy = Arc::new(Policy::compile(Vec::new(), Action::Allow));
    let generation = |ours: &PrivateKey, theirs: &PrivateKey, endpoint, number: usize| GenerationConfig {
        id: GenerationId(number as u64),
        swap_seq: 1,
        identity: "someone@example.com".into(),
        private_key: ours.clone(),
        peer_public_key: theirs.public(),
        preshared_key: None,
        endpoint,
        persistent_keepalive: None,
        policy: Arc::clone(&policy),
        last_handshake: [0; 12],
        index: number as u32 + 1,
    };
    let mut gateway = engine(&gateway_key, now);
    let mut devices = Vec::new();
    for number in 0..DEVICES {
        let peer = PeerId(number as u64);
        gateway.set_peer(
            peer,
            PeerKind::Device,
            vec![format!("100.96.{}.{}/32", number / 250, number % 250).parse().unwrap()],
        );
        gateway.prepare(peer, generation(&gateway_key, &key(number), None, number), now).unwrap();
        let mut device = engine(&key(number), now);
        device.set_peer(PeerId(0), PeerKind::Gateway, vec!["0.0.0.0/0".parse().unwrap()]);
        device.prepare(PeerId(0), generation(&key(number), &gateway_key, Some(at_gateway), number), now).unwrap();
        devices.push(device);
    }
    let (mut ready, mut cookies, mut initiations) = (0, 0, 0);
    while ready < DEVICES && now < start + Duration::from_secs(5) {
        for (number, device) in devices.iter_mut().enumerate() {
            device.handle_deadline(now);
            let knocks: VecDeque<_> = sent(device).into_iter().map(|(_, bytes)| (address(number), bytes)).collect();
            initiations += knocks.iter().filter(|(_, bytes)| bytes[0] == 1).count();
            gateway.handle_datagrams(&mut Wire(knocks, Vec::new()), now);
        }
        gateway.handle_deadline(now);
        for (destination, bytes) in sent(&mut gateway) {
            cookies += usize::from(bytes[0] == 3);
            let device = &mut devices[usize::from(destination.port()) - 1024];
            device.handle_datagrams(&mut Wire([(at_gateway, bytes)].into(), Vec::new()), now);
            while let Some(event) = device.poll_event() {
                ready += usize::from(matches!(event, Event::Ready { .. }));
            }
        }
        now += Duration::from_millis(10);
    }
    assert_eq!((ready, cookies), (DEVICES, DEVICES - LIMIT));
    assert_eq!(initiations, DEVICES + cookies, "each was asked once");
    assert!(now - start < Duration::from_secs(2), "{:?}", now - start);
    assert_eq!(gateway.counters().drops(DropReason::HandshakeRefused), cookies as u64);
}
