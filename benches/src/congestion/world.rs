//! Two ends of a tunnel, flows inside and beside it, and the path that both share, in virtual time.

use super::flow::{Flood, Tcp};
use bytes::BytesMut;
use rustls::pki_types::PrivateKeyDer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vestibule_engine::masque::ip::{Refusal, Scope};
use vestibule_engine::masque::request::{Credentials, Outgoing, Target, UriTemplate};
use vestibule_engine::masque::session::{
    Congestion, Endpoint, EndpointConfig, Event, Origin, SendError, Settings, TunnelId, tls,
};
use vestibule_engine::packet::Ecn;
use vestibule_engine::random::Seed;
use vestibule_platform::sandbox::path::{Fates, Pipe, Shape};

/// A packet of a flow inside: an adapter's MTU.
const INSIDE: usize = 1420;
/// One beside the tunnel.
const BESIDE: usize = 1500;
/// An acknowledgement.
const ACK: usize = 52;
/// IP's and UDP's headers around the tunnel's datagrams.
const OUTER: usize = 28;
/// IP and UDP headers of our inner packets.
const HEADERS: usize = 28;
/// Headers of a TCP packet with timestamps, which are no goodput.
const TCP_HEADERS: usize = 52;

/// What travels through the tunnel and beside it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    /// TCP flows inside.
    pub(super) inside: usize,
    /// TCP flows beside.
    pub(super) beside: usize,
    /// Bits per second of datagrams inside.
    pub(super) flood: f64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    /// Megabits per second of payload that arrived: all TCP inside.
    pub(super) inside: f64,
    /// All TCP beside.
    pub(super) beside: f64,
    /// Datagrams of the flood.
    pub(super) flood: f64,
    /// Round trip time of a probe through the tunnel, on average and at most, in ms; without a tunnel beside it.
    pub(super) average_rtt: f64,
    pub(super) longest_rtt: f64,
    /// Packets the path lost, of all that came to it, in percent.
    pub(super) lost: f64,
}

enum Carried {
    /// A datagram of the tunnel.
    Outer(Vec<u8>),
    /// A packet beside it.
    Bare(Inner),
}

/// What a packet of ours says.
#[derive(Clone, Copy, Debug)]
struct Inner {
    kind: u8,
    flow: u16,
    number: u64,
}

const DATA: u8 = 1;
const ACKNOWLEDGES: u8 = 2;
const FLOOD: u8 = 3;
const PROBE: u8 = 4;
const PROBED: u8 = 5;

pub(super) struct World {
    now: Instant,
    start: Instant,
    ends: [Endpoint; 2],
    ids: [TunnelId; 2],
    pipes: [Pipe<Carried>; 2],
    inside: Vec<Tcp>,
    beside: Vec<Tcp>,
    flood: Option<Flood>,
    /// Of the packets inside.
    size: usize,
    /// How long it took to open the tunnel.
    pub(super) stood: Duration,
    probe_at: Instant,
    probes: Vec<Duration>,
    through: bool,
}

fn address(end: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1 + end as u8], 443))
}

