//! The verdict on one packet: cached by flow and epoch, asked anew when either is new.

use super::{Counters, DropReason};
use crate::classify::{Direction, Entry, FlowId, FlowKey, FlowTable, FragmentTable};
use crate::packet::header::{Fragment, Headers, Tcp, Transport};
use crate::policy::{Action, Policy, Verdict};
use std::time::Instant;

/// Which way a packet walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walk {
    /// From the adapter into the tunnel.
    Outbound,
    /// From the tunnel to the adapter.
    Inbound,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// It goes on.
    Allow,
    /// It is refused with an answer; a flow that lived until now is closed at both ends.
    Deny { closes: Option<FlowId> },
    /// It goes no further, without an answer.
    Drop(DropReason),
}

/// Whose packets are judged, and by which rules.
pub(crate) struct Judge<'a> {
    pub(crate) flows: &'a mut FlowTable,
    pub(crate) fragments: &'a mut FragmentTable,
    pub(crate) counters: &'a Counters,
    pub(crate) policy: &'a Policy,
    pub(crate) slot: usize,
    pub(crate) epoch: u64,
    pub(crate) walk: Walk,
    /// True when the device, whom the policy is about, sent the packet.
    pub(crate) from_device: bool,
    pub(crate) now: Instant,
}

/// The flow table's owner of a flow: the peer's slot, and on which side the flow was opened.
pub(crate) fn owner(slot: usize, opened: Walk) -> u64 {
    (slot as u64) << 1 | u64::from(opened == Walk::Outbound)
}

/// On which side a flow was opened.
pub(crate) fn opened(entry: &Entry) -> Walk {
    if entry.peer() & 1 == 1 { Walk::Outbound } else { Walk::Inbound }
}

