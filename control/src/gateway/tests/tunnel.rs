//! Both ends of a tunnel: a device's engine swaps, and the gateway writes it down.

use crate::api::device::{EnrolResponse, SwapResponse};
use crate::api::profile::TunnelProtocol;
use crate::crypto::random;
use crate::daemon::order::{Generation, TunnelKey};
use crate::gateway::testing::{Directory, TestDevice, TestGateway};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use crossbeam_channel::Receiver;
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use vestibule_engine::core::{Engine, EngineConfig, Event, PeerId, PeerKind};
use vestibule_engine::generation::{GenerationConfig, GenerationId, HttpChoice, PrivateKey};
use vestibule_engine::policy::{Action, Policy};
use vestibule_engine::random::Seed;
use vestibule_platform::adapter::memory::{MemoryHost, pair};
use vestibule_platform::runtime::{Handle, Worker};

const PEER: PeerId = PeerId(1);
const SOON: Duration = Duration::from_secs(10);

/// A device's data plane on the gateway's network.
struct Plane {
    worker: Handle,
    events: Receiver<Event>,
    host: MemoryHost,
    protocol: TunnelProtocol,
    http: HttpChoice,
}

impl Plane {
    fn new(gateway: &TestGateway, protocol: TunnelProtocol) -> Self {
        Self::over(gateway, (protocol, HttpChoice::Http3Only))
    }

    fn over(gateway: &TestGateway, (protocol, http): (TunnelProtocol, HttpChoice)) -> Self {
        let config =
            EngineConfig::new(PrivateKey::new(random().unwrap()), Seed::new(random().unwrap()), SystemTime::now());
        let engine = Engine::new(config, Instant::now());
        let (adapter, host) = pair(256, 1420);
        let socket = gateway.network.bind("192.0.2.2:0".parse().unwrap()).unwrap();
        let (worker, events) = Worker::spawn(engine, adapter, socket, "device").unwrap();
        worker.carry_streams().unwrap();
        Self { worker, events, host, protocol, http }
    }

