//! The reference model: what was sent, under which identity, and what may and must arrive.

use crate::{
    generations::{End, Generations, Life},
    packet::{Direction, Parsed, Stamp, TCP, Tuple, parse},
    policy::PolicySpec,
};
use std::{net::IpAddr, time::Duration};
use vestibule_engine::packet::Offload;

/// How long after a commit the sweep may take until nothing of a denied flow passes.
pub const SWEEP: Duration = Duration::from_secs(1);
/// Shorter than the shortest time after which a flow table forgets a silent flow (60 s).
const FORGOTTEN: Duration = Duration::from_secs(50);
/// An answer (reset, ICMP) may come this much later than the denial it answers.
const ANSWER: Duration = Duration::from_secs(4);

/// One packet that was handed to an engine.
#[derive(Clone, Debug)]
pub struct Sent {
    /// When.
    pub at: Duration,
    /// The sender's active generation.
    pub label: Option<u64>,
    /// That generation's rules at the sender allowed it.
    pub allowed: bool,
    /// On a lossless network it must arrive.
    pub must: bool,
    /// It has arrived.
    pub delivered: bool,
}

/// One direction of a flow.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// By sequence.
    pub sent: Vec<Sent>,
    /// Arrived.
    pub delivered: u64,
    /// Arrived twice.
    pub duplicated: u64,
    /// Arrived after a later one.
    pub reordered: u64,
    highest: Option<u64>,
    /// TCP sequence number of the next byte.
    pub tcp_sequence: u32,
}

/// An application's flow.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Whose device.
    pub device: usize,
    /// Addresses as the device sends.
    pub up: Tuple,
    /// Who opened it.
    pub opener: Direction,
    /// The opener's first packet has arrived: the other side may answer.
    pub open: bool,
    /// Up and down.
    pub ways: [Way; 2],
    /// Some generation in force has denied it.
    pub ever_denied: bool,
    /// When it was last looked at and found denied.
    pub denied_at: Option<Duration>,
    /// Resets that arrived.
    pub resets: u64,
    /// A flow table is younger than it, and may take the answering side for the opener.
    pub orphaned: bool,
    /// When a packet was last sent that its sender's rules allowed.
    pub last_allowed: Option<Duration>,
}

impl Flow {
    /// A flow without packets.
    #[must_use]
    pub fn new(device: usize, up: Tuple, opener: Direction) -> Self {
        Self {
            device,
            up,
            opener,
            open: false,
            ways: Default::default(),
            ever_denied: false,
            denied_at: None,
            resets: 0,
            orphaned: false,
            last_allowed: None,
        }
    }

    /// Addresses as they travel in `direction`.
    #[must_use]
    pub fn tuple(&self, direction: Direction) -> Tuple {
        match direction {
            Direction::Up => self.up,
            Direction::Down => Tuple { source: self.up.destination, destination: self.up.source, ..self.up },
        }
    }

    /// What rules are asked about.
    #[must_use]
    pub fn target(&self) -> (IpAddr, u16, u8) {
        let (address, port) = self.tuple(self.opener).destination;
        (address.into(), port, self.up.protocol)
    }

    /// The reference verdict. An orphan may be taken for one that was opened from the other side.
    #[must_use]
    pub fn allowed_by(&self, policy: &PolicySpec) -> bool {
        let (address, port, protocol) = self.target();
        let (back, back_port) = self.tuple(self.opener).source;
        policy.allows(address, port, protocol) || self.orphaned && policy.allows(back.into(), back_port, protocol)
    }

    /// After a long silence, or a long time of refusals, the flow tables have forgotten the flow. To be called before
    /// a packet is judged.
    pub fn forget(&mut self, now: Duration) {
        self.orphaned |= self.last_allowed.is_some_and(|at| at + FORGOTTEN < now);
    }

    /// One direction.
    #[must_use]
    pub fn way(&self, direction: Direction) -> &Way {
        &self.ways[usize::from(direction == Direction::Down)]
    }

    /// One direction, to change it.
    pub fn way_mut(&mut self, direction: Direction) -> &mut Way {
        &mut self.ways[usize::from(direction == Direction::Down)]
    }

    /// Some generation in force denies it, or did a moment ago.
    fn denied_about(&self, generations: &Generations, now: Duration) -> bool {
        let (address, port, protocol) = self.target();
        let (back, back_port) = self.tuple(self.opener).source;
        !generations.all_allow(self.device, address, port, protocol)
            || self.denied_at.is_some_and(|at| at + ANSWER >= now)
            || self.orphaned && !generations.all_allow(self.device, back.into(), back_port, protocol)
    }

    /// Packets that had to arrive and have not.
    #[must_use]
    pub fn lost(&self, direction: Direction) -> usize {
        self.way(direction).sent.iter().filter(|sent| sent.must && !sent.delivered).count()
    }
}

/// All flows.
#[derive(Debug, Default)]
pub struct Model {
    /// By number.
    pub flows: Vec<Flow>,
    /// Answers seen: resets and ICMP messages.
    pub answers: u64,
    /// Packets that a draining generation opened.
    pub under_draining: u64,
}

impl Model {
    /// Looks again at which flows every generation in force allows. What is in flight when a denial begins may be lost.
    pub fn reassess(&mut self, generations: &Generations, now: Duration) {
        for flow in &mut self.flows {
            let (address, port, protocol) = flow.target();
            if generations.all_allow(flow.device, address, port, protocol) {
                continue;
            }
            flow.ever_denied = true;
            flow.denied_at = Some(now);
            for way in &mut flow.ways {
                let recent = way.sent.iter_mut().rev().take_while(|sent| sent.at + Duration::from_secs(12) >= now);
                recent.for_each(|sent| sent.must = false);
            }
        }
    }