impl Judge<'_> {
    /// Judges a packet (`packets` of them in a super-packet) of the active generation.
    pub(crate) fn live(&mut self, packet: &[u8], headers: &Headers, packets: u32) -> Judged {
        if let Fragment::Later { .. } = headers.fragment {
            return match self.fragments.lookup(headers, self.now) {
                Ok(flow) => self.known(flow, Direction::Forward, headers, packets),
                Err(_) => Judged::Drop(DropReason::FragmentWithoutFirst),
            };
        }
        if let Transport::IcmpError { .. } = headers.transport {
            return self.icmp_error(packet, headers);
        }
        match self.flows.lookup_in_run(headers).filter(|(flow, _)| self.owns(*flow)) {
            Some((flow, direction)) => self.known(flow, direction, headers, packets),
            None => self.new_flow(headers, packets),
        }
    }

    /// Judges a packet that a draining generation opened: by its own rules, and never against what the new identity
    /// has closed. A flow that both identities allow is noted under the new one, whose packets will follow.
    pub(crate) fn draining(&mut self, packet: &[u8], headers: &Headers, active: Option<&Policy>) -> Judged {
        if let Transport::IcmpError { .. } = headers.transport {
            return self.icmp_error(packet, headers);
        }
        let found = match headers.fragment {
            Fragment::Later { .. } => match self.fragments.lookup(headers, self.now) {
                Ok(flow) => Some(flow),
                Err(_) => return Judged::Drop(DropReason::FragmentWithoutFirst),
            },
            _ => self.flows.lookup(headers).map(|(flow, _)| flow),
        };
        let found = found.filter(|flow| self.owns(*flow));
        let verdict = match found.and_then(|flow| self.flows.get(flow)) {
            Some(entry) if entry.epoch == self.epoch && entry.verdict.action == Action::Block => {
                return Judged::Drop(DropReason::ClosedByNewIdentity);
            }
            Some(entry) => self.policy.verdict(entry.opener()),
            None => self.policy.verdict(&FlowKey::of(headers)),
        };
        if verdict.action == Action::Block {
            return Judged::Drop(DropReason::Denied);
        }
        let key = FlowKey::of(headers);
        let follows = active.map(|active| active.verdict(&key)).filter(|verdict| verdict.action.permits());
        if let (None, Some(verdict)) = (found, follows) {
            self.flows.insert_key(key, owner(self.slot, self.walk), self.epoch, verdict, self.now);
        }
        Judged::Allow
    }

    fn owns(&self, flow: FlowId) -> bool {
        self.flows.get(flow).is_some_and(|entry| entry.peer() >> 1 == self.slot as u64)
    }

    fn known(&mut self, flow: FlowId, direction: Direction, headers: &Headers, packets: u32) -> Judged {
        let Some(entry) = self.flows.get_mut(flow) else { return Judged::Drop(DropReason::FragmentWithoutFirst) };
        if entry.epoch != self.epoch {
            let lived = entry.verdict.action.permits();
            entry.epoch = self.epoch;
            entry.verdict = self.policy.verdict(entry.opener());
            count(self.counters, entry.verdict);
            if lived && entry.verdict.action == Action::Block {
                self.counters.flows_closed.add(1);
                return Judged::Deny { closes: Some(flow) };
            }
        }
        if entry.verdict.action.permits() {
            self.flows.touch(flow, direction, headers, packets, self.now);
            if let Fragment::First { .. } = headers.fragment {
                self.fragments.insert(headers, flow, self.now);
            }
            return Judged::Allow;
        }
        // Opened towards the device and refused: the device may still open the same flow itself.
        if direction == Direction::Reverse && self.from_device {
            return self.new_flow(headers, packets);
        }
        Judged::Deny { closes: None }
    }

    fn new_flow(&mut self, headers: &Headers, packets: u32) -> Judged {
        let key = FlowKey::of(headers);
        let mut verdict = self.policy.verdict(&key);
        let mut opener = (key, self.walk);
        // In the middle of a TCP connection (our table is younger than it) nobody knows who opened it; as a rule whoever
        // has the higher port. The device's word counts for nothing here: it could send anything anywhere without a SYN.
        if headers.tcp().is_some_and(|tcp| !tcp.has(Tcp::SYN)) {
            let reversed = key.reversed();
            let other = self.policy.verdict(&reversed);
            let answers = key.source_port < key.destination_port;
            let only_other = verdict.action == Action::Block && other.action.permits();
            if !self.from_device && (answers || only_other) {
                verdict = other;
                opener = (reversed, if self.walk == Walk::Outbound { Walk::Inbound } else { Walk::Outbound });
            } else if self.from_device && answers && only_other {
                // Perhaps allowed: the other side's next segment will tell, and no answer must close it until then.
                return Judged::Drop(DropReason::Denied);
            }
        }
        count(self.counters, verdict);
        let flow = self.flows.insert_key(opener.0, owner(self.slot, opener.1), self.epoch, verdict, self.now);
        let direction = if opener.0 == key { Direction::Forward } else { Direction::Reverse };
        self.flows.touch(flow, direction, headers, packets, self.now);
        if !verdict.action.permits() {
            return Judged::Deny { closes: None };
        }
        if let Fragment::First { .. } = headers.fragment {
            self.fragments.insert(headers, flow, self.now);
        }
        Judged::Allow
    }

    /// An ICMP error belongs to the flow that it quotes (path MTU discovery lives on it).
    fn icmp_error(&mut self, packet: &[u8], headers: &Headers) -> Judged {
        let flow = FlowKey::quoted(packet, headers).and_then(|key| self.flows.lookup_key(&key)).map(|(flow, _)| flow);
        let allowed = match flow.filter(|flow| self.owns(*flow)).and_then(|flow| self.flows.get(flow)) {
            Some(entry) if entry.epoch == self.epoch => entry.verdict.action,
            Some(entry) => self.policy.verdict(entry.opener()).action,
            None => self.policy.verdict(&FlowKey::of(headers)).action,
        };
        if allowed.permits() { Judged::Allow } else { Judged::Drop(DropReason::Denied) }
    }
}

fn count(counters: &Counters, verdict: Verdict) {
    if verdict.action.permits() { counters.flows_allowed.add(1) } else { counters.flows_denied.add(1) }
}
