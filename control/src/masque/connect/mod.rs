//! The client: one tunnel, kept open.
//!
//! By file: `told` (what it tells), `verdict` (whether trying again makes sense), `network` (the host's side), `fresh` (a
//! certificate that is never old).

mod fresh;
mod network;
mod told;
mod verdict;

pub use fresh::FreshIdentity;

use super::front::{self, Fronts, Stack};
use super::host::{self, HostError, Running};
use super::identity::{Trusted, trust};
use super::options::MasqueError;
use super::peer;
use super::report::Reporter;
use crate::causes::chain;
use ipnet::IpNet;
use network::{Network, Side};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use told::Told;
use verdict::Verdict;
use vestibule_engine::core::{Event, PeerId, PeerKind, PlainMasque, TunnelEnd, TunnelNews};
use vestibule_engine::generation::{GenerationId, HttpChoice, MasqueAsks, MasqueConfig, MasqueEnd, MasqueGateway};
use vestibule_engine::masque::request::{Credentials, Dialect, UriTemplate};
use vestibule_engine::masque::session::Settings;
use vestibule_engine::masque::session::tls::{self, Identity};
use vestibule_engine::policy::{Action, Policy};
use vestibule_platform::adapter::{Tun, TunConfig, memory};
use vestibule_platform::netcfg::PolicyRouting;
use vestibule_platform::socket::UdpConfig;

const PEER: PeerId = PeerId(1);
const ONLY: GenerationId = GenerationId(1);
/// Packets between the proxies and the packet worker that may wait, each way.
const QUEUE: usize = 1024;
/// UDP payload of WARP's first packets, and what its edge takes.
const WARP_INITIAL: u16 = 1242;
/// Where WARP's edge listens besides UDP 443.
const WARP_PORTS: [u16; 6] = [500, 1701, 4500, 4443, 8443, 8095];
/// The name that Zero Trust clients tell WARP's edge.
const WARP_NAME: &str = "zt-masque.cloudflareclient.com";

/// What to connect to, and how.
#[derive(Debug)]
pub struct ConnectOptions {
    /// Where tunnels are asked for.
    pub template: UriTemplate,
    /// Whose rules are kept to.
    pub dialect: Dialect,
    /// Which versions of HTTP are tried.
    pub http: HttpChoice,
    /// Where HTTP/2 is served, if not where HTTP/3 is.
    pub http2_at: Vec<SocketAddr>,
    /// The name the certificate is checked for and the handshake tells, if not the template's host.
    pub server_name: Option<String>,
    /// Whom we believe.
    pub trusted: Trusted,
    /// What we show of ourselves in TLS.
    pub identity: Shown,
    /// What we show with the request.
    pub credentials: Credentials,
    /// Ask for addresses.
    pub ask_addresses: bool,
    /// Our addresses, known from elsewhere.
    pub addresses: Vec<IpNet>,
    /// Part of the network.
    pub asks: MasqueAsks,
    /// Reserved settings, frames and capsules are sent.
    pub grease: bool,
    /// What is routed into the tunnel; empty: what the peer advertises.
    pub routes: Vec<IpNet>,
    /// Name of the interface.
    pub interface: String,
    /// Its MTU.
    pub mtu: u32,
    /// A SOCKS5 proxy here, in place of an interface.
    pub socks: Option<SocketAddr>,
    /// A proxy for HTTP CONNECT here, in place of an interface.
    pub http_proxy: Option<SocketAddr>,
    /// Who resolves the proxies' names, inside the tunnel.
    pub dns: Option<IpAddr>,
}

/// What a client shows of itself in TLS.
#[derive(Debug)]
pub enum Shown {
    /// Nothing.
    Nothing,
    /// A certificate.
    Certificate(Identity),
    /// A key, by a certificate that is made anew when it gets old.
    Key(Box<FreshIdentity>),
}

impl ConnectOptions {
    fn settings(&self) -> Settings {
        let settings = Settings { dialect: self.dialect, ..host::settings(self.grease) };
        match self.dialect {
            Dialect::Rfc9484 => settings,
            Dialect::Warp => Settings { grease: false, initial_mtu: WARP_INITIAL, min_mtu: WARP_INITIAL, ..settings },
        }
    }

    fn tls(&mut self) -> Result<rustls::ClientConfig, MasqueError> {
        let trust = trust(&self.trusted)?;
        Ok(match std::mem::replace(&mut self.identity, Shown::Nothing) {
            Shown::Nothing => tls::client(trust, None)?,
            Shown::Certificate(identity) => tls::client(trust, Some(identity))?,
            Shown::Key(key) => {
                let mut config = tls::client(trust, None)?;
                config.client_auth_cert_resolver = Arc::new(*key);
                config
            }
        })
    }

    /// Where the peer is, by UDP and TCP.
    async fn places(&self) -> Result<(SocketAddr, Vec<SocketAddr>, Vec<SocketAddr>), MasqueError> {
        let authority = self.template.authority();
        let mut places = peer::find(authority, 443).await?;
        let http2 = if self.http2_at.is_empty() { places.clone() } else { self.http2_at.clone() };
        if self.dialect == Dialect::Warp && peer::split(authority).1.is_none() {
            let ports = WARP_PORTS.iter();
            places.extend(ports.flat_map(|port| at_port(&places, *port)).collect::<Vec<_>>());
        }
        let first = places.remove(0);
        Ok((first, places, http2))
    }

    /// What goes into the tunnel whatever the peer says. WARP's edge says nothing, and forwards to everywhere.
    fn routes(&self) -> BTreeSet<IpNet> {
        let everywhere =
            if self.routes.is_empty() && self.dialect == Dialect::Warp { everything() } else { Vec::new() };
        self.routes.iter().copied().chain(everywhere).map(|route| route.trunc()).collect()
    }
}

