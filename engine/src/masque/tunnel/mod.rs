//! One request stream: its capsules, addresses, routes and packets. No QUIC, no HTTP.

pub(super) mod budget;
mod error;

pub use error::{Fault, SendError, TunnelError};

use super::addresses::{Assigner, Changes, Requester};
use super::capsule::{self, Capsule, CapsuleError, Decoder, Limits, RequestedAddress, Routes};
use super::datagram::{Payload, Prefix};
use super::ip::{
    IPV6_MINIMUM_MTU, Link, MtuProbe, ProbeState, Refusal, Role, Scope, answer_echo, check_ipv6_minimum,
    decrement_hop_limit,
};
use crate::packet::Headers;
use crate::packet::answer::MAX_ANSWER;
use budget::Budget;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Most bytes of capsules that wait for a peer; one that lets more pile up does not read.
pub(super) const MAX_WAITING: usize = 1 << 20;
/// Of these, packets may be so many (they travel in capsules only where QUIC has no datagrams).
const MAX_WAITING_PACKETS: usize = 256 << 10;

/// Capsules a peer may send at once: each costs an event, which somebody above must handle,
const CAPSULES: u32 = 1024;
/// and one more every so often: policy changes come by the second, not by the millisecond.
const CAPSULE_REFILL: Duration = Duration::from_millis(10);

/// How long a tunnel may be too narrow for IPv6 while a search may still find that it is not: QUIC takes losses in a row
/// for a path that has become narrow, and then begins at the bottom.
const NARROW_PATIENCE: Duration = Duration::from_secs(5);

/// How long a search takes that finds what was there before.
const UNSURE: Duration = Duration::from_millis(500);

/// Who wrote a packet that enters the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This machine: its hop limit stays.
    Local,
    /// Another one, for which this end is a router: its hop limit falls by one.
    Forwarded,
}

/// What went through a tunnel and what did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Packets sent.
    pub sent: u64,
    /// Packets received and delivered.
    pub received: u64,
    /// Packets of the peer's that were refused; each is answered by ICMP where that is allowed.
    pub refused: u64,
    /// Datagrams of contexts nobody registered.
    pub unknown_context: u64,
    /// Datagrams too short for a context.
    pub truncated: u64,
    /// Packets that could not be sent because a queue was full.
    pub full: u64,
    /// Packets that came in capsules and were dropped because those before them were not taken.
    pub overrun: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Asked for, not answered.
    Requested,
    Open,
    /// No more packets; the last capsules and the end of the stream are on their way.
    Closing,
}

pub(super) struct Tunnel {
    role: Role,
    pub(super) phase: Phase,
    decoder: Decoder,
    budget: Budget,
    requester: Requester,
    assigner: Assigner,
    pub(super) link: Link,
    /// Capsules that are to be sent.
    pub(super) waiting: Vec<u8>,
    /// The DATA frame that is being written, and how much of it is.
    pub(super) frame: (Vec<u8>, usize),
    pub(super) mtu: u16,
    /// The longest packet that is known to get through to us.
    pub(super) back: u16,
    /// [`Self::mtu`] has just begun, or fallen, and a search is likely to find that more fits.
    unsure_until: Option<Instant>,
    /// It is too narrow for IPv6, and given up then.
    narrow_until: Option<Instant>,
    /// The end of our side was written: nothing is left to do.
    pub(super) ended: bool,
    pub(super) probe: Option<MtuProbe>,
    pub(super) counters: Counters,
    grease: Option<u64>,
    /// Datagrams are packets, without a Context ID.
    bare: bool,
}

/// What the peer's capsules say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// ADDRESS_ASSIGN: what is ours from now on, and what changed.
    Assigned(Changes),
    /// ADDRESS_REQUEST: to be answered.
    AddressesRequested(Vec<RequestedAddress>),
    /// ROUTE_ADVERTISEMENT, which replaces the one before.
    RoutesAdvertised(Routes),
}

/// What became of a packet that came in.
pub(super) enum Arrival {
    /// For the adapter, from this offset of the datagram.
    Deliver(usize),
    /// This packet goes back.
    Answer(Vec<u8>),
    Dropped,
}

impl Tunnel {
    pub(super) fn new(role: Role, talk: Option<IpAddr>, grease: Option<u64>, now: Instant) -> Self {
        Self {
            role,
            phase: Phase::Requested,
            decoder: Decoder::new(Limits::default()),
            budget: Budget::new(CAPSULES, CAPSULE_REFILL, now),
            requester: Requester::default(),
            assigner: Assigner::default(),
            link: Link { talk, ..Link::default() },
            waiting: Vec::new(),
            frame: (Vec::new(), 0),
            mtu: 0,
            back: 0,
            unsure_until: None,
            narrow_until: None,
            ended: false,
            probe: None,
            counters: Counters::default(),
            grease,
            bare: false,
        }
    }

    /// No capsules but datagrams, and these without a Context ID.
    pub(super) fn bare(self) -> Self {
        let decoder = Decoder::new(Limits { datagrams_alone: true, ..Limits::default() });
        Self { decoder, grease: None, bare: true, ..self }
    }