impl World {
    /// A tunnel that stands, on a path that is not in use yet.
    pub(super) fn new(congestion: Congestion, shape: Shape, load: Load) -> Option<Self> {
        let start = Instant::now();
        let identity = |name: &str| {
            let signed = rcgen::generate_simple_self_signed(vec![name.to_owned()]).ok()?;
            let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).ok()?;
            Some(tls::Identity { chain: vec![signed.cert.into()], key })
        };
        let server = identity("gateway.example")?;
        let pinned = tls::public_key(&server.chain[0]).ok()?;
        let template = UriTemplate::well_known("gateway.example").ok()?;
        let endpoint = |server, seed| {
            let settings = Settings { congestion, initial_mtu: 1472, ..Settings::default() };
            let templates = vec![template.clone()];
            Endpoint::new(EndpointConfig { settings, server, templates, seed: Seed::new([seed; 32]) }).ok()
        };
        let mut ends = [endpoint(None, 1)?, endpoint(Some(Arc::new(tls::server(server).ok()?)), 2)?];
        let tls = tls::client(tls::Trust::Keys(vec![pinned]), Some(identity("device")?)).ok()?;
        let connection = ends[0].connect(address(1), "gateway.example", Arc::new(tls), start).ok()?;
        let outgoing = Outgoing::new(&template, &Target::Any, None, Credentials::None);
        let near = ends[0].open(connection, outgoing, Scope::all(), start)?;
        let mut world = Self {
            now: start,
            start,
            ends,
            ids: [near; 2],
            pipes: [Pipe::new(shape), Pipe::new(Shape { seed: shape.seed + 1, ..shape })],
            inside: (0..load.inside).map(|_| Tcp::new()).collect(),
            beside: (0..load.beside).map(|_| Tcp::new()).collect(),
            flood: None,
            size: INSIDE,
            stood: Duration::ZERO,
            // Not before the tunnel stands.
            probe_at: start + Duration::from_secs(3600),
            probes: Vec::new(),
            through: load.inside > 0 || load.flood > 0.0,
        };
        world.open(near)?;
        world.stood = world.now - start;
        world.start = world.now;
        world.probe_at = world.now;
        world.flood = (load.flood > 0.0).then(|| Flood::new(load.flood, INSIDE, world.now));
        Some(world)
    }

    fn open(&mut self, near: TunnelId) -> Option<()> {
        let (mut requested, mut ready) = (false, [false; 2]);
        while !(requested && ready.iter().all(|ready| *ready)) {
            self.exchange();
            for end in 0..2 {
                while let Some(event) = self.ends[end].poll_event() {
                    match event {
                        Event::Requested(id, _) => {
                            requested = true;
                            self.ids = [near, id];
                            let addresses = ["10.0.0.1/32".parse().ok()?];
                            self.ends[1].accept(id, Scope::all(), self.now);
                            self.ends[1].assign(id, &addresses, self.now);
                            self.ends[1].advertise(id, Scope::all().routes(true, true), self.now);
                            ready[1] = true;
                        }
                        Event::RoutesAdvertised(..) => ready[0] = true,
                        Event::Closed(_, error) => {
                            eprintln!("the tunnel does not come to stand: {error}");
                            return None;
                        }
                        _ => {}
                    }
                }
            }
            self.step();
        }
        Some(())
    }

    /// Runs for so long and tells what arrived after the first `settle`.
    pub(super) fn run(mut self, settle: Duration, time: Duration) -> Outcome {
        self.until(self.start + settle);
        let (before, lost_before) = (self.delivered(), self.lost());
        self.probes.clear();
        self.until(self.start + settle + time);
        let (after, lost) = (self.delivered(), self.lost());
        let rate = |at: usize, len: usize| (after[at] - before[at]) as f64 * len as f64 * 8e-6 / time.as_secs_f64();
        let ms = |probe: &Duration| probe.as_secs_f64() * 1e3;
        Outcome {
            inside: rate(0, self.size - TCP_HEADERS),
            beside: rate(1, BESIDE - TCP_HEADERS),
            flood: rate(2, self.size),
            average_rtt: self.probes.iter().map(ms).sum::<f64>() / self.probes.len().max(1) as f64,
            longest_rtt: self.probes.iter().map(ms).fold(0.0, f64::max),
            lost: 100.0 * (lost.1 - lost_before.1) as f64 / (lost.0 - lost_before.0).max(1) as f64,
        }
    }

    fn delivered(&self) -> [u64; 3] {
        let sum = |flows: &[Tcp]| flows.iter().map(|flow| flow.delivered).sum();
        [sum(&self.inside), sum(&self.beside), self.flood.as_ref().map_or(0, |flood| flood.delivered)]
    }

    fn lost(&self) -> (u64, u64) {
        let Fates { offered, lost, overflowed, .. } = self.pipes[0].fates();
        (offered, lost + overflowed)
    }

    fn until(&mut self, end: Instant) {
        while self.now < end {
            self.send();
            self.exchange();
            self.step();
        }
    }

    /// Everything that flows may send now.
    fn send(&mut self) {
        let now = self.now;
        for at in 0..self.inside.len() {
            while let Some(number) = self.inside[at].send(now) {
                self.tunnel(0, Inner { kind: DATA, flow: at as u16, number }, self.size);
            }
        }
        for at in 0..self.beside.len() {
            while let Some(number) = self.beside[at].send(now) {
                let inner = Inner { kind: DATA, flow: at as u16, number };
                self.pipes[0].offer(Carried::Bare(inner), BESIDE, now);
            }
        }
        while self.flood.as_mut().is_some_and(|flood| flood.send(now)) {
            self.tunnel(0, Inner { kind: FLOOD, flow: 0, number: 0 }, self.size);
        }
        if self.probe_at <= now {
            self.probe_at += Duration::from_millis(10);
            let number = (now - self.start).as_nanos() as u64;
            let inner = Inner { kind: PROBE, flow: 0, number };
            if self.through {
                self.tunnel(0, inner, 84);
            } else {
                self.pipes[0].offer(Carried::Bare(inner), 84, now);
            }
        }
    }

    /// Into the tunnel. What it has no room for is lost.
    fn tunnel(&mut self, end: usize, inner: Inner, len: usize) {
        let mut packet = vec![0; len];
        let (from, to) = if end == 0 { ([10, 0, 0, 1], [203, 0, 113, 1]) } else { ([203, 0, 113, 1], [10, 0, 0, 1]) };
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        (packet[8], packet[9]) = (64, 17);
        packet[12..16].copy_from_slice(&from);
        packet[16..20].copy_from_slice(&to);
        packet[24..26].copy_from_slice(&(len as u16 - 20).to_be_bytes());
        packet[HEADERS] = inner.kind;
        packet[HEADERS + 1..HEADERS + 3].copy_from_slice(&inner.flow.to_be_bytes());
        packet[HEADERS + 3..HEADERS + 11].copy_from_slice(&inner.number.to_be_bytes());
        // A full queue is a loss like any other, which the flow finds out.
        let sent = self.ends[end].send(self.ids[end], &mut packet, Origin::Local);
        if let Err(SendError::Refused(Refusal::TooBig { mtu })) = sent {
            // Kernels send no more than fits from then on.
            self.size = self.size.min(usize::from(mtu));
        }
    }

    /// Takes out of both ends what they have.
    fn exchange(&mut self) {
        for end in 0..2 {
            while let Some((_, packet)) = self.ends[end].poll_packet(self.now) {
                if let Some(inner) = read(&packet) {
                    self.arrived(end, inner, true);
                }
            }
            let mut buffer = Vec::new();
            while let Some(transmit) = self.ends[end].poll_transmit(&mut buffer, self.now) {
                for datagram in buffer.chunks(transmit.segment) {
                    let len = datagram.len() + OUTER;
                    self.pipes[end].offer(Carried::Outer(datagram.to_vec()), len, self.now);
                }
                buffer.clear();
            }
        }
    }

    fn arrived(&mut self, end: usize, inner: Inner, through: bool) {
        let back = |kind| Inner { kind, ..inner };
        let answer = match (end, inner.kind) {
            (1, DATA) => back(ACKNOWLEDGES),
            (1, PROBE) => back(PROBED),
            (1, FLOOD) => return self.flood.iter_mut().for_each(|flood| flood.delivered += 1),
            (0, ACKNOWLEDGES) => {
                let flows = if through { &mut self.inside } else { &mut self.beside };
                return flows[usize::from(inner.flow)].acknowledged(inner.number, self.now);
            }
            (0, PROBED) => return self.probes.push(self.now - self.start - Duration::from_nanos(inner.number)),
            _ => return,
        };
        if through {
            self.tunnel(1, answer, ACK);
        } else {
            self.pipes[1].offer(Carried::Bare(answer), ACK, self.now);
        }
    }

    /// To the next thing that happens.
    fn step(&mut self) {
        let pipes = self.pipes.iter().filter_map(Pipe::due);
        let ends = self.ends.iter().filter_map(Endpoint::poll_deadline);
        let flows = self.inside.iter().chain(&self.beside).filter_map(Tcp::timeout);
        let sends = self.flood.iter().map(Flood::due).chain([self.probe_at]);
        let next = pipes.chain(ends).chain(flows).chain(sends).min();
        self.now = next.map_or(self.now, |next| next.max(self.now)).max(self.now + Duration::from_nanos(1));
        for from in 0..2 {
            let to = 1 - from;
            while let Some(carried) = self.pipes[from].next(self.now) {
                match carried {
                    Carried::Outer(bytes) => {
                        let bytes = BytesMut::from(&bytes[..]);
                        self.ends[to].handle_datagram(address(from), None, Ecn::NotEct, bytes, self.now);
                    }
                    Carried::Bare(inner) => self.arrived(to, inner, false),
                }
            }
        }
        for end in &mut self.ends {
            end.settle(self.now);
            end.handle_deadline(self.now);
        }
        self.inside.iter_mut().chain(&mut self.beside).for_each(|flow| flow.handle_timeout(self.now));
    }
}

fn read(packet: &[u8]) -> Option<Inner> {
    let at = packet.get(HEADERS..HEADERS + 11)?;
    let flow = u16::from_be_bytes(at[1..3].try_into().ok()?);
    Some(Inner { kind: at[0], flow, number: u64::from_be_bytes(at[3..].try_into().ok()?) })
}
