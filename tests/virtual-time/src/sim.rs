//! The simulation: its parts, its clockwork, and its verdict.

use crate::{
    Clock, Random,
    control::{Control, Happening},
    generations::{End, Generations, Life},
    model::Model,
    network::{Agenda, Flight, Link},
    node::{Node, Output},
    packet::Direction,
    policy::PolicySpec,
    traffic::Traffic,
    wire::{self, Wire},
};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::SocketAddr,
    time::{Duration, UNIX_EPOCH},
};
use vestibule_engine::{
    core::{Engine, EngineConfig, PeerId, PeerKind},
    generation::PrivateKey,
    random::Seed,
    wireguard::SessionBackend,
};

/// What a simulation starts from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names the run.
    pub seed: u64,
    /// How many devices.
    pub devices: usize,
    /// Every link, both ways, at the start.
    pub link: Link,
    /// Hand datagrams over in batches (GRO) rather than one by one. One by one, carriers are known exactly.
    pub batches: bool,
    /// Rules of each identity.
    pub identities: Vec<PolicySpec>,
    /// One way through the control channel.
    pub control_delay: Duration,
    /// Seconds between keepalives of an idle device.
    pub persistent_keepalive: Option<u16>,
    /// Whose sessions the devices and the gateway keep.
    pub backends: [SessionBackend; 2],
}

/// Inner prefix of all devices.
pub const DEVICES: &str = "100.96.0.0/12";

/// A device: its engine and what it keeps.
#[derive(Debug)]
pub struct Device {
    /// Its engine.
    pub node: Node,
    /// Its address inside the tunnel.
    pub inner: std::net::Ipv4Addr,
    /// Both directions of its path.
    pub links: [Link; 2],
    /// Endpoints that have moved, as the gateway said.
    pub moved: u64,
}

/// Both ends and everything between.
#[derive(Debug)]
pub struct Sim {
    /// Settings.
    pub settings: Settings,
    /// Time.
    pub clock: Clock,
    /// Chance.
    pub random: Random,
    /// The gateway.
    pub gateway: Node,
    /// The devices.
    pub devices: Vec<Device>,
    /// Generations at both ends.
    pub generations: Generations,
    /// Packets.
    pub model: Model,
    /// Datagrams.
    pub wire: Wire,
    /// Stand-ins for the control plane.
    pub control: Control,
    /// Background traffic.
    pub traffic: Traffic,
    /// What is due when.
    pub agenda: Agenda<Happening>,
    /// Who listens where.
    pub addresses: BTreeMap<SocketAddr, End>,
    /// What went wrong.
    pub complaints: Vec<String>,
    /// The last things of note, for the report of a failure.
    pub log: Vec<String>,
}