    pub(super) fn open(&mut self, scope: Scope) {
        self.phase = Phase::Open;
        self.link.scope = scope;
        if self.role == Role::Gateway {
            // Nothing is assigned until we say so; a client may know its address from elsewhere.
            self.link.client.assigned.get_or_insert_default();
        }
        if let Some(n) = self.grease.take() {
            capsule::encode_grease(n, b"", &mut self.waiting);
        }
    }

    /// Reads what the peer's stream brought. Payloads of DATAGRAM capsules go to `datagram`.
    pub(super) fn read(
        &mut self,
        mut bytes: &[u8],
        now: Instant,
        mut tell: impl FnMut(News),
        mut datagram: impl FnMut(&[u8]),
    ) -> Result<(), TunnelError> {
        while let Some(capsule) = self.decoder.next(&mut bytes).map_err(TunnelError::Capsules)? {
            if !matches!(capsule, Capsule::Datagram(_)) && !self.budget.pay(now) {
                return Err(TunnelError::Flood);
            }
            match capsule {
                Capsule::Datagram(payload) => datagram(payload),
                Capsule::AddressAssign(list) => {
                    let changes = self.requester.assign(&list);
                    self.link.end(self.role).assigned = Some(self.requester.assigned().to_vec());
                    tell(News::Assigned(changes));
                }
                Capsule::AddressRequest(requests) => {
                    self.assigner.register(&requests).map_err(TunnelError::Capsules)?;
                    tell(News::AddressesRequested(requests));
                }
                Capsule::RouteAdvertisement(routes) => {
                    self.link.end(self.role.other()).routes = Some(routes.clone());
                    tell(News::RoutesAdvertised(routes));
                }
            }
        }
        Ok(())
    }

    /// The peer's stream ended in good order.
    pub(super) fn finish(&self) -> Result<(), CapsuleError> {
        self.decoder.finish()
    }

    /// Asks for addresses.
    pub(super) fn request_addresses(&mut self, prefixes: &[IpNet]) -> Result<(), TunnelError> {
        let requests: Vec<_> = prefixes.iter().filter_map(|prefix| self.requester.request(*prefix)).collect();
        // A request for nothing would be an error.
        if requests.is_empty() { Ok(()) } else { self.send(&Capsule::AddressRequest(requests)) }
    }

    /// Answers requests; `None` refuses.
    pub(super) fn answer_addresses(
        &mut self,
        requests: &[RequestedAddress],
        decide: impl FnMut(&RequestedAddress) -> Option<IpNet>,
    ) -> Result<(), TunnelError> {
        let list = self.assigner.answer(requests, decide);
        self.note_assigned();
        self.send(&Capsule::AddressAssign(list))
    }

    /// Gives the peer exactly these addresses.
    pub(super) fn assign(&mut self, prefixes: &[IpNet]) -> Result<(), TunnelError> {
        let list = self.assigner.set(prefixes);
        self.note_assigned();
        self.send(&Capsule::AddressAssign(list))
    }

    fn note_assigned(&mut self) {
        self.link.end(self.role.other()).assigned = Some(self.assigner.assigned().collect());
    }

    /// Advertises exactly these routes.
    pub(super) fn advertise(&mut self, routes: Routes) -> Result<(), TunnelError> {
        self.link.end(self.role).routes = Some(routes.clone());
        self.send(&Capsule::RouteAdvertisement(routes))
    }

    fn send(&mut self, capsule: &Capsule<'_>) -> Result<(), TunnelError> {
        capsule.encode(&mut self.waiting);
        let waiting = self.waiting.len() + self.frame.0.len();
        if waiting > MAX_WAITING { Err(TunnelError::Stalled { waiting }) } else { Ok(()) }
    }

    /// Puts a packet between the capsules, where QUIC carries no datagrams.
    pub(super) fn send_in_capsule(&mut self, [head, rest]: [&[u8]; 2]) -> Result<(), SendError> {
        let len = head.len() + rest.len();
        if self.waiting.len() + len > MAX_WAITING_PACKETS {
            self.counters.full += 1;
            return Err(SendError::Full);
        }
        self.waiting.extend_from_slice(Prefix::capsule(len).bytes());
        self.waiting.extend_from_slice(head);
        self.waiting.extend_from_slice(rest);
        self.counters.sent += 1;
        Ok(())
    }

    /// Judges a frame of which packets up to `longest` bytes are to enter the tunnel.
    pub(super) fn judge(&self, frame: &[u8], headers: &Headers, longest: usize) -> Result<(), Refusal> {
        self.link.check(self.role, frame, headers)?;
        if longest > usize::from(self.mtu) { Err(Refusal::TooBig { mtu: self.mtu }) } else { Ok(()) }
    }

    /// Judges a packet that is to enter the tunnel; a forwarded one's hop limit falls.
    pub(super) fn admit(&self, packet: &mut [u8], origin: Origin) -> Result<(), Refusal> {
        let headers = Headers::parse(packet).map_err(Refusal::Malformed)?;
        self.judge(packet, &headers, headers.total_len)?;
        if origin == Origin::Forwarded { decrement_hop_limit(packet) } else { Ok(()) }
    }

