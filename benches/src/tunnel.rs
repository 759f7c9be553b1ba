//! A MASQUE tunnel between two packet workers, without the control plane.

use rustls::NamedGroup;
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use vestibule_benches::masque::{Credential, GENERATION, PEER, Side, end, end_with};
use vestibule_engine::core::Event;
use vestibule_engine::generation::HttpChoice;
use vestibule_engine::masque::session::tls;
use vestibule_platform::adapter::Adapter;
use vestibule_platform::runtime::{Handle, Worker};
use vestibule_platform::socket::Socket;

/// The device's inner address.
pub(crate) const INNER: &str = "100.96.0.2";
/// Longest wait for the tunnel.
const PATIENCE: Duration = Duration::from_secs(20);

/// Two workers with a tunnel between them. It ends when dropped.
#[derive(Debug)]
pub(crate) struct Tunnel {
    /// How long it took to stand, from the making of the device's engine on.
    pub(crate) connected: Duration,
    _ends: [Handle; 2],
}

impl Tunnel {
    /// Brings it up from `device` to `gateway`, each an adapter and a socket; the latter is reached at `address`.
    pub(crate) fn start<A, S, B, T>(
        device: (A, S),
        gateway: (B, T),
        address: SocketAddr,
        post_quantum: bool,
    ) -> Result<Self, Box<dyn Error>>
    where
        A: Adapter + 'static,
        S: Socket + 'static,
        B: Adapter + 'static,
        T: Socket + 'static,
    {
        let (own, other) = (Credential::fresh(), Credential::fresh());
        let inner = [INNER.parse::<IpAddr>()?.into()];
        let mut provider = tls::provider();
        provider.kx_groups.retain(|group| post_quantum || group.name() != NamedGroup::X25519MLKEM768);

        let side = Side::Gateway { certificate: own.certificate.clone() };
        let engine = end(&other, &side, &inner, [2; 32], Instant::now());
        let (gateway, _) = Worker::spawn(engine, gateway.0, gateway.1, "gateway")?;
        let side =
            Side::Device { certificate: other.certificate.clone(), gateway: address, http: HttpChoice::Http3Only };
        let begun = Instant::now();
        let engine = end_with(provider, &own, &side, &inner, [1; 32], begun);
        let (device, events) = Worker::spawn(engine, device.0, device.1, "device")?;
        while !matches!(events.recv_timeout(PATIENCE)?, Event::Ready { .. }) {}
        let connected = begun.elapsed();
        device.with(move |engine, now| engine.commit(PEER, GENERATION, now))??;
        Ok(Self { connected, _ends: [device, gateway] })
    }
}
