//! A generation that travels over MASQUE: how it is set up, and how far its tunnel is.

use super::GenerationId;
use crate::masque::ip::{Scope, ScopeError};
use crate::masque::request::{Credentials, Outgoing, Target, UriTemplate};
use crate::masque::session::TunnelId;
use crate::policy::Policy;
use ipnet::IpNet;
use quinn_proto::ConnectionHandle;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first pause before a lost or refused tunnel is asked for again; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How long a new tunnel may take to find out that the path carries the adapter's MTU. Then it is ready without: what
/// does not fit is answered with Packet Too Big.
const MTU_PATIENCE: Duration = Duration::from_secs(2);

/// Everything that makes one generation over MASQUE.
#[derive(Clone, Debug)]
pub struct MasqueConfig {
    /// Its id.
    pub id: GenerationId,
    /// The order to swap that this generation answers; higher wins, a lower one never commits.
    pub swap_seq: u64,
    /// Who the traffic belongs to, for counters and logs (a mail address).
    pub identity: Arc<str>,
    /// The rules that judge this generation's packets.
    pub policy: Arc<Policy>,
    /// Which end we are.
    pub end: MasqueEnd,
}

/// Which end of a tunnel we are.
#[derive(Clone, Debug)]
pub enum MasqueEnd {
    /// The device: it connects.
    Device(Box<MasqueGateway>),
    /// The gateway: the device proves itself by the key of its certificate.
    Gateway {
        /// [`crate::masque::session::tls::key_id`] of it.
        client_key: [u8; 32],
    },
    /// The gateway of plain peers: the client proves itself by a token or a password.
    GatewayBySecret {
        /// [`Credentials::digest`] of it.
        digest: [u8; 32],
    },
    /// The gateway of plain peers: whoever comes while no other has this tunnel.
    GatewayForAnybody,
}

/// A device's gateway, and what is asked of it.
#[derive(Clone, Debug)]
pub struct MasqueGateway {
    /// Where it is.
    pub address: SocketAddr,
    /// The name its certificate is checked for, where it is not its key that counts.
    pub server_name: String,
    /// Whom we believe, and how we prove who we are ([`crate::masque::session::tls::client`]).
    pub tls: Arc<rustls::ClientConfig>,
    /// Where tunnels are asked for.
    pub template: UriTemplate,
    /// What else the request is authorised by.
    pub credentials: Credentials,
    /// The inner addresses that must be ours; none: the gateway is not asked.
    pub addresses: Vec<IpNet>,
    /// Which part of the network the tunnel is for.
    pub asks: MasqueAsks,
}

/// The part of the network a tunnel is asked for; all of it unless told.
#[derive(Clone, Debug, Default)]
pub struct MasqueAsks {
    target: Target,
    protocol: Option<u8>,
    scope: Scope,
}

impl MasqueAsks {
    /// Packets to `target` of `protocol` (`None`: all). Where a name leads, the gateway's routes tell.
    ///
    /// # Errors
    /// The protocol cannot be asked for.
    pub fn new(target: Target, protocol: Option<u8>) -> Result<Self, ScopeError> {
        let targets = match &target {
            Target::Prefix(prefix) => Some(vec![*prefix]),
            Target::Any | Target::Name(_) => None,
        };
        Ok(Self { scope: Scope::new(targets, protocol)?, target, protocol })
    }

    pub(crate) fn scope(&self) -> Scope {
        self.scope.clone()
    }
}

impl MasqueGateway {
    /// The request for a tunnel.
    pub(crate) fn request(&self) -> Outgoing {
        Outgoing::new(&self.template, &self.asks.target, self.asks.protocol, self.credentials.clone())
    }
}

