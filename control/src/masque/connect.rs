//! The client: one tunnel, kept open.

use super::front::{self, Dialer, Fronts, Stack};
use super::host::{self, HostError, Running, asked_to_end};
use super::identity::{Trusted, trust};
use super::options::MasqueError;
use super::report::{List, Reporter};
use super::routes;
use crate::causes::chain;
use ipnet::IpNet;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use vestibule_engine::core::{Event, PeerId, PeerKind, PlainMasque, TunnelEnd, TunnelNews};
use vestibule_engine::generation::{GenerationId, HttpChoice, MasqueAsks, MasqueConfig, MasqueEnd, MasqueGateway};
use vestibule_engine::masque::capsule::Routes;
use vestibule_engine::masque::request::{Credentials, ResponseError, UriTemplate};
use vestibule_engine::masque::session::TunnelError;
use vestibule_engine::masque::session::tls::{self, Identity};
use vestibule_engine::policy::{Action, Policy};
use vestibule_platform::adapter::{Tun, TunConfig, memory};
use vestibule_platform::netcfg::{Applied, Desired, NetConfig as _, NetConfigError, PolicyRouting, System};
use vestibule_platform::socket::UdpConfig;

const PEER: PeerId = PeerId(1);
/// Packets between the proxies and the packet worker that may wait, each way.
const QUEUE: usize = 1024;
/// Most routes set on the host.
const MAX_ROUTES: usize = 1024;

/// What to connect to, and how.
#[derive(Debug)]
pub struct ConnectOptions {
    /// Where tunnels are asked for.
    pub template: UriTemplate,
    /// The name the certificate is checked for and the handshake tells, if not the template's host.
    pub server_name: Option<String>,
    /// Whom we believe.
    pub trusted: Trusted,
    /// What we show of ourselves in TLS.
    pub identity: Option<Identity>,
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

#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Told<'a> {
    Connecting {
        peer: &'a str,
        address: SocketAddr,
    },
    Opened {
        endpoint: SocketAddr,
    },
    Assigned {
        addresses: &'a [IpNet],
    },
    Routes {
        routes: &'a [IpNet],
    },
    Mtu {
        mtu: u16,
        #[serde(skip)]
        enough: bool,
    },
    Up {
        interface: &'a str,
        addresses: &'a [IpNet],
        routes: &'a [IpNet],
    },
    Proxies {
        addresses: &'a [IpNet],
        socks: Option<SocketAddr>,
        http: Option<SocketAddr>,
    },
    Lost {
        reason: String,
    },
    End {
        reason: &'static str,
    },
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting { peer, address } => write!(f, "connecting to {peer} at {address}"),
            Self::Opened { endpoint } => write!(f, "tunnel open with {endpoint}"),
            Self::Assigned { addresses } => write!(f, "our addresses: {}", List(addresses)),
            Self::Routes { routes: [] } => f.write_str("the peer forwards nowhere"),
            Self::Routes { routes } => write!(f, "the peer forwards to {}", List(routes)),
            // While the path is explored there are many of them.
            Self::Mtu { enough: true, .. } => Ok(()),
            Self::Mtu { mtu, .. } => write!(f, "packets up to {mtu} bytes fit, which is less than the interface's MTU"),
            Self::Up { interface, addresses, routes } => {
                write!(f, "{interface} is up with {}, routes: {}", List(addresses), List(routes))
            }
            Self::Proxies { addresses, socks, http } => {
                write!(f, "proxies are up with {}", List(addresses))?;
                socks.iter().try_for_each(|at| write!(f, ", SOCKS5 at {at}"))?;
                http.iter().try_for_each(|at| write!(f, ", HTTP CONNECT at {at}"))
            }
            Self::Lost { reason } => write!(f, "no tunnel: {reason}; trying again"),
            Self::End { reason } => write!(f, "ended: {reason}"),
        }
    }
}