    /// True when a packet of the flow, sent now, has to arrive on a lossless network.
    #[must_use]
    pub fn must_arrive(&self, number: usize, generations: &Generations) -> bool {
        let flow = &self.flows[number];
        let (address, port, protocol) = flow.target();
        // A closed TCP connection stays closed; a UDP flow passes again as soon as it is allowed again.
        (flow.up.protocol != TCP || !flow.ever_denied)
            && !flow.orphaned
            && generations.all_allow(flow.device, address, port, protocol)
    }

    /// Judges a frame that an engine delivered at `end`. `carriers` are the generations of the datagrams that were
    /// handed in (none when the frame answers a frame), each with whether it was open before the call.
    pub fn delivered(
        &mut self,
        end: End,
        (frame, offload): (&[u8], Offload),
        carriers: &[(u64, bool)],
        generations: &Generations,
        now: Duration,
        complaints: &mut Vec<String>,
    ) {
        match parse(frame, offload) {
            Err(text) => complaints.push(format!("at {end:?}: {text}")),
            Ok(Parsed::Stamped { tuple, stamps }) => {
                for stamp in stamps {
                    if let Err(text) = self.stamp(end, tuple, stamp, carriers, generations, now) {
                        complaints.push(text);
                    }
                }
            }
            Ok(Parsed::Reset(tuple)) => {
                self.answers += 1;
                let flow = self.flows.iter_mut().find(|flow| {
                    [Direction::Up, Direction::Down].iter().any(|direction| flow.tuple(*direction) == tuple)
                });
                match flow {
                    Some(flow) => {
                        flow.resets += 1;
                        if !flow.denied_about(generations, now) {
                            complaints.push(format!("at {end:?}: a reset for the allowed flow {tuple:?}"));
                        }
                    }
                    None => complaints.push(format!("at {end:?}: a reset for the unknown flow {tuple:?}")),
                }
            }
            Ok(Parsed::Icmp) => {
                self.answers += 1;
                if !self.flows.iter().any(|flow| flow.denied_about(generations, now)) {
                    complaints.push(format!("at {end:?}: an ICMP answer while no flow is denied"));
                }
            }
            Ok(Parsed::Other) => complaints.push(format!("at {end:?}: a frame of {} strange bytes", frame.len())),
        }
    }

    fn stamp(
        &mut self,
        end: End,
        tuple: Tuple,
        stamp: Stamp,
        carriers: &[(u64, bool)],
        generations: &Generations,
        now: Duration,
    ) -> Result<(), String> {
        let told = format!("{stamp:?} at {end:?} under {carriers:?}");
        let flow = self.flows.get_mut(stamp.flow as usize).ok_or_else(|| format!("{told}: no such flow"))?;
        let wanted = if stamp.direction == Direction::Up { End::Gateway } else { End::Device(flow.device) };
        if end != wanted || tuple != flow.tuple(stamp.direction) {
            return Err(format!("{told}: delivered at the wrong place as {tuple:?}"));
        }
        let (rules, opener) = (flow.clone_head(), flow.opener);
        let way = flow.way_mut(stamp.direction);
        let position = usize::try_from(stamp.sequence).unwrap_or(usize::MAX);
        let sent = way.sent.get_mut(position).ok_or_else(|| format!("{told}: never sent"))?;
        if std::mem::replace(&mut sent.delivered, true) {
            way.duplicated += 1;
            return Err(format!("{told}: delivered twice"));
        }
        if !sent.allowed {
            return Err(format!("{told}: the sender's rules for generation {:?} deny it", sent.label));
        }
        let (sealed, at) = (sent.label, sent.at);
        way.delivered += 1;
        if way.highest.is_some_and(|highest| highest > stamp.sequence) {
            way.reordered += 1;
        }
        way.highest = way.highest.max(Some(stamp.sequence));
        flow.open |= stamp.direction == opener;

        // The identity of the key that opened it must allow it here and now.
        let under = |(label, was_open): &(u64, bool)| {
            generations.all.get(label).map(|generation| (generation.half(end), *was_open))
        };
        let fits = |half: &crate::generations::Half| rules.allowed_by(&half.policy);
        if !carriers.iter().filter_map(under).any(|(half, open)| (open || half.life.opens()) && fits(half)) {
            let lives: Vec<_> = carriers.iter().filter_map(under).map(|(half, _)| (half.life, fits(half))).collect();
            return Err(format!("{told}: (life, allowed) of its carriers here is {lives:?}"));
        }
        if !carriers.iter().any(|(label, _)| Some(*label) == sealed) {
            return Err(format!("{told}: sent at {at:?} under generation {sealed:?}"));
        }
        let draining = |(half, _): (&crate::generations::Half, bool)| matches!(half.life, Life::Draining(_));
        self.under_draining += u64::from(carriers.iter().filter_map(under).all(draining));

        // Once the active identity has closed the flow, nothing of it passes, whoever sealed it.
        if let Some(active) = generations.active(end, flow.device)
            && !fits(active.half(end))
            && now > active.half(end).since + SWEEP
        {
            return Err(format!("{told}: denied by the active identity since {:?}", active.half(end).since));
        }
        Ok(())
    }
}

impl Flow {
    /// The flow without its packets, for asking rules.
    fn clone_head(&self) -> Self {
        Self { ways: Default::default(), ..*self }
    }
}
