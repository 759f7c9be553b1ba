//! A gateway with many peers, and all of their other ends, in memory.
//!
//! The other ends are peers of one engine, too: each has keys of its own, a destination of its own behind the gateway,
//! and an address of its own outside. So both engines of a crowd are engines with many peers.

use crate::parcel::Parcel;
use ipnet::{IpNet, Ipv4Net};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use vestibule_engine::core::{Engine, EngineConfig, Event, PeerId, PeerKind, PrepareError};
use vestibule_engine::generation::{GenerationConfig, GenerationId, PrivateKey, PublicKey};
use vestibule_engine::policy::{Action, Policy};
use vestibule_engine::random::Seed;

/// Peers that connect at a time while a crowd gathers: below the number at which a gateway asks for cookies.
const AT_A_TIME: u32 = 250;
/// Pause between two such groups.
const PAUSE: Duration = Duration::from_millis(1100);

/// The pause in which an engine looks at traffic before it goes on with handshakes.
const MOMENT: Duration = Duration::from_micros(2);

/// How many there are, and of which kind the gateway takes them to be.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Peers that the gateway knows.
    pub configured: u32,
    /// Those of them that are connected.
    pub active: u32,
    /// [`PeerKind::Device`] or [`PeerKind::Plain`].
    pub kind: PeerKind,
}

/// The gateway and the others.
#[derive(Debug)]
pub struct Crowd {
    /// Knows all peers.
    pub gateway: Engine,
    /// Those that are connected, or try to.
    pub devices: Engine,
    /// The time for both.
    pub now: Instant,
    kind: PeerKind,
    gateway_key: PrivateKey,
    policy: Arc<Policy>,
    identity: Arc<str>,
}

impl Crowd {
    /// A crowd whose active peers have their sessions.
    ///
    /// # Errors
    /// An engine refused a peer.
    pub fn new(shape: Shape) -> Result<Self, PrepareError> {
        let mut crowd = Self::empty(shape.kind);
        for number in 0..shape.configured {
            crowd.configure(number, number < shape.active)?;
        }
        for first in (0..shape.active).step_by(AT_A_TIME as usize) {
            let group = first..shape.active.min(first + AT_A_TIME);
            for number in group.clone() {
                crowd.introduce(number)?;
            }
            crowd.exchange();
            crowd.now += PAUSE;
        }
        Ok(crowd)
    }

    /// Two engines without peers.
    #[must_use]
    pub fn empty(kind: PeerKind) -> Self {
        let now = Instant::now();
        let engine = |byte: u8| {
            let key = PrivateKey::new([byte; 32]);
            let config = EngineConfig::new(key, Seed::new([byte; 32]), SystemTime::now());
            Engine::new(config, now)
        };
        Self {
            gateway: engine(1),
            devices: engine(2),
            now,
            kind,
            gateway_key: PrivateKey::new([1; 32]),
            policy: Arc::new(Policy::compile(Vec::new(), Action::Allow)),
            identity: "user@example.com".into(),
        }
    }

    /// Makes a peer known to the gateway. One that `connects` has a key pair; the key of another is any point.
    ///
    /// # Errors
    /// The gateway refused it.
    pub fn configure(&mut self, number: u32, connects: bool) -> Result<(), PrepareError> {
        let peer = PeerId(u64::from(number));
        let key = if connects { private_key(number).public() } else { PublicKey(key_bytes(number)) };
        self.gateway.set_peer(peer, self.kind, vec![inside(number)]);
        let config = self.generation(number, self.gateway_key.clone(), key, None);
        self.gateway.prepare(peer, config, self.now)
    }

    /// Lets a peer know the gateway; it begins its handshake.
    ///
    /// # Errors
    /// The devices' engine refused it.
    pub fn introduce(&mut self, number: u32) -> Result<(), PrepareError> {
        let peer = PeerId(u64::from(number));
        self.devices.set_peer(peer, PeerKind::Gateway, vec![behind(number)]);
        let config = self.device(number, gateway_of(number));
        self.devices.prepare(peer, config, self.now)
    }

    /// What a device prepares for a gateway at `endpoint`.
    #[must_use]
    pub fn device(&self, number: u32, endpoint: SocketAddr) -> GenerationConfig {
        self.generation(number, private_key(number), self.gateway_key.public(), Some(endpoint))
    }

    fn generation(
        &self,
        number: u32,
        private_key: PrivateKey,
        peer_public_key: PublicKey,
        endpoint: Option<SocketAddr>,
    ) -> GenerationConfig {
        GenerationConfig {
            id: GenerationId(u64::from(number)),
            swap_seq: 1,
            identity: Arc::clone(&self.identity),
            private_key,
            peer_public_key,
            preshared_key: None,
            endpoint,
            persistent_keepalive: None,
            policy: Arc::clone(&self.policy),
            last_handshake: [0; 12],
            // Scattered like the random ones of the product, and unlike each other: the factor is odd.
            index: number.wrapping_mul(0x009e_3779) & 0x00ff_ffff,
        }
    }

    /// Carries datagrams until nobody has anything to say.
    pub fn exchange(&mut self) {
        while self.exchange_once() > 0 {
            self.now += MOMENT;
        }
    }

    /// Carries what both ends have to say once; gives the number of (merged) datagrams.
    pub fn exchange_once(&mut self) -> usize {
        self.run_due();
        let mut up = Parcel::take(&mut self.devices);
        let mut down = Parcel::take(&mut self.gateway);
        let carried = up.len() + down.len();
        self.gateway.handle_datagrams(&mut up.lend(), self.now);
        self.devices.handle_datagrams(&mut down.lend(), self.now);
        self.heed();
        carried
    }

    /// Runs the deadlines that have come.
    pub fn run_due(&mut self) {
        for engine in [&mut self.gateway, &mut self.devices] {
            if engine.poll_deadline().is_some_and(|at| at <= self.now) {
                engine.handle_deadline(self.now);
            }
        }
    }

    /// Carries what the gateway has to say.
    pub fn carry_down(&mut self) {
        let mut down = Parcel::take(&mut self.gateway);
        self.devices.handle_datagrams(&mut down.lend(), self.now);
        self.heed();
    }

    /// Devices commit what is ready; other events are dropped.
    pub fn heed(&mut self) {
        while self.gateway.poll_event().is_some() {}
        while let Some(event) = self.devices.poll_event() {
            if let Event::Ready { peer, generation, .. } = event {
                // It was ready this moment, and nothing drains.
                let committed = self.devices.commit(peer, generation, self.now);
                debug_assert!(committed.is_ok(), "{committed:?}");
            }
        }
    }
}

/// A device's address inside the tunnel.
#[must_use]
pub fn inside(number: u32) -> IpNet {
    host(Ipv4Addr::new(100, 64, 0, 0), number)
}

/// What a device talks to behind the gateway.
#[must_use]
pub fn behind(number: u32) -> IpNet {
    host(Ipv4Addr::new(10, 0, 0, 0), number)
}

/// Where a device sees its gateway. In truth there is one, but so it is known from where to a device a datagram goes.
fn gateway_of(number: u32) -> SocketAddr {
    SocketAddr::new(host(Ipv4Addr::new(198, 19, 0, 0), number).addr(), 51820)
}

fn host(first: Ipv4Addr, number: u32) -> IpNet {
    Ipv4Net::from(Ipv4Addr::from(u32::from(first) + number)).into()
}

fn private_key(number: u32) -> PrivateKey {
    PrivateKey::new(key_bytes(number))
}

fn key_bytes(number: u32) -> [u8; 32] {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}