/// Connects, and keeps the tunnel until somebody wants it to end. Everything is taken back.
///
/// # Errors
/// It could not begin, the peer refuses for good, or the machine's settings failed.
pub async fn connect(options: ConnectOptions, report: Reporter) -> Result<(), MasqueError> {
    let (host, port) = split(options.template.authority());
    let (host, port) = (host.to_owned(), port.unwrap_or(443));
    let found = tokio::net::lookup_host((host.as_str(), port)).await;
    let peers: Vec<_> = found.map_err(|cause| MasqueError::Resolve { host: host.clone(), cause })?.collect();
    let tls = Arc::new(tls::client(trust(&options.trusted)?, options.identity)?);
    let mut line = Line { peers, next: 0, opened: false };

    let masque = PlainMasque { settings: host::settings(options.grease), server: None, routes: None };
    let fronts = Fronts { socks: options.socks, http: options.http_proxy };
    let (mut running, side) = if fronts == Fronts::default() {
        let config = TunConfig { mtu: options.mtu, ..TunConfig::new(&options.interface) };
        let tun = Tun::open(&config).map_err(HostError::from)?;
        let socket = host::socket(&UdpConfig::device(PolicyRouting::default().mark))?;
        let interface = options.interface;
        (Running::start(tun, socket, masque, vec![PEER])?, Side::Host { interface, desired: None, applied: None })
    } else {
        let (adapter, side) = memory::pair(QUEUE, options.mtu);
        let socket = host::socket(&UdpConfig::new(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))))?;
        let dialer = Stack::start(side, options.mtu as usize, options.dns).map_err(host::step("start a thread"))?;
        let fronts = front::serve(fronts, &dialer).await?;
        (Running::start(adapter, socket, masque, vec![PEER])?, Side::Proxies { dialer, fronts, addresses: Vec::new() })
    };
    let gateway = MasqueGateway {
        address: line.peer(&host)?,
        http2: Vec::new(),
        choice: HttpChoice::Http3Only,
        server_name: options.server_name.unwrap_or_else(|| host.clone()),
        tls,
        template: options.template,
        credentials: options.credentials,
        addresses: if options.ask_addresses { unspecified() } else { Vec::new() },
        asks: options.asks,
    };
    let mut network = Network {
        mtu: options.mtu,
        peers: line.peers.iter().map(SocketAddr::ip).collect(),
        fixed: options.addresses,
        wanted: options.routes.into_iter().map(|route| route.trunc()).collect(),
        assigned: Vec::new(),
        advertised: BTreeSet::new(),
        side,
    };
    let ended = keep(&mut running, &mut line, gateway, &mut network, report).await;
    // First the host forgets the way into the tunnel.
    let reverted = network.revert();
    running.end().await;
    ended?;
    reverted.map_err(HostError::from)?;
    report.tell(&Told::End { reason: "asked to end" });
    Ok(())
}

/// Any address of each version.
fn unspecified() -> Vec<IpNet> {
    vec![IpNet::from(IpAddr::from([0; 4])), IpNet::from(IpAddr::from([0; 16]))]
}

/// Where the peer is, and which of its addresses is tried.
struct Line {
    peers: Vec<SocketAddr>,
    next: usize,
    /// The one in use has worked.
    opened: bool,
}

impl Line {
    fn peer(&self, host: &str) -> Result<SocketAddr, MasqueError> {
        let nothing = || std::io::Error::new(std::io::ErrorKind::NotFound, "it has no addresses");
        let peer = self.peers.get(self.next % self.peers.len().max(1)).copied();
        peer.ok_or_else(|| MasqueError::Resolve { host: host.to_owned(), cause: nothing() })
    }
}