/// A generation's tunnel while it lives.
#[derive(Debug)]
pub(crate) struct MasqueTunnel {
    pub(crate) end: MasqueEnd,
    pub(crate) connection: Option<ConnectionHandle>,
    /// Another connection under way, which will replace it.
    pub(crate) renewing: Option<ConnectionHandle>,
    /// It is open.
    pub(crate) tunnel: Option<TunnelId>,
    /// The longest packet that fits.
    pub(crate) mtu: u16,
    /// The peer has said where it forwards to.
    pub(crate) routed: bool,
    assigned: Vec<IpNet>,
    opened_at: Option<Instant>,
    retry_at: Instant,
    pause: Duration,
}

impl MasqueTunnel {
    pub(crate) fn new(end: MasqueEnd, now: Instant) -> Self {
        Self {
            end,
            connection: None,
            renewing: None,
            tunnel: None,
            mtu: 0,
            routed: false,
            assigned: Vec::new(),
            opened_at: None,
            retry_at: now,
            pause: RETRY_MIN,
        }
    }

    /// The gateway to connect to now: there is no connection, and the last attempt is long enough ago.
    pub(crate) fn wants_connection(&self, now: Instant) -> Option<&MasqueGateway> {
        match &self.end {
            MasqueEnd::Device(gateway) if self.connection.is_none() && self.retry_at <= now => Some(gateway),
            _ => None,
        }
    }

    /// Notes that a connection is being tried.
    pub(crate) fn connecting(&mut self, connection: Option<ConnectionHandle>, now: Instant) {
        self.connection = connection;
        self.retry_at = now + self.pause;
        self.pause = (self.pause * 2).min(RETRY_MAX);
    }

    /// Notes that the tunnel is open.
    pub(crate) fn opened(&mut self, tunnel: TunnelId, now: Instant) {
        self.connection = Some(tunnel.connection);
        self.renewing.take_if(|renewing| *renewing == tunnel.connection);
        self.tunnel = Some(tunnel);
        self.opened_at = Some(now);
        self.pause = RETRY_MIN;
    }

    /// Notes that tunnel and connection are gone.
    pub(crate) fn lost(&mut self, now: Instant) {
        self.connection = None;
        self.tunnel = None;
        self.routed = false;
        self.assigned.clear();
        self.opened_at = None;
        self.retry_at = self.retry_at.max(now + RETRY_MIN);
    }

    /// Notes that connecting begins anew, at once.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.lost(now);
        self.retry_at = now;
    }

    /// Notes what the peer has given us and taken away.
    pub(crate) fn assigned(&mut self, added: &[IpNet], removed: &[IpNet]) {
        self.assigned.retain(|prefix| !removed.contains(prefix));
        self.assigned.extend(added);
    }

    /// What the peer has given us.
    pub(crate) fn addresses(&self) -> &[IpNet] {
        &self.assigned
    }

    /// True when a device's tunnel may carry its traffic: it is open, has our addresses and the peer's routes, and fits
    /// the adapter's packets or has had time to find out that it does not. Its send window is never less than another's
    /// ([`crate::masque::session::Congestion::Breaker`]).
    pub(crate) fn is_ready(&self, mtu: usize, now: Instant) -> bool {
        let MasqueEnd::Device(gateway) = &self.end else { return false };
        let has = |wanted: &IpNet| self.assigned.iter().any(|prefix| prefix.contains(wanted));
        let ours = gateway.addresses.is_empty() || (self.routed && gateway.addresses.iter().all(has));
        let wide = usize::from(self.mtu) >= mtu || self.patience_ends().is_some_and(|end| end <= now);
        self.tunnel.is_some() && ours && wide
    }

    fn patience_ends(&self) -> Option<Instant> {
        Some(self.opened_at? + MTU_PATIENCE)
    }

    /// When something is to be done: a connection is to be tried, or `ready` is to be asked again.
    pub(crate) fn deadline(&self, ready: bool, now: Instant) -> Option<Instant> {
        let MasqueEnd::Device(_) = self.end else { return None };
        match self.connection {
            None => Some(self.retry_at),
            Some(_) => self.patience_ends().filter(|end| !ready && *end > now),
        }
    }
}
