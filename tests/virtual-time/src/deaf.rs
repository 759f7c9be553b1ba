//! Runs of two tunnel ends that record every time in which one direction is deaf.

use crate::{
    Clock,
    network::Agenda,
    packet::{Direction, Stamp, Tuple, UDP, build, check_payload, payload},
    tunn::{Step, Tunnel},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A time in which packets of one direction were sent and none arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deaf {
    /// Who sent: 0 or 1.
    pub sender: usize,
    /// From the first packet lost.
    pub from: Duration,
    /// To the next one sent that arrived, or to the end.
    pub until: Duration,
    /// Packets lost.
    pub lost: u64,
}

/// What the wire does to a datagram of a sender: how many copies arrive.
pub type Fate<'a> = dyn FnMut(Duration, usize, &[u8]) -> usize + 'a;
/// True when an end sends a packet at a time.
pub type Pattern<'a> = dyn Fn(Duration, usize) -> bool + 'a;

/// What a run has shown. Arrays are by sender.
#[derive(Debug, Default)]
pub struct Record {
    /// Deaf times, in order.
    pub deaf: Vec<Deaf>,
    /// Handshake initiations seen on the wire.
    pub initiations: [u64; 2],
    /// Handshake responses seen on the wire.
    pub responses: [u64; 2],
    /// Packets sent.
    pub sent: [u64; 2],
    /// Packets delivered.
    pub delivered: [u64; 2],
    /// Packets delivered twice.
    pub doubled: u64,
    /// Errors of the library, counted.
    pub errors: BTreeMap<String, u64>,
}

impl Record {
    /// The longest deaf time of a direction.
    #[must_use]
    pub fn longest(&self, sender: usize) -> Duration {
        self.deaf
            .iter()
            .filter(|deaf| deaf.sender == sender)
            .map(|deaf| deaf.until - deaf.from)
            .max()
            .unwrap_or_default()
    }

    /// Packets lost in a direction.
    #[must_use]
    pub fn lost(&self, sender: usize) -> u64 {
        self.deaf.iter().filter(|deaf| deaf.sender == sender).map(|deaf| deaf.lost).sum()
    }
}

/// Two ends, a path of 10 ms, packets every 100 ms where the pattern says so.
pub struct Run<'a> {
    /// The ends.
    pub ends: [&'a mut dyn Tunnel; 2],
    /// How long.
    pub span: Duration,
    /// How often a plain `Tunn`'s timers are run.
    pub poll: Duration,
    /// Who sends when.
    pub pattern: &'a Pattern<'a>,
    /// What arrives.
    pub fate: &'a mut Fate<'a>,
}

impl std::fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Run of {:?}", self.span)
    }
}

impl Run<'_> {
    /// Runs it.
    pub fn record(self, clock: &mut Clock) -> Record {
        let mut record = Record::default();
        let mut agenda: Agenda<(usize, Vec<u8>)> = Agenda::default();
        let mut sent: [Vec<Duration>; 2] = Default::default();
        let mut arrived: [BTreeSet<u64>; 2] = Default::default();
        let start = clock.elapsed();
        while clock.elapsed() < start + self.span {
            let now = clock.elapsed();
            let at = now - start;
            let mut steps: Vec<(usize, Step)> = Vec::new();
            while let Some((to, bytes)) = agenda.due(now) {
                steps.push((to, self.ends[to].receive(&bytes, clock.now())));
            }
            for (end, sent) in sent.iter_mut().enumerate() {
                if at.as_millis().is_multiple_of(self.poll.as_millis()) {
                    steps.push((end, self.ends[end].tick(clock.now())));
                }
                if at.as_millis().is_multiple_of(100) && (self.pattern)(at, end) {
                    let packet = inner(end, sent.len() as u64);
                    sent.push(now);
                    steps.push((end, self.ends[end].send(&packet, clock.now())));
                }
            }
            for (end, step) in steps {
                for error in step.errors {
                    *record.errors.entry(error).or_default() += 1;
                }
                for stamp in step.tunnel.iter().filter_map(|packet| check_payload(packet.get(28..)?).ok()) {
                    record.doubled += u64::from(!arrived[1 - end].insert(stamp.sequence));
                }
                for datagram in step.network {
                    match datagram.first() {
                        Some(1) => record.initiations[end] += 1,
                        Some(2) => record.responses[end] += 1,
                        _ => {}
                    }
                    for _ in 0..(self.fate)(at, end, &datagram) {
                        agenda.add(now + Duration::from_millis(10), (1 - end, datagram.clone()));
                    }
                }
            }
            clock.advance_to(now + Duration::from_millis(10));
        }
        for sender in 0..2 {
            record.sent[sender] = sent[sender].len() as u64;
            record.delivered[sender] = arrived[sender].len() as u64;
            let mut gap: Option<Deaf> = None;
            for (sequence, at) in (0u64..).zip(&sent[sender]) {
                if arrived[sender].contains(&sequence) {
                    record.deaf.extend(gap.take().map(|gap| Deaf { until: *at - start, ..gap }));
                } else if *at + Duration::from_millis(100) < start + self.span {
                    let gap = gap.get_or_insert(Deaf { sender, from: *at - start, until: self.span, lost: 0 });
                    gap.lost += 1;
                }
            }
            record.deaf.extend(gap);
        }
        record
    }
}

/// The address of an end inside the tunnel.
#[must_use]
pub fn address(end: usize) -> std::net::Ipv4Addr {
    [10, 9, 0, 1 + u8::try_from(end).unwrap_or(0)].into()
}

fn inner(end: usize, sequence: u64) -> Vec<u8> {
    let tuple = Tuple { source: (address(end), 9), destination: (address(1 - end), 9), protocol: UDP };
    let stamp = Stamp { flow: 0, direction: Direction::Up, sequence };
    build(tuple, 0, 0, &payload(stamp, 100), false)
}
