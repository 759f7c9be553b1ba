//! Plain `Tunn`s under virtual time, beside engines behind the same signature: what the library does by itself.

use crate::{
    Random,
    node::{Node, Output},
};
use boringtun::{
    noise::{Tunn, TunnResult},
    x25519::{PublicKey, StaticSecret},
};
use std::{net::SocketAddr, time::Instant};
use vestibule_engine::{core::Event, packet::Offload};

/// What one `Tunn` did with one input.
#[derive(Debug, Default)]
pub struct Step {
    /// Datagrams to send.
    pub network: Vec<Vec<u8>>,
    /// Inner packets.
    pub tunnel: Vec<Vec<u8>>,
    /// Errors, as text.
    pub errors: Vec<String>,
}

/// A `Tunn`, driven as its documentation says.
pub struct Driver {
    tunn: Tunn,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Driver")
    }
}

/// Two ends that know each other.
#[must_use]
pub fn pair(random: &mut Random, keepalives: [Option<u16>; 2]) -> [Driver; 2] {
    let keys: [StaticSecret; 2] = std::array::from_fn(|_| StaticSecret::from(random.key()));
    std::array::from_fn(|end| {
        let index = u32::try_from(random.below(1 << 24)).unwrap_or(0);
        Driver::new(&keys[end], &PublicKey::from(&keys[1 - end]), keepalives[end], index)
    })
}

impl Driver {
    /// One end.
    #[must_use]
    pub fn new(key: &StaticSecret, peer: &PublicKey, keepalive: Option<u16>, index: u32) -> Self {
        Self { tunn: Tunn::new(key.clone(), *peer, None, keepalive, index, None), buffer: vec![0; 4096] }
    }

    /// An inner packet leaves.
    pub fn send(&mut self, packet: &[u8]) -> Step {
        let mut step = Step::default();
        step.take(self.tunn.encapsulate(packet, &mut self.buffer));
        step
    }

    /// A datagram has come.
    pub fn receive(&mut self, datagram: &[u8]) -> Step {
        let mut step = Step::default();
        let mut again = step.take(self.tunn.decapsulate(None, datagram, &mut self.buffer));
        while again {
            again = step.take(self.tunn.decapsulate(None, &[], &mut self.buffer));
        }
        step
    }

    /// Timers.
    pub fn tick(&mut self) -> Step {
        let mut step = Step::default();
        step.take(self.tunn.update_timers(&mut self.buffer));
        step
    }

    /// A handshake initiation by order.
    pub fn initiate(&mut self) -> Step {
        let mut step = Step::default();
        step.take(self.tunn.format_handshake_initiation(&mut self.buffer, false));
        step
    }
}

impl Step {
    fn take(&mut self, result: TunnResult<'_>) -> bool {
        match result {
            TunnResult::Done => false,
            TunnResult::Err(error) => {
                self.errors.push(format!("{error:?}"));
                false
            }
            TunnResult::WriteToNetwork(bytes) => {
                self.network.push(bytes.to_vec());
                true
            }
            TunnResult::WriteToTunnelV4(bytes, _) | TunnResult::WriteToTunnelV6(bytes, _) => {
                self.tunnel.push(bytes.to_vec());
                false
            }
        }
    }
}

/// One end of a tunnel under test: a plain `Tunn` or an engine.
pub trait Tunnel {
    /// An inner packet leaves.
    fn send(&mut self, packet: &[u8], now: Instant) -> Step;
    /// A datagram has come.
    fn receive(&mut self, datagram: &[u8], now: Instant) -> Step;
    /// Timers.
    fn tick(&mut self, now: Instant) -> Step;
}

impl Tunnel for Driver {
    fn send(&mut self, packet: &[u8], _now: Instant) -> Step {
        Driver::send(self, packet)
    }

    fn receive(&mut self, datagram: &[u8], _now: Instant) -> Step {
        Driver::receive(self, datagram)
    }

    fn tick(&mut self, _now: Instant) -> Step {
        Driver::tick(self)
    }
}

/// An engine with one peer, behind the same signature.
#[derive(Debug)]
pub struct EngineEnd {
    /// The engine.
    pub node: Node,
    /// Where its peer is.
    pub peer: SocketAddr,
    /// A device: commits what is ready.
    pub commits: bool,
}

impl EngineEnd {
    fn step(&mut self, mut output: Output, now: Instant) -> Step {
        for event in std::mem::take(&mut output.events) {
            if let (Event::Ready { peer, generation, .. }, true) = (event, self.commits) {
                if let Err(error) = self.node.engine.commit(peer, generation, now) {
                    self.node.complaints.push(error.to_string());
                }
                let more = self.node.collect();
                output.datagrams.extend(more.datagrams);
            }
        }
        Step {
            network: output.datagrams.into_iter().map(|(_, bytes)| bytes).collect(),
            tunnel: output.frames.into_iter().map(|(bytes, _)| bytes).collect(),
            errors: Vec::new(),
        }
    }
}

impl Tunnel for EngineEnd {
    fn send(&mut self, packet: &[u8], now: Instant) -> Step {
        let output = self.node.frames(vec![(packet.to_vec(), Offload::default())], now);
        self.step(output, now)
    }

    fn receive(&mut self, datagram: &[u8], now: Instant) -> Step {
        let output = self.node.datagrams(&[(self.peer, datagram.to_vec())], now);
        self.step(output, now)
    }

    fn tick(&mut self, now: Instant) -> Step {
        if self.node.engine.poll_deadline().is_some_and(|deadline| deadline <= now) {
            let output = self.node.deadline(now);
            self.step(output, now)
        } else {
            Step::default()
        }
    }
}