/// Runs until it is asked to end, which is no error.
async fn keep(
    running: &mut Running,
    line: &mut Line,
    mut gateway: MasqueGateway,
    network: &mut Network,
    report: Reporter,
) -> Result<(), MasqueError> {
    let authority = gateway.template.authority().to_owned();
    let mut generation = 0;
    begin(running, &gateway, &mut generation)?;
    report.tell(&Told::Connecting { peer: &authority, address: gateway.address });
    network.apply(report)?;
    let asked = asked_to_end();
    tokio::pin!(asked);
    loop {
        let event = tokio::select! {
            event = running.event() => event,
            () = &mut asked => return Ok(()),
        };
        let Some(event) = event else { return Err(running.stopped().into()) };
        let Event::Tunnel { generation: of, news, .. } = event else { continue };
        if of != GenerationId(generation) {
            continue;
        }
        match news {
            TunnelNews::Opened { endpoint } => {
                line.opened = true;
                report.tell(&Told::Opened { endpoint });
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
            TunnelNews::Ended(end) => {
                if let Some(advice) = final_advice(&end, line.opened) {
                    return Err(MasqueError::Refused { peer: authority, advice, end });
                }
                report.tell(&Told::Lost { reason: chain(&end) });
                // Another of its addresses, if this one has never answered; else the engine tries it again by itself.
                if !std::mem::take(&mut line.opened) && line.peers.len() > 1 {
                    line.next += 1;
                    gateway.address = line.peer(&authority)?;
                    begin(running, &gateway, &mut generation)?;
                    report.tell(&Told::Connecting { peer: &authority, address: gateway.address });
                }
            }
            _ => {}
        }
    }
}

/// Gives the engine the tunnel to make; a former one is given up.
fn begin(running: &Running, gateway: &MasqueGateway, generation: &mut u64) -> Result<(), HostError> {
    *generation += 1;
    let config = MasqueConfig {
        id: GenerationId(*generation),
        swap_seq: 0,
        identity: gateway.template.authority().into(),
        policy: Arc::new(Policy::compile(Vec::new(), Action::Allow)),
        end: MasqueEnd::Device(Box::new(gateway.clone())),
    };
    let begun = running.worker.with(move |engine, now| {
        engine.set_peer(PEER, PeerKind::Plain, vec![IpNet::V4(Default::default()), IpNet::V6(Default::default())]);
        if let Some(former) = engine.active(PEER) {
            engine.retire(PEER, former, now);
        }
        engine.prepare_masque(PEER, config, now)
    })?;
    begun.map_err(|error| HostError::System { step: "begin the tunnel", cause: std::io::Error::other(error) })
}

/// Whether trying again would end the same; with what may help. A tunnel that was open may open again whatever became of
/// it, save that the peer says no.
fn final_advice(end: &TunnelEnd, was_open: bool) -> Option<Option<&'static str>> {
    match end {
        TunnelEnd::Tunnel(TunnelError::Response(ResponseError::Status { status, .. })) => match status {
            401 | 407 => Some(Some("it does not know these credentials: see --bearer-file and --basic-file")),
            403 => Some(Some("it does not let this client in: see --certificate, --bearer-file and --basic-file")),
            404 => Some(Some("it serves no tunnels at this path: see the URL")),
            501 => Some(Some("it does not serve such a target or protocol")),
            408 | 425 | 429 | 500.. => None,
            _ => Some(None),
        },
        TunnelEnd::Tunnel(TunnelError::Response(_)) => Some(None),
        TunnelEnd::Tunnel(TunnelError::NoExtendedConnect) => Some(Some("it is no proxy for IP")),
        TunnelEnd::Connection(error) if !was_open && error.is_tls() => {
            Some(Some("TLS failed: see --ca, --pin and --certificate"))
        }
        _ => None,
    }
}

/// Where packets come from.
enum Side {
    /// The host, through an interface: what it is to be, and is.
    Host { interface: String, desired: Option<Desired>, applied: Option<Applied> },
    /// Proxies' clients.
    Proxies { dialer: Dialer, fronts: Fronts, addresses: Vec<IpNet> },
}