    /// Judges an HTTP datagram's payload. Answers go to the peer.
    pub(super) fn receive(&mut self, payload: &[u8]) -> Arrival {
        let offset = match Payload::parse(payload) {
            _ if self.bare => 0,
            Payload::Packet { offset } => offset,
            Payload::UnknownContext { .. } => {
                self.counters.unknown_context += 1;
                return Arrival::Dropped;
            }
            Payload::Truncated => {
                self.counters.truncated += 1;
                return Arrival::Dropped;
            }
        };
        let packet = payload.get(offset..).unwrap_or_default();
        let Ok(headers) = Headers::parse(packet) else {
            self.counters.refused += 1;
            return Arrival::Dropped;
        };
        if self.probe.as_mut().is_some_and(|probe| probe.is_answered_by(packet, &headers)) {
            return Arrival::Dropped;
        }
        match self.link.check(self.role.other(), packet, &headers) {
            Ok(()) => {
                self.counters.received += 1;
                Arrival::Deliver(offset)
            }
            Err(refusal) => self.stopped(packet, &headers, refusal),
        }
    }

    /// What is said of a packet that goes no further. An echo request to all nodes on the link is answered, not refused.
    #[cold]
    fn stopped(&mut self, packet: &[u8], headers: &Headers, refusal: Refusal) -> Arrival {
        let mut out = vec![0; MAX_ANSWER];
        let own = self.own_ipv6();
        let echo = own.filter(|_| refusal == Refusal::LinkLocal);
        let mut answer = echo.and_then(|own| answer_echo(packet, headers, own, &mut out));
        if answer.is_none() {
            self.counters.refused += 1;
            let answerer = own.filter(|_| headers.source.is_ipv6()).map(IpAddr::V6);
            answer = refusal.answer(packet, headers, answerer, &mut out);
        }
        answer.map_or(Arrival::Dropped, |len| {
            out.truncate(len);
            Arrival::Answer(out)
        })
    }

    /// An IPv6 address of this end, if the peer assigned one.
    pub(super) fn own_ipv6(&self) -> Option<Ipv6Addr> {
        let own = if self.role == Role::Client { &self.link.client } else { &self.link.gateway };
        own.assigned.iter().flatten().find_map(|prefix| match prefix {
            IpNet::V6(v6) => Some(v6.addr()),
            IpNet::V4(_) => None,
        })
    }

    /// True when IPv6 packets may travel, so that IPv6's least MTU is owed.
    fn carries_ipv6(&self) -> bool {
        [&self.link.client, &self.link.gateway]
            .into_iter()
            .any(|end| end.assigned.iter().flatten().any(|prefix| prefix.addr().is_ipv6()))
    }

    /// Takes note of what fits; true if that is news. `may_grow`: a search may find that more does. `Err`: the tunnel
    /// must be aborted.
    pub(super) fn set_mtu(&mut self, mtu: usize, may_grow: bool, now: Instant) -> Result<bool, TunnelError> {
        if self.phase == Phase::Open {
            match check_ipv6_minimum(self.carries_ipv6(), mtu) {
                Ok(()) => self.narrow_until = None,
                Err(narrow) => {
                    let until = *self.narrow_until.get_or_insert(now + NARROW_PATIENCE);
                    if !may_grow || now >= until {
                        return Err(TunnelError::Narrow(narrow));
                    }
                }
            }
        }
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        let news = mtu != self.mtu && self.phase == Phase::Open;
        if news && (self.mtu == 0 || mtu < self.mtu) {
            self.unsure_until = Some(now + UNSURE);
        }
        if news {
            self.mtu = mtu;
        }
        self.unsure_until.take_if(|until| !may_grow || *until <= now);
        Ok(news)
    }

    /// True unless what fits is likely to be more in a moment. Whoever is told of less believes it for minutes.
    pub(super) fn is_sure(&self, now: Instant) -> bool {
        self.unsure_until.is_none_or(|until| until <= now)
    }

    /// Takes note of what gets through to us; true if that is news.
    pub(super) fn note_back(&mut self, mtu: usize) -> bool {
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        let news = mtu > self.back && self.phase == Phase::Open;
        if news {
            self.back = mtu;
        }
        news
    }

    /// Begins to prove that IPv6's least MTU gets through.
    pub(super) fn start_probe(&mut self, source: Ipv6Addr, peer: Option<Ipv6Addr>, id: u16, now: Instant) {
        self.probe = Some(MtuProbe::new(source, peer, id, now));
    }

    /// The echo request that is due.
    pub(super) fn poll_probe(&mut self, now: Instant) -> Result<Option<Vec<u8>>, TunnelError> {
        let Some(probe) = &mut self.probe else { return Ok(None) };
        let mut out = vec![0; IPV6_MINIMUM_MTU];
        let request = probe.poll(now, &mut out).map(|len| {
            out.truncate(len);
            out
        });
        if probe.state() == ProbeState::Failed { Err(TunnelError::Probe) } else { Ok(request) }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.probe.as_ref().and_then(MtuProbe::deadline).into_iter().chain(self.narrow_until).min()
    }
}
