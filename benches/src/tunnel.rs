//! A MASQUE tunnel between two packet workers, without the control plane.

use rustls::NamedGroup;
use rustls::pki_types::PrivateKeyDer;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use vestibule_engine::core::{Engine, EngineConfig, Event, MasqueServer, PeerId, PeerKind};
use vestibule_engine::generation::{GenerationId, MasqueConfig, MasqueEnd, MasqueGateway, PrivateKey};
use vestibule_engine::masque::request::{Credentials, UriTemplate};
use vestibule_engine::masque::session::tls;
use vestibule_engine::policy::{Action, Policy};
use vestibule_engine::random::Seed;
use vestibule_platform::adapter::Adapter;
use vestibule_platform::runtime::{Handle, Worker};
use vestibule_platform::socket::Socket;

/// The device's inner address.
pub(crate) const INNER: &str = "100.96.0.2";
const PEER: PeerId = PeerId(1);
/// Longest wait for the tunnel.
const PATIENCE: Duration = Duration::from_secs(20);

/// Two workers with a tunnel between them. It ends when dropped.
#[derive(Debug)]
pub(crate) struct Tunnel {
    /// How long it took to stand.
    pub(crate) connected: Duration,
    _ends: [Handle; 2],
}

/// An adapter and a socket.
pub(crate) type End<A, S> = (A, S);

impl Tunnel {
    /// Brings it up from `device` to `gateway`, who is reached at `address`. The clock starts when both are ready to
    /// begin.
    pub(crate) fn start<A, S, B, T>(
        device: End<A, S>,
        gateway: End<B, T>,
        address: std::net::SocketAddr,
        post_quantum: bool,
    ) -> Result<Self, Box<dyn Error>>
    where
        A: Adapter + 'static,
        S: Socket + 'static,
        B: Adapter + 'static,
        T: Socket + 'static,
    {
        let template = UriTemplate::well_known("gateway.example")?;
        let (server, client) = (identity("gateway.example")?, identity("device")?);
        let pinned = tls::public_key(&server.chain[0])?;
        let client_key = tls::key_id(&tls::public_key(&client.chain[0])?);
        let mut provider = tls::provider();
        provider.kx_groups.retain(|group| post_quantum || group.name() != NamedGroup::X25519MLKEM768);
        let tls_client = Arc::new(tls::client_with(provider, tls::Trust::Keys(vec![pinned]), Some(client))?);
        let server = MasqueServer { tls: Arc::new(tls::server(server)?), templates: vec![template.clone()] };

        let inner = format!("{INNER}/32");
        let (gateway, _) = Worker::spawn(engine(9, PeerKind::Device, &inner)?, gateway.0, gateway.1, "gateway")?;
        let (device, events) = Worker::spawn(engine(8, PeerKind::Gateway, "0.0.0.0/0")?, device.0, device.1, "device")?;
        let make = |end| MasqueConfig {
            id: GenerationId(1),
            swap_seq: 1,
            identity: "someone@example.com".into(),
            policy: Arc::new(Policy::compile(vec![], Action::Allow)),
            end,
        };
        let awaited = make(MasqueEnd::Gateway { client_key });
        let prepared = gateway.with(move |engine, now| {
            let served = engine.serve_masque(server, now).map_err(|error| error.to_string());
            served.and_then(|()| engine.prepare_masque(PEER, awaited, now).map_err(|error| error.to_string()))
        })?;
        prepared?;
        let begun = Instant::now();
        let wanted = make(MasqueEnd::Device(Box::new(MasqueGateway {
            address,
            server_name: "gateway.example".to_owned(),
            tls: tls_client,
            template,
            credentials: Credentials::None,
            addresses: vec![inner.parse()?],
        })));
        device.with(move |engine, now| engine.prepare_masque(PEER, wanted, now))??;
        while !matches!(events.recv_timeout(PATIENCE)?, Event::Ready { .. }) {}
        let connected = begun.elapsed();
        device.with(move |engine, now| engine.commit(PEER, GenerationId(1), now))??;
        Ok(Self { connected, _ends: [device, gateway] })
    }
}

fn identity(name: &str) -> Result<tls::Identity, Box<dyn Error>> {
    let signed = rcgen::generate_simple_self_signed(vec![name.to_owned()])?;
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der())?;
    Ok(tls::Identity { chain: vec![signed.cert.into()], key })
}

fn engine(key: u8, kind: PeerKind, owns: &str) -> Result<Engine, Box<dyn Error>> {
    let config = EngineConfig::new(PrivateKey::new([key; 32]), Seed::new([key; 32]), SystemTime::now());
    let mut engine = Engine::new(config, Instant::now());
    engine.set_peer(PEER, kind, vec![owns.parse()?]);
    Ok(engine)
}