impl Sim {
    /// A world without generations.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let clock = Clock::start();
        let mut random = Random::new(settings.seed);
        let gateway_key = random.key();
        let engine = |random: &mut Random, key: [u8; 32], end: usize, clock: &Clock| {
            let config = config(key, random.key(), settings.backends[end]);
            Engine::new(config, clock.now())
        };
        let gateway = Node::new(engine(&mut random, gateway_key, 1, &clock), ([198, 51, 100, 1], 51820).into());
        let mut addresses = BTreeMap::from([(gateway.address, End::Gateway)]);
        let devices: Vec<_> = (0..settings.devices)
            .map(|number| {
                let last = u8::try_from(number + 1).unwrap_or(u8::MAX);
                let key = random.key();
                let mut node = Node::new(engine(&mut random, key, 0, &clock), ([203, 0, 113, last], 40_000).into());
                node.engine.set_peer(PeerId(0), PeerKind::Gateway, vec![net("0.0.0.0/0"), net("::/0")]);
                addresses.insert(node.address, End::Device(number));
                let links = [settings.link.clone(), settings.link.clone()];
                Device { node, inner: [100, 96, 0, last].into(), links, moved: 0 }
            })
            .collect();
        let mut sim = Self {
            control: Control::new(gateway_key, settings.identities.clone(), devices.len()),
            settings,
            clock,
            random,
            gateway,
            devices,
            generations: Generations::default(),
            model: Model::default(),
            wire: Wire::default(),
            traffic: Traffic::default(),
            agenda: Agenda::default(),
            addresses,
            complaints: Vec::new(),
            log: Vec::new(),
        };
        sim.add_peers();
        sim
    }

    /// Tells the gateway's engine which devices there are.
    pub(crate) fn add_peers(&mut self) {
        for (number, device) in self.devices.iter().enumerate() {
            let address = ipnet::IpNet::new(device.inner.into(), 32).into_iter().collect();
            self.gateway.engine.set_peer(peer_of(number), PeerKind::Device, address);
        }
    }

    /// The node at an end.
    pub fn node(&mut self, end: End) -> &mut Node {
        match end {
            End::Gateway => &mut self.gateway,
            End::Device(number) => &mut self.devices[number].node,
        }
    }

    /// Notes something for a failure's report.
    pub fn note(&mut self, text: String) {
        if self.log.len() > 400 {
            self.log.drain(..100);
        }
        self.log.push(format!("{:>12.6} {text}", self.clock.elapsed().as_secs_f64()));
    }

    /// Lets `span` pass.
    pub fn run(&mut self, span: Duration) {
        let end = self.clock.elapsed() + span;
        while self.complaints.is_empty() && self.advance(end) {}
    }

    /// Lets time pass until `done`, at most `span`; true when it came to be.
    pub fn run_until(&mut self, span: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.clock.elapsed() + span;
        while self.complaints.is_empty() && !done(self) {
            if !self.advance(end) {
                return done(self);
            }
        }
        done(self)
    }

    /// Moves to the next thing that happens, at most to `end`; false when nothing is left before it.
    fn advance(&mut self, end: Duration) -> bool {
        let ends = std::iter::once(End::Gateway).chain((0..self.devices.len()).map(End::Device));
        let deadline = ends
            .filter_map(|end| {
                let node = match end {
                    End::Gateway => &self.gateway,
                    End::Device(number) => &self.devices[number].node,
                };
                node.next_deadline(&self.clock).map(|at| (at, end))
            })
            .min();
        let next = [self.agenda.next(), deadline.map(|(at, _)| at), self.traffic.next()].into_iter().flatten().min();
        let Some(next) = next.filter(|next| *next <= end) else {
            self.clock.advance_to(end);
            return false;
        };
        self.clock.advance_to(next);
        let elapsed = self.clock.elapsed();
        if let Some(happening) = self.agenda.due(elapsed) {
            self.happen(happening);
        } else if self.traffic.next().is_some_and(|at| at <= elapsed) {
            self.traffic_tick();
        } else if let Some((_, end)) = deadline.filter(|(at, _)| *at <= elapsed) {
            let before = self.active_label_map(end);
            let now = self.clock.now();
            let output = self.node(end).deadline(now);
            self.settle(end, &before, &[], output);
        }
        true
    }

    /// A datagram (and, in batches, those behind it) has arrived.
    pub(crate) fn arrive(&mut self, flight: Flight) {
        let Some(&end) = self.addresses.get(&flight.destination) else { return };
        let mut batch = vec![(flight.source, flight.bytes)];
        while self.settings.batches && batch.len() < 64 {
            let Some(Happening::Arrives(next)) = self.agenda.peek_due(self.clock.elapsed()) else { break };
            if self.addresses.get(&next.destination) != Some(&end) {
                break;
            }
            let Some(Happening::Arrives(next)) = self.agenda.due(self.clock.elapsed()) else { break };
            batch.push((next.source, next.bytes));
        }
        self.hand_in(end, &batch);
    }

    /// Hands datagrams to an end and judges what comes of it.
    pub fn hand_in(&mut self, end: End, batch: &[(SocketAddr, Vec<u8>)]) {
        let mut carriers = Vec::new();
        for (_, bytes) in batch {
            self.wire.remember(end, bytes);
            if let wire::Kind::Data(receiver, _) = wire::kind(bytes)
                && let Some((_, label)) = self.generations.owner(receiver).filter(|(owner, _)| *owner == end)
                && !carriers.contains(&label)
            {
                carriers.push(label);
            }
        }
        let before = self.active_label_map(end);
        let now = self.clock.now();
        let output = self.node(end).datagrams(batch, now);
        self.settle(end, &before, &carriers, output);
    }

    /// The active generation of every device as `end` has it.
    pub(crate) fn active_label_map(&self, end: End) -> Vec<Option<u64>> {
        (0..self.devices.len())
            .map(|device| self.generations.active(end, device).map(|generation| generation.label))
            .collect()
    }

    /// Sends datagrams on their way.
    pub(crate) fn transmit(&mut self, end: End, output: &mut Output) {
        let now = self.clock.elapsed();
        let source = self.node(end).address;
        for (destination, bytes) in output.datagrams.drain(..) {
            let (device, way) = match (end, self.addresses.get(&destination)) {
                (End::Device(device), _) => (device, Direction::Up),
                (End::Gateway, Some(End::Device(device))) => (*device, Direction::Down),
                _ => continue,
            };
            let link = &mut self.devices[device].links[usize::from(way == Direction::Down)];
            for at in link.arrivals(&mut self.random, now, &bytes) {
                let flight = Flight { source, destination, bytes: bytes.clone() };
                self.agenda.add(at, Happening::Arrives(flight));
            }
        }
    }

    /// Lets everything drain, then judges the whole run.
    ///
    /// # Errors
    /// The complaints, the counters and the log.
    pub fn finish(&mut self, lossless: bool) -> Result<(), String> {
        self.traffic.stop();
        self.run(Duration::from_secs(16));
        if lossless && self.complaints.is_empty() {
            for (number, flow) in self.model.flows.iter().enumerate() {
                for direction in [Direction::Up, Direction::Down] {
                    let way = flow.way(direction);
                    let lost = flow.lost(direction);
                    if lost + way.reordered as usize + way.duplicated as usize > 0 {
                        let first = way.sent.iter().enumerate().find(|(_, sent)| sent.must && !sent.delivered);
                        self.complaints.push(format!(
                            "flow {number} {direction:?} {:?}: lost {lost}, reordered {}, duplicated {}; first {first:?}",
                            flow.up, way.reordered, way.duplicated
                        ));
                    }
                }
            }
        }
        if !self.complaints.is_empty() {
            return self.verdict();
        }
        // The library's timers want 4 calls a second; swaps, sweeps and resends come on top.
        let calm = self.clock.elapsed().as_secs() * 8 + 500 + 100 * self.generations.all.len() as u64;
        let wakeups = self.devices.iter().map(|device| device.node.wakeups).chain([self.gateway.wakeups]).max();
        if wakeups > Some(calm) {
            self.complaints.push(format!("an engine was woken {wakeups:?} times, more than {calm}"));
        }
        for generation in self.generations.all.values() {
            for half in [&generation.device_half, &generation.gateway_half] {
                if matches!(half.life, Life::Draining(_)) {
                    self.complaints.push(format!("generation {} never retired: {:?}", generation.label, half.life));
                }
            }
        }
        self.verdict()
    }

    /// The complaints so far, with counters and log.
    ///
    /// # Errors
    /// When there is any.
    pub fn verdict(&self) -> Result<(), String> {
        if self.complaints.is_empty() {
            return Ok(());
        }
        let mut text = format!("seed {}: {} complaints\n", self.settings.seed, self.complaints.len());
        for complaint in self.complaints.iter().take(12) {
            let _ = writeln!(text, "  {complaint}");
        }
        let _ = writeln!(text, "at {:?}; the last of the log:", self.clock.elapsed());
        for line in self.log.iter().rev().take(60).rev() {
            let _ = writeln!(text, "  {line}");
        }
        Err(text)
    }
}

/// An engine's settings.
pub(crate) fn config(key: [u8; 32], seed: [u8; 32], backend: SessionBackend) -> EngineConfig {
    let wall_clock = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    EngineConfig { max_flows: 4096, backend, ..EngineConfig::new(PrivateKey::new(key), Seed::new(seed), wall_clock) }
}

/// The gateway's name for a device.
#[must_use]
pub fn peer_of(device: usize) -> PeerId {
    PeerId(device as u64 + 1)
}

/// A prefix written in a test.
#[must_use]
pub fn net(text: &str) -> ipnet::IpNet {
    text.parse().unwrap_or_default()
}