/// The same hosts at another port.
fn at_port(places: &[SocketAddr], port: u16) -> Vec<SocketAddr> {
    places.iter().map(|place| SocketAddr::new(place.ip(), port)).collect()
}

/// Any address of each version, or all of them.
fn everything() -> Vec<IpNet> {
    vec![IpNet::V4(Default::default()), IpNet::V6(Default::default())]
}

/// Any address of each version.
fn unspecified() -> Vec<IpNet> {
    vec![IpNet::from(IpAddr::from([0; 4])), IpNet::from(IpAddr::from([0; 16]))]
}

/// Connects, and keeps the tunnel until somebody wants it to end. Everything is taken back.
///
/// # Errors
/// It could not begin, the peer refuses for good, or the machine's settings failed.
pub async fn connect(mut options: ConnectOptions, report: Reporter) -> Result<(), MasqueError> {
    let (address, further, http2) = options.places().await?;
    let tls = Arc::new(options.tls()?);
    let wanted = options.routes();
    let mut peers: Vec<_> = [address].iter().chain(&further).chain(&http2).map(SocketAddr::ip).collect();
    peers.sort_unstable();
    peers.dedup();

    let masque = PlainMasque { settings: options.settings(), server: None, routes: None, names: false };
    let fronts = Fronts { socks: options.socks, http: options.http_proxy };
    let (mut running, side) = if fronts == Fronts::default() {
        let config = TunConfig { mtu: options.mtu, ..TunConfig::new(&options.interface) };
        let tun = Tun::open(&config).map_err(HostError::from)?;
        let mark = PolicyRouting::default().mark;
        let socket = host::socket(&UdpConfig::device(mark))?;
        let running = Running::start(tun, socket, masque, vec![PEER])?;
        running.mark(mark)?;
        (running, Side::Host { interface: options.interface, desired: None, applied: None })
    } else {
        let (adapter, side) = memory::pair(QUEUE, options.mtu);
        let socket = host::socket(&UdpConfig::new(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))))?;
        let dialer = Stack::start(side, options.mtu as usize, options.dns).map_err(host::step("start a thread"))?;
        let fronts = front::serve(fronts, &dialer).await?;
        (Running::start(adapter, socket, masque, vec![PEER])?, Side::Proxies { dialer, fronts, addresses: Vec::new() })
    };
    let default_name = match options.dialect {
        Dialect::Rfc9484 => peer::split(options.template.authority()).0,
        Dialect::Warp => WARP_NAME,
    };
    let gateway = MasqueGateway {
        address,
        further,
        http2,
        choice: options.http,
        server_name: options.server_name.unwrap_or_else(|| default_name.to_owned()),
        tls,
        template: options.template,
        credentials: options.credentials,
        addresses: if options.ask_addresses { unspecified() } else { Vec::new() },
        asks: options.asks,
    };
    let mut network = Network {
        mtu: options.mtu,
        peers,
        fixed: options.addresses,
        wanted,
        assigned: Vec::new(),
        advertised: BTreeSet::new(),
        side,
    };
    let ended = keep(&mut running, gateway, &mut network, report).await;
    // First the host forgets the way into the tunnel.
    let reverted = network.revert();
    running.conclude(ended, reverted, report).await
}

/// Runs until it is asked to end, which is no error.
async fn keep(
    running: &mut Running,
    gateway: MasqueGateway,
    network: &mut Network,
    report: Reporter,
) -> Result<(), MasqueError> {
    let authority = gateway.template.authority().to_owned();
    let mut verdict = Verdict::new(gateway.choice);
    report.tell(&Told::Connecting { peer: &authority, address: gateway.address });
    begin(running, gateway)?;
    network.apply(report)?;
    while let Some(event) = running.event().await? {
        let Event::Tunnel { news, .. } = event else { continue };
        match news {
            TunnelNews::Opened { endpoint, http } => {
                verdict.opened();
                report.tell(&Told::Opened { endpoint, http: http.number() });
            }
            // Answers to requests may say again what was assigned before.
            TunnelNews::Assigned(addresses) if network.assigned != addresses => {
                report.tell(&Told::Assigned { addresses: &addresses });
                network.assigned = addresses;
                network.apply(report)?;
            }
            TunnelNews::Routes(routes) => {
                network.advertise(&routes, report)?;
                network.apply(report)?;
            }
            TunnelNews::Mtu(mtu) => report.tell(&Told::Mtu { mtu, enough: u32::from(mtu) >= network.mtu }),
            TunnelNews::Ended(TunnelEnd::Idle) => report.tell(&Told::Idle),
            TunnelNews::Ended(end) => {
                if let Some(advice) = verdict.on(&end) {
                    return Err(MasqueError::Refused { peer: authority, advice, end });
                }
                report.tell(&Told::Lost { reason: chain(&end) });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Gives the engine the tunnel to make.
fn begin(running: &Running, gateway: MasqueGateway) -> Result<(), HostError> {
    let config = MasqueConfig {
        id: ONLY,
        swap_seq: 0,
        identity: gateway.template.authority().into(),
        policy: Arc::new(Policy::compile(Vec::new(), Action::Allow)),
        end: MasqueEnd::Device(Box::new(gateway)),
    };
    let begun = running.worker.with(move |engine, now| {
        engine.set_peer(PEER, PeerKind::Plain, everything());
        engine.prepare_masque(PEER, config, now)
    })?;
    begun.map_err(std::io::Error::other).map_err(host::step("begin the tunnel"))
}
