//! Two ends of a tunnel over MASQUE.

use crate::parcel::Parcel;
use ipnet::{IpNet, Ipv4Net};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use vestibule_engine::core::{Engine, EngineConfig, MasqueServer, PeerId, PeerKind};
use vestibule_engine::generation::{
    GenerationId, HttpChoice, MasqueAsks, MasqueConfig, MasqueEnd, MasqueGateway, PrivateKey,
};
use vestibule_engine::masque::request::{Credentials, UriTemplate};
use vestibule_engine::masque::session::tls;
use vestibule_engine::policy::{Action, Policy};
use vestibule_engine::random::Seed;

/// The other end, at both.
pub const PEER: PeerId = PeerId(1);
/// The only generation.
pub const GENERATION: GenerationId = GenerationId(1);
const SERVER: &str = "gateway.example";

/// A certificate of its own, and its P-256 key, both in DER.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// The key.
    pub key: Vec<u8>,
}

impl Credential {
    /// A fresh one.
    ///
    /// # Panics
    /// When the system has no randomness.
    #[must_use]
    pub fn fresh() -> Self {
        match rcgen::generate_simple_self_signed(vec![SERVER.to_owned()]) {
            Ok(made) => Self { certificate: made.cert.der().to_vec(), key: made.signing_key.serialize_der() },
            Err(error) => panic!("no certificate: {error}"),
        }
    }

    fn identity(&self) -> tls::Identity {
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap_or_else(|error| panic!("the key: {error}"));
        tls::Identity { chain: vec![CertificateDer::from(self.certificate.clone())], key }
    }

    fn public_key(&self) -> Vec<u8> {
        public_key(&self.certificate)
    }

    /// What a gateway serves tunnels with under this certificate.
    ///
    /// # Panics
    /// When this is no certificate and no key.
    #[must_use]
    pub fn server(&self) -> MasqueServer {
        let tls = tls::server(self.identity()).unwrap_or_else(|error| panic!("TLS: {error}"));
        MasqueServer { tls: Arc::new(tls), templates: vec![template()] }
    }
}

fn template() -> UriTemplate {
    UriTemplate::well_known(SERVER).unwrap_or_else(|error| panic!("the template: {error}"))
}

fn public_key(certificate: &[u8]) -> Vec<u8> {
    tls::public_key(&CertificateDer::from(certificate)).unwrap_or_else(|error| panic!("the certificate: {error}"))
}

/// Which end, and what it knows of the other one.
#[derive(Clone, Debug)]
pub enum Side {
    /// It connects to a gateway with this certificate, at this address.
    Device {
        /// DER.
        certificate: Vec<u8>,
        /// Where it is.
        gateway: SocketAddr,
        /// What the tunnel travels over.
        http: HttpChoice,
    },
    /// It awaits a device with this certificate.
    Gateway {
        /// DER.
        certificate: Vec<u8>,
    },
}

/// An engine whose generation is being prepared; it is to be committed at the device once it is ready. `device` are the
/// device's inner addresses.
///
/// # Panics
/// When what is given is no certificate and no key.
#[must_use]
pub fn end(own: &Credential, side: &Side, device: &[IpNet], seed: [u8; 32], now: Instant) -> Engine {
    end_with(tls::provider(), own, side, device, seed, now)
}

/// As [`end`]; a device proposes the algorithms of `provider`.
///
/// # Panics
/// As [`end`].
#[must_use]
pub fn end_with(
    provider: CryptoProvider,
    own: &Credential,
    side: &Side,
    device: &[IpNet],
    seed: [u8; 32],
    now: Instant,
) -> Engine {
    let everywhere = vec![IpNet::from(Ipv4Net::default())];
    let mut engine = Engine::new(EngineConfig::new(PrivateKey::new(seed), Seed::new(seed), SystemTime::now()), now);
    let end = match side {
        Side::Device { certificate, gateway, http } => {
            engine.set_peer(PEER, PeerKind::Gateway, everywhere);
            let trust = tls::Trust::Keys(vec![public_key(certificate)]);
            let tls =
                tls::client_with(provider, trust, Some(own.identity())).unwrap_or_else(|error| panic!("TLS: {error}"));
            MasqueEnd::Device(Box::new(MasqueGateway {
                address: *gateway,
                further: Vec::new(),
                http2: vec![*gateway],
                choice: *http,
                server_name: SERVER.to_owned(),
                tls: Arc::new(tls),
                template: template(),
                credentials: Credentials::None,
                addresses: device.to_vec(),
                asks: MasqueAsks::default(),
            }))
        }
        Side::Gateway { certificate } => {
            engine.set_peer(PEER, PeerKind::Device, device.to_vec());
            engine.serve_masque(own.server(), now).unwrap_or_else(|error| panic!("QUIC: {error}"));
            MasqueEnd::Gateway { client_key: tls::key_id(&public_key(certificate)) }
        }
    };
    let policy = Arc::new(Policy::compile(Vec::new(), Action::Allow));
    let config = MasqueConfig { id: GENERATION, swap_seq: 1, identity: "someone@example.com".into(), policy, end };
    engine.prepare_masque(PEER, config, now).unwrap_or_else(|error| panic!("the generation: {error}"));
    engine
}

/// Both ends in memory, with a tunnel that stands.
#[derive(Debug)]
pub struct Pair {
    /// The device at 198.18.0.1, which has 100.96.0.2 inside.
    pub device: Engine,
    /// The gateway at 198.19.0.1.
    pub gateway: Engine,
    /// The time, which is the caller's to move.
    pub now: Instant,
}

impl Pair {
    /// A tunnel.
    ///
    /// # Panics
    /// When it does not come about.
    #[must_use]
    pub fn new() -> Self {
        let now = Instant::now();
        let (device, gateway) = (Credential::fresh(), Credential::fresh());
        debug_assert_ne!(device.public_key(), gateway.public_key());
        let inner = [IpNet::from(IpAddr::V4(Ipv4Addr::new(100, 96, 0, 2)))];
        let to_gateway = Side::Device {
            http: HttpChoice::Http3Only,
            certificate: gateway.certificate.clone(),
            gateway: SocketAddr::from(([198, 19, 0, 1], 51820)),
        };
        let of_device = Side::Gateway { certificate: device.certificate.clone() };
        let mut pair = Self {
            device: end(&device, &to_gateway, &inner, [1; 32], now),
            gateway: end(&gateway, &of_device, &inner, [2; 32], now),
            now,
        };
        for engine in [&mut pair.device, &mut pair.gateway] {
            engine.set_mtu(1420);
        }
        pair.settle();
        pair.device.commit(PEER, GENERATION, now).unwrap_or_else(|error| panic!("{error}"));
        pair.settle();
        assert_eq!(pair.gateway.active(PEER), Some(GENERATION), "a tunnel stands");
        pair
    }

    /// Lets both ends talk until neither has more to say.
    pub fn settle(&mut self) {
        loop {
            self.now += Duration::from_micros(50);
            for engine in [&mut self.device, &mut self.gateway] {
                engine.handle_deadline(self.now);
            }
            let (mut up, mut down) = (Parcel::take(&mut self.device), Parcel::take(&mut self.gateway));
            if up.is_empty() && down.is_empty() {
                break;
            }
            self.gateway.handle_datagrams(&mut up.lend(), self.now);
            self.device.handle_datagrams(&mut down.lend(), self.now);
        }
        while self.device.poll_event().is_some() || self.gateway.poll_event().is_some() {}
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}