    /// Orders a swap and carries it out: true when the gateway has acknowledged it.
    async fn swap(&self, gateway: &TestGateway, device: &TestDevice, enrolled: &EnrolResponse, seq: u64) -> bool {
        let key = TunnelKey::fresh(self.protocol).unwrap();
        let tunnel = (key.public().unwrap(), self.protocol);
        let request = device.swap_request_over(enrolled.registration.id, seq, tunnel);
        let (status, answer) = gateway.device("/swap", Some(&enrolled.token), json!(request)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let order: SwapResponse = serde_json::from_value(answer).unwrap();
        let policy = Arc::new(Policy::compile(Vec::new(), Action::Allow));
        let transport = key.transport(&order, vec![gateway.gateway.facts().https], self.http).unwrap();
        let generation = transport.generation((seq, &enrolled.registration.email, &policy), order.endpoint);
        self.worker
            .with(move |engine, now| {
                engine.set_peer(PEER, PeerKind::Gateway, vec!["0.0.0.0/0".parse().unwrap()]);
                match generation {
                    Generation::WireGuard(config) => {
                        engine.prepare(PEER, GenerationConfig { index: seq as u32, ..config }, now)
                    }
                    Generation::Masque(config) => engine.prepare_masque(PEER, config, now),
                }
            })
            .unwrap()
            .unwrap();
        if !self
            .sees(|event| matches!(event, Event::Ready { generation, .. } if *generation == GenerationId(seq)))
            .await
        {
            return false;
        }
        self.worker.with(move |engine, now| engine.commit(PEER, GenerationId(seq), now)).unwrap().unwrap();
        self.sees(|event| matches!(event, Event::Acknowledged { .. })).await
    }

    async fn sees(&self, wanted: impl Fn(&Event) -> bool) -> bool {
        let until = Instant::now() + SOON;
        while Instant::now() < until {
            match self.events.try_recv() {
                Ok(event) if wanted(&event) => return true,
                Ok(_) => {}
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        false
    }
}

/// Waits until the gateway's status is as `wanted`.
async fn until(gateway: &TestGateway, wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    let deadline = Instant::now() + SOON;
    loop {
        let status = gateway.status().await;
        if wanted(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{status:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn swaps_are_counted_and_a_revocation_ends_the_tunnel_at_once() {
    let ways = [
        (TunnelProtocol::Wireguard, HttpChoice::default()),
        (TunnelProtocol::Masque, HttpChoice::Http3Only),
        (TunnelProtocol::Masque, HttpChoice::Http2Only),
    ];
    for way in ways {
        let directory = Directory::new(&format!("swaps-{way:?}"));
        let gateway = TestGateway::start(&directory).await;
        let token = gateway.enrolling_token().await;
        let device = TestDevice::new();
        let enrolled = device.enrol(&gateway, &token).await;
        let plane = Plane::over(&gateway, way);
        for seq in 1..=3 {
            assert!(plane.swap(&gateway, &device, &enrolled, seq).await, "swap {seq}");
        }
        let status = until(&gateway, |status| status["swaps"] == 3).await;
        assert_eq!(status["devices"][0]["identity"], "non_identity@mycompany.cloudflareaccess.com");
        assert_eq!(status["devices"][0]["address"], "100.96.0.2");
        until(&gateway, |status| status["devices"][0]["last_handshake_at"].is_string()).await;

        let path = format!("/devices/registrations/revoke?id={}", enrolled.registration.id);
        gateway.did(Method::POST, &path, None).await;
        let status = until(&gateway, |status| status["devices"][0]["generations"] == json!([])).await;
        assert_eq!(status["devices"][0]["identity"], json!(null));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_the_highest_order_is_taken_up_again_and_counted_once() {
    for protocol in [TunnelProtocol::Wireguard, TunnelProtocol::Masque] {
        let directory = Directory::new(&format!("again-{protocol:?}"));
        let gateway = TestGateway::start(&directory).await;
        let token = gateway.enrolling_token().await;
        let device = TestDevice::new();
        let enrolled = device.enrol(&gateway, &token).await;
        let plane = Plane::new(&gateway, protocol);
        assert!(plane.swap(&gateway, &device, &enrolled, 1).await);
        until(&gateway, |status| status["swaps"] == 1).await;
        until(&gateway, |status| status["devices"][0]["last_handshake_at"].is_string()).await;
        let network = gateway.network.clone();
        gateway.stop().await;

        let gateway = TestGateway::start_on(&directory, network, |_| {}).await;
        let status = gateway.status().await;
        assert_eq!(status["devices"][0]["generations"][0]["stage"], "preparing", "{status:#}");
        assert_eq!(status["devices"][0]["generations"][0]["swap_seq"], 1);
        assert_eq!(status["swaps"], 1);
        // A replay of an older order, or the same one again, is as stale as before.
        assert_eq!(device.order(&gateway, &enrolled, 1).await.0, StatusCode::CONFLICT);
        assert!(plane.swap(&gateway, &device, &enrolled, 2).await, "and a newer one goes on as ever");
        until(&gateway, |status| status["swaps"] == 2).await;
    }
}

/// A UDP packet of the device, to port 53 of a server behind the gateway.
fn packet() -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 100, 96, 0, 2, 10, 20, 0, 10];
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    packet[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    packet.extend([0x9c, 0x40, 0, 53, 0, 9, 0, 0, b'?']);
    packet
}

/// Sends until the gateway's host has one, and says how long that took.
async fn delivered(plane: &Plane, gateway: &TestGateway, patience: Duration) -> Option<Duration> {
    let began = Instant::now();
    while began.elapsed() < patience {
        assert!(plane.host.send(packet()));
        tokio::time::sleep(Duration::from_millis(50)).await;
        if let Some(frame) = gateway.host.receive(Duration::ZERO) {
            assert_eq!(frame.bytes, packet());
            return Some(began.elapsed());
        }
    }
    None
}

/// WireGuard notices a silent peer after 10 s and tries again after 5 s more.
#[tokio::test(flavor = "multi_thread")]
async fn traffic_survives_a_restart_of_the_gateway_under_the_keys_that_the_device_has() {
    for protocol in [TunnelProtocol::Wireguard, TunnelProtocol::Masque] {
        let directory = Directory::new(&format!("survives-{protocol:?}"));
        let gateway = TestGateway::start(&directory).await;
        let token = gateway.enrolling_token().await;
        let device = TestDevice::new();
        let enrolled = device.enrol(&gateway, &token).await;
        let plane = Plane::new(&gateway, protocol);
        assert!(plane.swap(&gateway, &device, &enrolled, 1).await);
        assert_eq!(delivered(&plane, &gateway, Duration::from_millis(500)).await, None, "no rule lets it pass");
        let allow = json!({ "name": "names", "action": "allow", "traffic": "net.dst.port == 53" });
        gateway.did(Method::POST, "/gateway/rules", Some(allow)).await;
        assert!(delivered(&plane, &gateway, SOON).await.is_some(), "the new rule reaches the running tunnel");
        until(&gateway, |status| status["swaps"] == 1).await;
        let network = gateway.network.clone();
        gateway.stop().await;

        let gateway = TestGateway::start_on(&directory, network, |_| {}).await;
        if protocol == TunnelProtocol::Masque {
            // As the daemon does when the gateway answers again.
            plane.worker.with(|engine, now| engine.rekey(PEER, now)).unwrap();
        }
        assert!(delivered(&plane, &gateway, Duration::from_secs(40)).await.is_some(), "no new order was given");
        let status = until(&gateway, |status| status["devices"][0]["generations"][0]["stage"] == "active").await;
        assert_eq!((&status["swaps"], &status["devices"][0]["generations"][0]["swap_seq"]), (&json!(1), &json!(1)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_peer_stands_by_configuration_and_has_the_users_rules() {
    let directory = Directory::new("plain");
    let key = PrivateKey::new(random().unwrap()).public().0;
    let peer = format!("{},100.96.7.7/32", STANDARD.encode(key)).parse().unwrap();
    let gateway =
        TestGateway::start_on(&directory, Default::default(), |options| options.plain_peers = vec![peer]).await;
    let status = gateway.status().await;
    assert_eq!(status["plain_peers"][0]["identity"], format!("plain:{}", STANDARD.encode(key)));
}
