//! The server: an IP proxy for clients that are known beforehand.

use super::clients::{Admission, ClientProof, admit, own_addresses};
use super::host::{self, HostError, Running, asked_to_end};
use super::identity::key_id;
use super::options::MasqueError;
use super::report::{List, Reporter};
use crate::causes::chain;
use ipnet::IpNet;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use vestibule_engine::core::{Event, MasqueServer, PeerId, PeerKind, PlainMasque, TunnelEnd, TunnelNews};
use vestibule_engine::generation::{GenerationId, MasqueConfig};
use vestibule_engine::masque::request::UriTemplate;
use vestibule_engine::masque::session::tls::{self, Identity};
use vestibule_engine::policy::{Action, Policy};
use vestibule_platform::adapter::{Tun, TunConfig};
use vestibule_platform::netcfg::{Applied, Desired, NetConfig as _, Routing, System};
use vestibule_platform::socket::{Socket as _, UdpConfig};

/// Clients set up in one go between two batches of packets.
const CLIENTS: usize = 256;

/// What to serve, and for whom.
#[derive(Debug)]
pub struct ListenOptions {
    /// Where.
    pub listen: SocketAddr,
    /// Paths of tunnels.
    pub templates: Vec<UriTemplate>,
    /// What we show of ourselves.
    pub identity: Identity,
    /// Who may come.
    pub clients: Vec<ClientProof>,
    /// Inner addresses, one prefix of each IP version: the first host is ours, clients get the next ones in order.
    pub addresses: Vec<IpNet>,
    /// What clients may reach; `None`: whatever they ask for.
    pub routes: Option<Vec<IpNet>>,
    /// Turn on the host's forwarding.
    pub forward: bool,
    /// Reserved settings, frames and capsules are sent.
    pub grease: bool,
    /// Name of the interface.
    pub interface: String,
    /// Its MTU.
    pub mtu: u32,
}

#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Told<'a> {
    Ready { listen: SocketAddr, key_sha256: String, interface: &'a str, addresses: &'a [IpNet], clients: usize },
    Opened { client: &'a str, endpoint: SocketAddr, addresses: &'a [IpNet] },
    Lost { client: &'a str, reason: String },
    End { reason: &'static str },
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { listen, key_sha256, interface, addresses, clients } => write!(
                f,
                "listening at UDP {listen} for {clients} clients, {interface} has {}\n\
                 our key, for --pin: {key_sha256}",
                List(addresses)
            ),
            Self::Opened { client, endpoint, addresses } => {
                write!(f, "{client}: tunnel open with {endpoint}, addresses {}", List(addresses))
            }
            Self::Lost { client, reason } => write!(f, "{client}: tunnel ended: {reason}"),
            Self::End { reason } => write!(f, "ended: {reason}"),
        }
    }
}

/// Serves until somebody wants it to end. Everything is taken back.
///
/// # Errors
/// It could not begin, or the packet worker failed.
pub async fn listen(options: ListenOptions, report: Reporter) -> Result<(), MasqueError> {
    let own = own_addresses(&options.addresses)?;
    let clients = admit(options.clients, &options.addresses)?;
    let key_sha256 = hex::encode(key_id(&options.identity)?);
    let tls = Arc::new(tls::server(options.identity)?);

    let socket = host::socket(&UdpConfig::new(options.listen))?;
    let listen = socket.local_addr().map_err(host::step("open a UDP socket"))?;
    let tun =
        Tun::open(&TunConfig { mtu: options.mtu, ..TunConfig::new(&options.interface) }).map_err(HostError::from)?;
    let masque = PlainMasque {
        settings: host::settings(options.grease),
        server: Some(MasqueServer { tls, templates: options.templates }),
        routes: options.routes,
    };
    let mut running = Running::start(tun, socket, masque, (1..=clients.len() as u64).map(PeerId).collect())?;
    await_clients(&running, &clients)?;
    let desired = Desired {
        interface: options.interface,
        addresses: own,
        routes: Vec::new(),
        routing: Routing::Main,
        forwarding: options.forward,
    };
    let applied = System.apply(&desired).map_err(HostError::from)?;
    report.tell(&Told::Ready {
        listen,
        key_sha256,
        interface: &desired.interface,
        addresses: &desired.addresses,
        clients: clients.len(),
    });
    let ended = serve(&mut running, &clients, report).await;
    let reverted = Applied::revert(applied);
    running.end().await;
    ended?;
    reverted.map_err(HostError::from)?;
    report.tell(&Told::End { reason: "asked to end" });
    Ok(())
}

/// Tells the engine who may come. Client `n` is peer and generation `n + 1`.
fn await_clients(running: &Running, clients: &[Admission]) -> Result<(), HostError> {
    let policy = Arc::new(Policy::compile(Vec::new(), Action::Allow));
    let orders = clients.iter().zip(1..).filter_map(|(client, number)| {
        let config = MasqueConfig {
            id: GenerationId(number),
            swap_seq: 0,
            identity: client.name.as_str().into(),
            policy: Arc::clone(&policy),
            end: client.proof.end()?,
        };
        Some((PeerId(number), client.addresses.clone(), config))
    });
    let orders: Vec<_> = orders.collect();
    for some in orders.chunks(CLIENTS) {
        let some = some.to_vec();
        let done = running.worker.with(move |engine, now| {
            some.into_iter().try_for_each(|(peer, addresses, config)| {
                engine.set_peer(peer, PeerKind::Plain, addresses);
                engine.prepare_masque(peer, config, now)
            })
        })?;
        done.map_err(std::io::Error::other).map_err(host::step("await a client"))?;
    }
    Ok(())
}

async fn serve(running: &mut Running, clients: &[Admission], report: Reporter) -> Result<(), MasqueError> {
    let names: BTreeMap<_, _> = clients.iter().zip(1..).map(|(client, number)| (PeerId(number), client)).collect();
    let asked = asked_to_end();
    tokio::pin!(asked);
    loop {
        let event = tokio::select! {
            event = running.event() => event,
            () = &mut asked => return Ok(()),
        };
        let Some(event) = event else { return Err(running.stopped().into()) };
        let Event::Tunnel { peer, news, .. } = event else { continue };
        let Some(client) = names.get(&peer) else { continue };
        match news {
            TunnelNews::Opened { endpoint } => {
                report.tell(&Told::Opened { client: &client.name, endpoint, addresses: &client.addresses });
            }
            TunnelNews::Ended(TunnelEnd::InOrder) => {
                report.tell(&Told::Lost { client: &client.name, reason: "closed by the client".to_owned() });
            }
            TunnelNews::Ended(end) => report.tell(&Told::Lost { client: &client.name, reason: chain(&end) }),
            _ => {}
        }
    }
}
