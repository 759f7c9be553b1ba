//! Application traffic: flows opened from either side, in bursts, as single packets and as super-packets.

use crate::{
    generations::End,
    model::{Flow, Sent},
    node::OwnedFrame,
    packet::{Direction, STAMP, Stamp, TCP, Tuple, UDP, build, payload},
    sim::Sim,
};
use std::{net::Ipv4Addr, time::Duration};
use vestibule_engine::packet::{Gso, Offload};

/// Background traffic, a tick at a time.
#[derive(Debug, Default)]
pub struct Traffic {
    every: Duration,
    at: Option<Duration>,
}

impl Traffic {
    /// When the next tick is due.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        self.at
    }

    /// No more ticks.
    pub fn stop(&mut self) {
        self.at = None;
    }
}

/// One order to send.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// Flow.
    pub flow: usize,
    /// Its way.
    pub direction: Direction,
    /// How many packets.
    pub count: u64,
    /// Payload bytes of each.
    pub size: usize,
    /// As one super-packet.
    pub merged: bool,
}

impl Sim {
    /// Opens a flow between a device's port and a place behind the gateway; its number.
    pub fn flow(
        &mut self,
        device: usize,
        protocol: u8,
        opener: Direction,
        local: u16,
        remote: ([u8; 4], u16),
    ) -> usize {
        let up = Tuple {
            source: (self.devices[device].inner, local),
            destination: (Ipv4Addr::from(remote.0), remote.1),
            protocol,
        };
        self.model.flows.push(Flow::new(device, up, opener));
        self.model.flows.len() - 1
    }

    /// Starts ticking.
    pub fn start_traffic(&mut self, every: Duration) {
        self.traffic = Traffic { every, at: Some(self.clock.elapsed() + every) };
    }

    /// Sends `count` packets of a flow one way, in one batch.
    pub fn send(&mut self, flow: usize, direction: Direction, count: u64) {
        self.send_bursts(&[Burst { flow, direction, count, size: 100, merged: false }]);
    }

    /// Sends bursts: one batch per end.
    pub fn send_bursts(&mut self, bursts: &[Burst]) {
        for end in std::iter::once(End::Gateway).chain((0..self.devices.len()).map(End::Device)) {
            let mut frames = Vec::new();
            for burst in bursts {
                let device = self.model.flows[burst.flow].device;
                let wanted = if burst.direction == Direction::Up { End::Device(device) } else { End::Gateway };
                if wanted == end {
                    frames.extend(self.make(end, *burst));
                }
            }
            if frames.is_empty() {
                continue;
            }
            let before = self.active_label_map(end);
            let now = self.clock.now();
            let output = self.node(end).frames(frames, now);
            self.settle(end, &before, &[], output);
        }
    }

    fn make(&mut self, end: End, burst: Burst) -> Vec<OwnedFrame> {
        let number = burst.flow;
        let at = self.clock.elapsed();
        self.model.flows[number].forget(at);
        let active = self.generations.active(end, self.model.flows[number].device);
        let label = active.map(|generation| generation.label);
        let allowed = active.is_some_and(|active| self.model.flows[number].allowed_by(&active.half(end).policy));
        if allowed {
            self.model.flows[number].last_allowed = Some(at);
        }
        let must = label.is_some() && self.model.must_arrive(number, &self.generations);
        let flow = &mut self.model.flows[number];
        let tuple = flow.tuple(burst.direction);
        let size = burst.size.max(STAMP);
        // Connections to port 22 never say SYN: what a table younger than the connection sees.
        let begins = burst.direction == flow.opener && flow.up.destination.1 != 22;
        let way = flow.way_mut(burst.direction);
        let mut bodies = Vec::new();
        for _ in 0..burst.count {
            let sequence = way.sent.len() as u64;
            way.sent.push(Sent { at, label, allowed, must, delivered: false });
            let stamp = Stamp { flow: u32::try_from(number).unwrap_or(u32::MAX), direction: burst.direction, sequence };
            bodies.push(payload(stamp, size));
        }
        let whole = burst.merged && bodies.len() > 1 && !(begins && way.tcp_sequence == 0 && tuple.protocol == TCP);
        let mut header = |len: usize| {
            let sequence = way.tcp_sequence;
            // SYN with data on the first one where the flow behaves; PSH and ACK on the others.
            let first = begins && sequence == 0;
            way.tcp_sequence = sequence.wrapping_add(u32::try_from(len).unwrap_or(0) + u32::from(first));
            (sequence, if first { 0x02 } else { 0x18 })
        };
        if whole {
            let body = bodies.concat();
            let (sequence, flags) = header(body.len());
            let cut = u16::try_from(size).unwrap_or(u16::MAX);
            let gso = if tuple.protocol == TCP { Gso::Tcp { size: cut } } else { Gso::Udp { size: cut } };
            let offset = if tuple.protocol == TCP { 16 } else { 6 };
            let offload = Offload { gso: Some(gso), checksum: Some((20, offset)) };
            return vec![(build(tuple, sequence, flags, &body, true), offload)];
        }
        bodies
            .iter()
            .map(|body| {
                let (sequence, flags) = header(body.len());
                (build(tuple, sequence, flags, body, false), Offload::default())
            })
            .collect()
    }

    /// One tick: some flows send something, in the ways that are open to them.
    pub(crate) fn traffic_tick(&mut self) {
        self.traffic.at = Some(self.clock.elapsed() + self.traffic.every);
        let mut bursts = Vec::new();
        for _ in 0..1 + self.random.below(4) {
            if self.model.flows.is_empty() {
                return;
            }
            let number = self.random.index(self.model.flows.len());
            let flow = &self.model.flows[number];
            let opener = flow.opener;
            let other = if opener == Direction::Up { Direction::Down } else { Direction::Up };
            let direction = if flow.open && self.random.chance(500) { other } else { opener };
            let size = [STAMP, 100, 333, 1200, 1392][self.random.index(5)];
            let count = 1 + self.random.below(6);
            bursts.push(Burst { flow: number, direction, count, size, merged: self.random.chance(250) });
        }
        self.send_bursts(&bursts);
    }

    /// The usual flows of a device: allowed by all, by some, by none of the given identities, opened from both sides.
    pub fn usual_flows(&mut self, device: usize) {
        self.flow(device, UDP, Direction::Up, 40_001, ([10, 0, 0, 53], 53));
        self.flow(device, TCP, Direction::Up, 40_002, ([10, 0, 0, 53], 389));
        self.flow(device, UDP, Direction::Down, 7_000, ([10, 0, 0, 9], 7_001));
        self.flow(device, UDP, Direction::Up, 40_003, ([10, 0, 0, 80], 443));
        self.flow(device, TCP, Direction::Up, 40_004, ([10, 0, 0, 80], 443));
        self.flow(device, TCP, Direction::Up, 40_005, ([10, 0, 0, 99], 22));
        self.flow(device, UDP, Direction::Up, 40_006, ([10, 0, 0, 99], 5_000));
    }
}
