//! A WireGuard peer that sends every packet back with source and destination exchanged.
//!
//! A connection of the host's to the other address of the tunnel's network comes back to the host as one from there, so
//! that one machine is both ends, and all that is between passes the tunnel twice. Windows delivers what is sent to an
//! address of its own by itself, whichever adapter has it: two adapters on one machine never talk through a tunnel.
//!
//!     mirror 51900 PRIVATE_KEY_HEX PEER_PUBLIC_KEY_HEX 10.66.0.1/32
//!
//! listens on 127.0.0.1, prints its public key, and runs until its input ends.

use std::{
    env,
    error::Error,
    io::Read,
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};
use vestibule_engine::{
    core::{Engine, EngineConfig, PeerId, PeerKind},
    generation::{GenerationConfig, GenerationId, PrivateKey, PublicKey},
    policy::{Action, Policy},
    random::Seed,
};
use vestibule_platform::{
    adapter::memory::{HostFrame, MemoryHost, pair},
    clock,
    runtime::Worker,
    socket::{Udp, UdpConfig},
};

const PEER: PeerId = PeerId(1);
/// Some 6 MiB of packets of a full size.
const QUEUE: usize = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [port, private, public, owns] = &words[..] else {
        return Err("expected: mirror PORT PRIVATE_KEY_HEX PEER_PUBLIC_KEY_HEX NETWORK".into());
    };
    let private = PrivateKey::new(key(private)?);
    println!("{}", private.public().0.map(|byte| format!("{byte:02x}")).concat());

    let mut seed = [0; 32];
    clock::entropy(&mut seed)?;
    let config = EngineConfig::new(private.clone(), Seed::new(seed), SystemTime::now());
    let mut engine = Engine::new(config, Instant::now());
    engine.set_peer(PEER, PeerKind::Plain, vec![owns.parse()?]);
    let generation = GenerationConfig {
        id: GenerationId(1),
        swap_seq: 0,
        identity: "".into(),
        private_key: private,
        peer_public_key: PublicKey(key(public)?),
        preshared_key: None,
        endpoint: None,
        persistent_keepalive: None,
        policy: Arc::new(Policy::compile(vec![], Action::Allow)),
        last_handshake: [0; 12],
        index: 1,
    };
    engine.renew(PEER, generation, Instant::now())?;

    let socket = Udp::bind(&UdpConfig::new(SocketAddr::from(([127, 0, 0, 1], port.parse()?))))?;
    let (adapter, host) = pair(QUEUE, 1420);
    let (worker, _events) = Worker::spawn(engine, adapter, socket, "mirror")?;
    thread::spawn(move || reflect(&host));
    std::io::stdin().read_to_end(&mut Vec::new())?;
    worker.stop();
    Ok(())
}

fn reflect(host: &MemoryHost) {
    loop {
        let Some(mut frame) = host.receive(Duration::from_secs(1)) else { continue };
        // What the queue has no room for is lost, as on any link.
        if exchange(&mut frame) {
            host.send_frame(frame);
        }
    }
}

/// Exchanges the two addresses; no checksum sees the difference.
fn exchange(frame: &mut HostFrame) -> bool {
    let (first, len) = match frame.bytes.first().map(|byte| byte >> 4) {
        Some(4) => (12, 4),
        Some(6) => (8, 16),
        _ => return false,
    };
    let Some(addresses) = frame.bytes.get_mut(first..first + 2 * len) else { return false };
    addresses.rotate_left(len);
    true
}

fn key(hex: &str) -> Result<[u8; 32], Box<dyn Error>> {
    let bytes: Result<Vec<u8>, _> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2).unwrap_or("?"), 16)).collect();
    bytes?.try_into().map_err(|_| "expected a key of 64 hexadecimal digits".into())
}
