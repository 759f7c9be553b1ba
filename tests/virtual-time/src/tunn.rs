//! Two plain `Tunn`s under virtual time, without the engine: what the library does by itself.

use crate::{Clock, Random};
use boringtun::{
    noise::{Tunn, TunnResult},
    x25519::{PublicKey, StaticSecret},
};
use std::time::Duration;

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

/// A time in which packets of one direction were sent and none arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deaf {
    /// Who sent: 0 or 1.
    pub sender: usize,
    /// From the first packet lost.
    pub from: Duration,
    /// To the next one that arrived (or the end).
    pub until: Duration,
    /// Packets lost.
    pub lost: u64,
}

/// What the wire does to a datagram: how many copies arrive.
pub type Fate<'a> = dyn FnMut(Duration, usize, &[u8]) -> usize + 'a;
/// How many packets an end sends at a time of the clock.
pub type Pattern<'a> = dyn Fn(Duration, usize) -> u64 + 'a;

/// A run of a pair.
#[derive(Debug, Default)]
pub struct Record {
    /// Deaf times.
    pub deaf: Vec<Deaf>,
    /// Handshake initiations seen on the wire, per sender.
    pub initiations: [u64; 2],
    /// Handshake responses seen on the wire, per sender.
    pub responses: [u64; 2],
    /// Packets delivered, per sender.
    pub delivered: [u64; 2],
    /// Packets sent, per sender.
    pub sent: [u64; 2],
    /// Errors, with their count.
    pub errors: std::collections::BTreeMap<String, u64>,
}

/// Runs a pair for `span`: timers every `poll`, packets every 100 ms by `pattern`, 10 ms on the way.
pub fn run(
    clock: &mut Clock,
    ends: &mut [Driver; 2],
    span: Duration,
    poll: Duration,
    pattern: &Pattern<'_>,
    fate: &mut Fate<'_>,
) -> Record {
    let tick = Duration::from_millis(10);
    let delay = Duration::from_millis(10);
    let end_of_run = clock.elapsed() + span;
    let mut record = Record::default();
    let mut agenda = crate::network::Agenda::default();
    // Per sender: sequence of each packet that is out, and the running deaf time.
    let mut deaf: [Option<Deaf>; 2] = [None, None];
    let mut outstanding: [std::collections::BTreeMap<u64, Duration>; 2] = Default::default();
    while clock.elapsed() < end_of_run {
        let now = clock.elapsed();
        let mut steps: Vec<(usize, Step)> = Vec::new();
        while let Some((to, bytes)) = agenda.due(now) {
            let bytes: Vec<u8> = bytes;
            steps.push((to, ends[to].receive(&bytes)));
        }
        for (end, driver) in ends.iter_mut().enumerate() {
            if now.as_millis() % poll.as_millis() == 0 {
                steps.push((end, driver.tick()));
            }
            if now.as_millis() % 100 == 0 {
                for _ in 0..pattern(now, end) {
                    let packet = inner(end, record.sent[end]);
                    outstanding[end].insert(record.sent[end], now);
                    record.sent[end] += 1;
                    steps.push((end, driver.send(&packet)));
                }
            }
        }
        for (end, step) in steps {
            for error in step.errors {
                *record.errors.entry(error).or_default() += 1;
            }
            for packet in step.tunnel {
                let sender = 1 - end;
                let sequence = packet.get(20..28).and_then(|b| b.try_into().ok()).map_or(0, u64::from_be_bytes);
                record.delivered[sender] += 1;
                outstanding[sender].remove(&sequence);
                if let Some(gap) = deaf[sender].take() {
                    record.deaf.push(Deaf { until: now, ..gap });
                }
            }
            for datagram in step.network {
                match datagram.first() {
                    Some(1) => record.initiations[end] += 1,
                    Some(2) => record.responses[end] += 1,
                    _ => {}
                }
                for _ in 0..fate(now, end, &datagram) {
                    agenda.add(now + delay, (1 - end, datagram.clone()));
                }
            }
        }
        // A packet that is out for a second is lost for this account (a queued one ends the gap when it arrives).
        for sender in 0..2 {
            while let Some((&sequence, &at)) = outstanding[sender].first_key_value() {
                if at + Duration::from_secs(1) > now {
                    break;
                }
                outstanding[sender].remove(&sequence);
                let gap = deaf[sender].get_or_insert(Deaf { sender, from: at, until: at, lost: 0 });
                gap.lost += 1;
            }
        }
        clock.advance_to(now + tick);
    }
    let now = clock.elapsed();
    record.deaf.extend(deaf.into_iter().flatten().map(|gap| Deaf { until: now, ..gap }));
    record
}

fn inner(end: usize, sequence: u64) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend([10, 0, 0, 1 + u8::try_from(end).unwrap_or(0), 10, 0, 0, 2 - u8::try_from(end).unwrap_or(0)]);
    packet.extend(sequence.to_be_bytes());
    packet
}