/// Our side of the tunnel.
struct Network {
    mtu: u32,
    peers: Vec<IpAddr>,
    fixed: Vec<IpNet>,
    wanted: BTreeSet<IpNet>,
    assigned: Vec<IpNet>,
    advertised: BTreeSet<IpNet>,
    side: Side,
}

impl Network {
    fn advertise(&mut self, routes: &Routes, report: Reporter) -> Result<(), MasqueError> {
        let prefixes = routes::prefixes(routes);
        report.tell(&Told::Routes { routes: &prefixes.iter().copied().collect::<Vec<_>>() });
        if matches!(self.side, Side::Host { .. }) && self.wanted.is_empty() && prefixes.len() > MAX_ROUTES {
            return Err(MasqueError::TooManyRoutes { got: prefixes.len(), most: MAX_ROUTES });
        }
        self.advertised = prefixes;
        Ok(())
    }

    /// Takes everything back.
    fn revert(&mut self) -> Result<(), NetConfigError> {
        match &mut self.side {
            Side::Host { applied, .. } => applied.take().map_or(Ok(()), Applied::revert),
            Side::Proxies { .. } => Ok(()),
        }
    }

    /// Brings our side to where it is to be.
    fn apply(&mut self, report: Reporter) -> Result<(), HostError> {
        let addresses: Vec<_> = self.fixed.iter().chain(&self.assigned).copied().collect();
        // Without addresses there is nothing to route; those there were stay until others come.
        if addresses.is_empty() {
            return Ok(());
        }
        let routes = if self.wanted.is_empty() { &self.advertised } else { &self.wanted };
        let (interface, former, applied) = match &mut self.side {
            Side::Host { interface, desired, applied } => (interface, desired, applied),
            Side::Proxies { addresses: former, .. } if *former == addresses => return Ok(()),
            Side::Proxies { dialer, fronts, addresses: former } => {
                former.clone_from(&addresses);
                let own: Vec<_> = addresses.into_iter().map(routes::host_of).collect();
                dialer.set_addresses(own.clone());
                report.tell(&Told::Proxies { addresses: &own, socks: fronts.socks, http: fronts.http });
                return Ok(());
            }
        };
        let desired = routes::desired(interface, &addresses, routes.clone(), &self.peers);
        if former.as_ref() == Some(&desired) {
            return Ok(());
        }
        match applied {
            Some(applied) => applied.change(&desired)?,
            none => {
                // Rules may be left by one of this interface's name that was killed.
                let applied = none.insert(System.apply(&routes::no_routes(&desired, &self.peers))?);
                applied.change(&desired)?;
            }
        }
        report.tell(&Told::Up { interface, addresses: &desired.addresses, routes: &desired.routes });
        *former = Some(desired);
        Ok(())
    }
}

/// An authority's host, and its port if it names one.
fn split(authority: &str) -> (&str, Option<u16>) {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (authority, None),
    };
    (host.trim_matches(['[', ']']), port)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn authorities_are_split() {
        assert_eq!(split("proxy.example"), ("proxy.example", None));
        assert_eq!(split("proxy.example:8443"), ("proxy.example", Some(8443)));
        assert_eq!(split("[2001:db8::1]:8443"), ("2001:db8::1", Some(8443)));
        assert_eq!(split("[2001:db8::1]"), ("2001:db8::1", None));
    }

    #[test]
    fn a_refusal_ends_it_and_a_loss_does_not() {
        let status = |status| TunnelEnd::Tunnel(TunnelError::Response(ResponseError::Status { status, reason: None }));
        for code in [301, 400, 401, 403, 404, 501] {
            assert!(final_advice(&status(code), true).is_some(), "{code}");
        }
        for code in [408, 429, 500, 502, 503] {
            assert_eq!(final_advice(&status(code), false), None, "{code}");
        }
        assert_eq!(final_advice(&TunnelEnd::InOrder, false), None);
        assert!(final_advice(&TunnelEnd::Tunnel(TunnelError::NoExtendedConnect), true).is_some());
    }
}
