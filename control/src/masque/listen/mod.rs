//! The server: an IP proxy for clients that are known beforehand.
//!
//! By file: `told` (what it tells), `streams` (tunnels over HTTP/2), `names` (targets that are names).

mod names;
mod streams;
mod told;

use super::clients::{Admission, ClientProof, admit, own_addresses};
use super::host::{self, HostError, Running};
use super::identity::key_id;
use super::options::MasqueError;
use super::report::Reporter;
use crate::causes::chain;
use crate::daemon::HttpVersions;
use ipnet::IpNet;
use names::Names;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use told::Told;
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
    /// Which versions of HTTP are served: HTTP/3 at UDP, HTTP/2 at TCP.
    pub http: HttpVersions,
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

/// Serves until somebody wants it to end. Everything is taken back.
///
/// # Errors
/// It could not begin, or the packet worker failed.
pub async fn listen(options: ListenOptions, report: Reporter) -> Result<(), MasqueError> {
    let own = own_addresses(&options.addresses)?;
    let clients = admit(options.clients, &options.addresses)?;
    let key_sha256 = hex::encode(key_id(&options.identity)?);
    let tls = Arc::new(tls::server(options.identity)?);

    let [http3, http2] = [HttpVersions::Three, HttpVersions::Two].map(|version| options.http.has(version));
    let mut listen = options.listen;
    let anywhere = SocketAddr::new(unspecified(listen.ip()), 0);
    let socket = host::socket(&UdpConfig::new(if http3 { listen } else { anywhere }))?;
    if http3 {
        // At the same port, which may have been any.
        listen = socket.local_addr().map_err(host::step("open a UDP socket"))?;
    }
    let streams = if http2 { Some(streams::bind(&mut listen)?) } else { None };
    let tun =
        Tun::open(&TunConfig { mtu: options.mtu, ..TunConfig::new(&options.interface) }).map_err(HostError::from)?;
    let masque = PlainMasque {
        settings: host::settings(options.grease),
        server: http3.then(|| MasqueServer { tls: Arc::clone(&tls), templates: options.templates.clone() }),
        routes: options.routes,
        names: true,
    };
    let mut running = Running::start(tun, socket, masque, (1..=clients.len() as u64).map(PeerId).collect())?;
    await_clients(&running, &clients)?;
    let names = Names::new(running.worker.clone());
    if let Some(listener) = streams {
        streams::serve(listener, tls, options.templates, &names)?;
    }
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
        http: [http3.then_some(3), http2.then_some(2)].into_iter().flatten().collect(),
        key_sha256,
        interface: &desired.interface,
        addresses: &desired.addresses,
        clients: clients.len(),
    });
    let ended = serve(&mut running, &clients, &names, report).await;
    running.conclude(ended, Applied::revert(applied), report).await
}

/// Any address of the same IP version.
fn unspecified(of: IpAddr) -> IpAddr {
    if of.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
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

async fn serve(
    running: &mut Running,
    clients: &[Admission],
    resolver: &Names,
    report: Reporter,
) -> Result<(), MasqueError> {
    let names: BTreeMap<_, _> = clients.iter().zip(1..).map(|(client, number)| (PeerId(number), client)).collect();
    while let Some(event) = running.event().await? {
        let (peer, news) = match event {
            Event::Tunnel { peer, news, .. } => (peer, news),
            Event::NameWanted { request, name } => {
                resolver.look_up(request, name);
                continue;
            }
            _ => continue,
        };
        let Some(client) = names.get(&peer) else { continue };
        match news {
            TunnelNews::Opened { endpoint, http } => {
                let (client, addresses) = (&client.name, &client.addresses);
                report.tell(&Told::Opened { client, endpoint, http: http.number(), addresses });
            }
            TunnelNews::Ended(TunnelEnd::InOrder) => {
                report.tell(&Told::Lost { client: &client.name, reason: "closed by the client".to_owned() });
            }
            TunnelNews::Ended(end) => report.tell(&Told::Lost { client: &client.name, reason: chain(&end) }),
            _ => {}
        }
    }
    Ok(())
}
