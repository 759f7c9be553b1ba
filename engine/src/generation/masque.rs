//! How a generation over MASQUE is set up.

use super::GenerationId;
use super::attempts::HttpChoice;
use crate::masque::ip::{Scope, ScopeError};
use crate::masque::request::{Credentials, Outgoing, Target, UriTemplate};
use crate::policy::Policy;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::sync::Arc;

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
    /// Where it is, by UDP.
    pub address: SocketAddr,
    /// Where else it may be reached by UDP: tried in turn while nobody answers.
    pub further: Vec<SocketAddr>,
    /// Where it serves HTTP/2, by TCP, the likeliest first; without any, HTTP/3 is all there is.
    pub http2: Vec<SocketAddr>,
    /// Which versions of HTTP are tried.
    pub choice: HttpChoice,
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

    /// True when it is not all of the network.
    #[must_use]
    pub fn is_narrow(&self) -> bool {
        self.target != Target::Any || self.protocol.is_some()
    }

    pub(crate) fn scope(&self) -> Scope {
        self.scope.clone()
    }
}

impl MasqueGateway {
    /// One of the places where it may be reached by UDP, the first one if there is none of that number.
    pub(crate) fn place(&self, number: usize) -> SocketAddr {
        number.checked_sub(1).and_then(|number| self.further.get(number)).copied().unwrap_or(self.address)
    }

    /// The request for a tunnel.
    pub(crate) fn request(&self) -> Outgoing {
        Outgoing::new(&self.template, &self.asks.target, self.asks.protocol, self.credentials.clone())
    }
}
