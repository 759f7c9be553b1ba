//! Which packets a tunnel carries from one end to the other.

use super::{Refusal, Scope};
use crate::masque::capsule::Routes;
use crate::packet::header::{Headers, Transport};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr};

/// An end of the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It made the request.
    Client,
    /// The IP proxy.
    Gateway,
}

impl Role {
    /// The other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Gateway,
            Self::Gateway => Self::Client,
        }
    }
}

/// What is known of one end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Prefixes the other end assigned to it; `None`: they were agreed on elsewhere and are not known here.
    pub assigned: Option<Vec<IpNet>>,
    /// What it forwards to, as it advertised; `None`: it has advertised nothing so far.
    pub routes: Option<Routes>,
}

impl End {
    fn owns(&self, address: IpAddr) -> bool {
        self.assigned.iter().flatten().any(|prefix| prefix.contains(&address))
    }

    fn forwards_to(&self, address: IpAddr, protocol: u8) -> bool {
        self.routes.as_ref().is_some_and(|routes| routes.contains(address, protocol))
    }
}

/// Both ends of a tunnel and what it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The client.
    pub client: End,
    /// The gateway.
    pub gateway: End,
    /// What the client asked for.
    pub scope: Scope,
    /// Packets from this address to itself are the two ends' own: they always pass.
    pub talk: Option<IpAddr>,
}

impl Link {
    /// What is known of one end.
    pub fn end(&mut self, role: Role) -> &mut End {
        match role {
            Role::Client => &mut self.client,
            Role::Gateway => &mut self.gateway,
        }
    }

    /// Judges a packet that `from` sends to the other end. Both ends may ask: the sender, so that the packet does not
    /// travel in vain, and the receiver, who must not trust the sender.
    ///
    /// # Errors
    /// Why it must not travel.
    pub fn check(&self, from: Role, packet: &[u8], headers: &Headers) -> Result<(), Refusal> {
        if self.talk.is_some_and(|own| headers.source == own && headers.destination == own) {
            return Ok(());
        }
        if is_link_local(headers.source) || is_link_local(headers.destination) {
            return Err(Refusal::LinkLocal);
        }
        if matches!(headers.transport, Transport::IcmpError { .. }) {
            return self.check_error(from, packet, headers);
        }
        self.check_source(from, headers)?;
        self.check_destination(from, headers)?;
        self.check_scope(from, headers)
    }

    /// ICMP errors may come from any router behind the gateway, also from outside the scope. They must be about a
    /// packet that went the other way through this tunnel (RFC 9484 section 11).
    fn check_error(&self, from: Role, packet: &[u8], headers: &Headers) -> Result<(), Refusal> {
        if from == Role::Client {
            self.check_source(from, headers)?;
        }
        self.check_destination(from, headers)?;
        let quote = Headers::parse_quote(packet, headers).ok_or(Refusal::Quote)?;
        let sender = from.other();
        let checked = self.check_source(sender, &quote).and_then(|()| self.check_scope(sender, &quote));
        checked.map_err(|_| Refusal::Quote)
    }

    fn ends(&self, from: Role) -> (&End, &End) {
        match from {
            Role::Client => (&self.client, &self.gateway),
            Role::Gateway => (&self.gateway, &self.client),
        }
    }

    /// BCP 38: a sender uses addresses it was assigned, or it routes for.
    fn check_source(&self, from: Role, headers: &Headers) -> Result<(), Refusal> {
        let (sender, _) = self.ends(from);
        let unknown = match from {
            Role::Client => sender.assigned.is_none(),
            // It forwards for the network behind it, unless it said for which part.
            Role::Gateway => sender.routes.is_none(),
        };
        let known = sender.owns(headers.source) || sender.forwards_to(headers.source, headers.protocol);
        if unknown || known { Ok(()) } else { Err(Refusal::Source) }
    }

    fn check_destination(&self, from: Role, headers: &Headers) -> Result<(), Refusal> {
        let (_, receiver) = self.ends(from);
        let unknown = match from {
            Role::Client => receiver.routes.is_none(),
            Role::Gateway => receiver.assigned.is_none(),
        };
        let known = receiver.owns(headers.destination) || receiver.forwards_to(headers.destination, headers.protocol);
        if unknown || known { Ok(()) } else { Err(Refusal::NoRoute) }
    }

    fn check_scope(&self, from: Role, headers: &Headers) -> Result<(), Refusal> {
        let far = match from {
            Role::Client => headers.destination,
            Role::Gateway => headers.source,
        };
        let (client, gateway) = (&self.client, &self.gateway);
        // Packets between the two ends themselves (a ping to the gateway) are part of the tunnel, not of its scope.
        let between_ends =
            gateway.owns(far) && client.owns(if from == Role::Client { headers.source } else { headers.destination });
        if between_ends || self.scope.contains(far, headers.protocol) { Ok(()) } else { Err(Refusal::Scope) }
    }
}

/// True for addresses that mean something on one link only, multicast included.
#[must_use]
pub fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.octets()[..3] == [224, 0, 0],
        // fe80::/10, and multicast of interface or link scope (RFC 4291 section 2.7).
        IpAddr::V6(v6) => v6.is_unicast_link_local() || (v6.is_multicast() && is_narrow(v6)),
    }
}

fn is_narrow(multicast: Ipv6Addr) -> bool {
    matches!(multicast.octets()[1] & 0x0f, 1 | 2)
}
