//! What came to an endpoint and went no further.

/// What came and was dropped, by reason: datagrams, packets, requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drops {
    /// Datagrams of no connection, which begin none either. Some are answered: by a version negotiation or a stateless
    /// reset.
    pub no_connection: u64,
    /// First datagrams of connections that were not begun: their clients were told to prove their address, or refused.
    pub busy: u64,
    /// Packets for a stream that is no open tunnel.
    pub no_tunnel: u64,
    /// Packets of contexts nobody registered, and those too short for one.
    pub no_context: u64,
    /// Packets the peer must not send; each is answered by ICMP where that is allowed.
    pub refused: u64,
    /// Packets that came in capsules and were dropped because those before them were not taken.
    pub overrun: u64,
    /// Streams without a tunnel that were reset: malformed requests, or packets for a request that has no tunnel.
    pub malformed_requests: u64,
    /// Requests for something that is not here: another protocol, another path.
    pub refused_requests: u64,
}

impl Drops {
    /// Takes what `other` holds.
    pub(super) fn absorb(&mut self, other: &mut Self) {
        let Self { no_connection, busy, no_tunnel, no_context, refused, overrun, malformed_requests, refused_requests } =
            std::mem::take(other);
        self.no_connection += no_connection;
        self.busy += busy;
        self.no_tunnel += no_tunnel;
        self.no_context += no_context;
        self.refused += refused;
        self.overrun += overrun;
        self.malformed_requests += malformed_requests;
        self.refused_requests += refused_requests;
    }
}
