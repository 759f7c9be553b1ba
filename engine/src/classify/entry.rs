//! One connection: what was decided about it, and what passed.

use super::FlowKey;
use super::first_bytes::{Extracted, Gather};
use crate::packet::header::{Headers, TCP, Tcp, UDP};
use crate::policy::{Action, Verdict};
use std::time::{Duration, Instant};

/// Idle limit of an established TCP connection: RFC 5382 REQ-5 asks for no less than 2 hours and 4 minutes.
pub const IDLE_TCP: Duration = Duration::from_secs(2 * 3600 + 4 * 60);
/// Idle limit of a TCP connection that is not established yet, or no more.
pub const IDLE_TCP_TRANSITORY: Duration = Duration::from_secs(60);
/// Idle limit of UDP: RFC 4787 REQ-5 asks for no less than 2 minutes.
pub const IDLE_UDP: Duration = Duration::from_secs(180);
/// Idle limit of everything else.
pub const IDLE_OTHER: Duration = Duration::from_secs(60);

/// A packet's direction within its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the opener.
    Forward,
    /// To the opener.
    Reverse,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Only one end has been heard.
    Opening,
    /// Both ends have been heard.
    Established,
    /// TCP: both FINs, or a RST, were seen.
    Closed,
}

/// What went one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// Packets, each segment of a super-packet counted.
    pub packets: u64,
    /// IP bytes.
    pub bytes: u64,
    /// TCP: the sequence number after the last byte sent this way, once there was a segment.
    pub next_seq: Option<u32>,
    /// TCP: the greatest acknowledgement sent this way, once there was one.
    pub last_ack: Option<u32>,
    /// TCP: a FIN was seen.
    pub fin: bool,
}

impl Side {
    fn note(&mut self, headers: &Headers, packets: u32) {
        self.packets += u64::from(packets);
        self.bytes += headers.total_len as u64;
        let Some(tcp) = headers.tcp() else { return };
        if !tcp.has(Tcp::RST) {
            self.next_seq = Some(latest(self.next_seq, tcp.next_seq()));
        }
        if tcp.has(Tcp::ACK) {
            self.last_ack = Some(latest(self.last_ack, tcp.ack));
        }
        self.fin |= tcp.has(Tcp::FIN);
    }
}

/// The later of two numbers in sequence space (RFC 9293 section 3.4).
fn latest(old: Option<u32>, new: u32) -> u32 {
    match old {
        Some(old) if (new.wrapping_sub(old) as i32) < 0 => old,
        _ => new,
    }
}

/// What the verdict means for the next packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It goes on.
    Passes,
    /// It is refused.
    Refused,
    /// It goes on, and is looked at: first bytes will decide.
    Pending,
    /// It goes on to, or comes from, another host than its opener asked for.
    Redirected,
}

/// The first bytes of a flow that was asked for them.
#[derive(Clone, Debug)]
pub(crate) enum FirstBytes {
    /// On their way.
    Awaited(Gather),
    /// Read.
    Known(Extracted),
}

/// One connection.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The policy epoch under which the verdict was reached; its meaning is the caller's.
    pub epoch: u64,
    /// What the policy said.
    pub verdict: Verdict,
    pub(crate) standing: Standing,
    /// `None` for a flow that was not asked for them when it began.
    pub(crate) first_bytes: Option<Box<FirstBytes>>,
    /// Of a redirected flow: the connection that it is at its new destination.
    pub(crate) redirect: Option<Box<FlowKey>>,
    /// From the opener.
    pub forward: Side,
    /// To the opener.
    pub reverse: Side,
    pub(super) peer: u64,
    pub(super) opener: FlowKey,
    pub(super) last_seen: Instant,
    phase: Phase,
}

impl Entry {
    pub(super) fn new(opener: FlowKey, peer: u64, epoch: u64, verdict: Verdict, now: Instant) -> Self {
        Self {
            epoch,
            verdict,
            standing: if verdict.action.permits() { Standing::Passes } else { Standing::Refused },
            first_bytes: None,
            redirect: None,
            forward: Side::default(),
            reverse: Side::default(),
            peer,
            opener,
            last_seen: now,
            phase: Phase::Opening,
        }
    }

    /// Whom the flow belongs to.
    #[must_use]
    pub fn peer(&self) -> u64 {
        self.peer
    }

    /// The flow as its opener sent it.
    #[must_use]
    pub fn opener(&self) -> &FlowKey {
        &self.opener
    }

    /// When its last packet passed.
    #[must_use]
    pub fn last_seen(&self) -> Instant {
        self.last_seen
    }

    /// How far it has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What went in `direction`.
    #[must_use]
    pub fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Forward => &self.forward,
            Direction::Reverse => &self.reverse,
        }
    }

    /// How long it may idle.
    #[must_use]
    pub fn idle_limit(&self) -> Duration {
        match (self.opener.protocol, self.phase) {
            (TCP, Phase::Established) => IDLE_TCP,
            (TCP, Phase::Opening | Phase::Closed) => IDLE_TCP_TRANSITORY,
            (UDP, _) => IDLE_UDP,
            _ => IDLE_OTHER,
        }
    }

    /// True for flows to give up first when room is short: denied ones, and those without two living ends.
    pub(super) fn is_cheap(&self) -> bool {
        self.verdict.action == Action::Block || self.phase != Phase::Established
    }

    /// How many buffers its first bytes fill.
    pub(super) fn buffers(&self) -> usize {
        match self.first_bytes.as_deref() {
            Some(FirstBytes::Awaited(gather)) => gather.buffers(),
            _ => 0,
        }
    }

    pub(super) fn note(&mut self, direction: Direction, headers: &Headers, packets: u32, now: Instant) {
        self.last_seen = self.last_seen.max(now);
        let side = match direction {
            Direction::Forward => &mut self.forward,
            Direction::Reverse => &mut self.reverse,
        };
        side.note(headers, packets);
        let reset = headers.tcp().is_some_and(|tcp| tcp.has(Tcp::RST));
        if reset || (self.forward.fin && self.reverse.fin) {
            self.phase = Phase::Closed;
        } else if self.phase == Phase::Opening && self.forward.packets > 0 && self.reverse.packets > 0 {
            self.phase = Phase::Established;
        }
    }
}
