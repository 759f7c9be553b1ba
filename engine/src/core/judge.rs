//! The verdict on one packet: cached by flow and epoch, asked anew when either is new.

use super::standing::{Again, Rules, opinion};
use super::{Counters, DropReason};
use crate::classify::{Direction, Entry, FlowId, FlowKey, FlowTable, FragmentTable, Standing};
use crate::packet::header::{Fragment, Headers, Tcp, Transport};
use crate::packet::rewrite::End;
use crate::policy::{Action, Answer, Policy, Verdict};
use std::net::IpAddr;
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
    /// It goes on with another address and port at one end.
    Redirect(Elsewhere),
    /// It is refused with an answer; a flow that lived until now is closed at both ends.
    Deny { closes: Option<FlowId> },
    /// It goes no further, without an answer.
    Drop(DropReason),
}

/// The end of a packet to rewrite, and what to write.
pub(crate) type Elsewhere = (End, IpAddr, u16);

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

impl<'a> Judge<'a> {
    /// Judges a packet (`packets` of them in a super-packet) of the active generation.
    pub(crate) fn live(&mut self, packet: &[u8], headers: &Headers, packets: u32) -> Judged {
        if let Fragment::Later { .. } = headers.fragment {
            return match self.fragments.lookup(headers, self.now) {
                Ok(flow) => self.known(flow, Direction::Forward, packet, headers, packets),
                Err(_) => Judged::Drop(DropReason::FragmentWithoutFirst),
            };
        }
        if let Transport::IcmpError { .. } = headers.transport {
            return self.icmp_error(packet, headers);
        }
        match self.flows.lookup_in_run(headers).filter(|(flow, _)| self.owns(*flow)) {
            Some((flow, direction)) => self.known(flow, direction, packet, headers, packets),
            None => self.new_flow(packet, headers, packets),
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
        if let Some(flow) = found {
            self.show(flow, packet, headers);
        }
        // A flow whose first bytes are awaited may go on until then.
        let verdict = match found.and_then(|flow| self.flows.get(flow)) {
            Some(entry) if entry.epoch == self.epoch && entry.standing == Standing::Refused => {
                return Judged::Drop(DropReason::ClosedByNewIdentity);
            }
            Some(entry) => opinion(self.policy, entry),
            None => self.expectation(self.policy, headers),
        };
        if verdict.is_some_and(|verdict| !verdict.action.permits()) {
            return Judged::Drop(DropReason::Denied);
        }
        if let Some(flow) = found {
            return self.onward(flow, headers);
        }
        let follows = active.map(|active| self.expectation(active, headers));
        let follows = follows.filter(|follows| follows.is_none_or(|verdict| verdict.action.permits()));
        let elsewhere = |verdict: Option<Verdict>| {
            self.at_gateway() && verdict.is_some_and(|verdict| matches!(verdict.action, Action::Override { .. }))
        };
        // It can only begin at the destination that both identities send it to.
        let agreed = follows.is_some_and(|follows| follows.map(|v| v.action) == verdict.map(|v| v.action));
        if (elsewhere(verdict) || follows.is_some_and(elsewhere)) && !agreed {
            return Judged::Drop(DropReason::Denied);
        }
        let Some(follows) = follows else { return Judged::Allow };
        let (flow, standing) = self.begin(FlowKey::of(headers), self.walk, follows);
        self.show(flow, packet, headers);
        if standing == Standing::Refused { Judged::Drop(DropReason::Denied) } else { self.onward(flow, headers) }
    }

    /// What `policy` says of a flow that this packet would begin; `None` when first bytes must tell. In the middle of
    /// a TCP connection they have passed.
    fn expectation(&self, policy: &Policy, headers: &Headers) -> Option<Verdict> {
        let key = FlowKey::of(headers);
        if headers.tcp().is_some_and(|tcp| !tcp.has(Tcp::SYN)) {
            return Some(policy.verdict(&key));
        }
        match policy.answer(&key) {
            Answer::Decided(verdict) => Some(verdict),
            Answer::AsksPayload => None,
        }
    }

    /// Adds a flow with its verdict, or one that awaits its first bytes.
    fn begin(&mut self, opener: FlowKey, opened: Walk, verdict: Option<Verdict>) -> (FlowId, Standing) {
        let allowed = Verdict { action: Action::Allow, rule: None };
        let owner = owner(self.slot, opened);
        let flow = self.flows.insert_key(opener, owner, self.epoch, verdict.unwrap_or(allowed), self.now);
        let standing = match verdict.map(|verdict| verdict.action) {
            None => Standing::Pending,
            Some(Action::Block) => Standing::Refused,
            Some(Action::Override { address, port }) if self.at_gateway() => {
                // Where it cannot be sent elsewhere, it goes nowhere.
                let can = opened == Walk::Inbound && self.flows.redirect(flow, address, port);
                if can { Standing::Redirected } else { Standing::Refused }
            }
            Some(Action::Allow | Action::Override { .. }) => Standing::Passes,
        };
        if standing == Standing::Pending {
            self.flows.await_first_bytes(flow);
        } else if let Some(entry) = self.flows.get_mut(flow) {
            entry.standing = standing;
        }
        (flow, standing)
    }

    /// True when this engine is the gateway's end of the tunnel.
    fn at_gateway(&self) -> bool {
        (self.walk == Walk::Inbound) == self.from_device
    }

    /// Where a packet of a flow that passes goes on to.
    fn onward(&self, flow: FlowId, headers: &Headers) -> Judged {
        let Some(entry) = self.flows.get(flow) else { return Judged::Allow };
        let Some(redirect) = entry.redirect.as_deref() else { return Judged::Allow };
        let opener = entry.opener();
        Judged::Redirect(if headers.source == opener.source {
            (End::Destination, redirect.destination, redirect.destination_port)
        } else {
            (End::Source, opener.destination, opener.destination_port)
        })
    }

    /// Shows a packet to a flow that awaits its first bytes. True when they are known.
    fn show(&mut self, flow: FlowId, packet: &[u8], headers: &Headers) -> bool {
        let Some(entry) = self.flows.get(flow).filter(|entry| entry.first_bytes.is_some()) else { return false };
        let forward = entry.opener().source == headers.source && *entry.opener() == FlowKey::of(headers);
        let direction = if forward { Direction::Forward } else { Direction::Reverse };
        let payload = headers.payload(packet);
        self.flows.show(flow, direction, headers, payload)
    }

    fn rules(&self) -> Rules<'a> {
        let redirects = self.at_gateway();
        Rules { policy: self.policy, epoch: self.epoch, counters: self.counters, redirects }
    }

    fn owns(&self, flow: FlowId) -> bool {
        self.flows.get(flow).is_some_and(|entry| entry.peer() >> 1 == self.slot as u64)
    }

    fn known(&mut self, flow: FlowId, direction: Direction, packet: &[u8], headers: &Headers, packets: u32) -> Judged {
        let rules = self.rules();
        let Some(entry) = self.flows.get_mut(flow) else { return Judged::Drop(DropReason::FragmentWithoutFirst) };
        if entry.epoch != rules.epoch {
            match rules.judge_again(entry) {
                Again::Stays => {}
                Again::Closes => return Judged::Deny { closes: Some(flow) },
                Again::Moves => {
                    self.flows.remove(flow);
                    return self.new_flow(packet, headers, packets);
                }
            }
        }
        match entry.standing {
            Standing::Passes => self.pass(flow, direction, headers, packets),
            Standing::Redirected => {
                self.pass(flow, direction, headers, packets);
                self.onward(flow, headers)
            }
            Standing::Pending => self.pending(flow, direction, packet, headers, packets),
            // Opened towards the device and refused: the device may still open the same flow itself.
            Standing::Refused if direction == Direction::Reverse && self.from_device => {
                self.new_flow(packet, headers, packets)
            }
            Standing::Refused => Judged::Deny { closes: None },
        }
    }

    fn pass(&mut self, flow: FlowId, direction: Direction, headers: &Headers, packets: u32) -> Judged {
        self.flows.touch(flow, direction, headers, packets, self.now);
        if let Fragment::First { .. } = headers.fragment {
            self.fragments.insert(headers, flow, self.now);
        }
        Judged::Allow
    }

    /// A packet of a flow that awaits its first bytes: it goes on unless it completes them and they tell against it.
    #[cold]
    fn pending(
        &mut self,
        flow: FlowId,
        direction: Direction,
        packet: &[u8],
        headers: &Headers,
        packets: u32,
    ) -> Judged {
        if self.show(flow, packet, headers) {
            let rules = self.rules();
            if self.flows.get_mut(flow).is_some_and(|entry| rules.decide(entry)) {
                return Judged::Deny { closes: Some(flow) };
            }
        }
        self.pass(flow, direction, headers, packets)
    }

    fn new_flow(&mut self, packet: &[u8], headers: &Headers, packets: u32) -> Judged {
        let key = FlowKey::of(headers);
        let mut verdict = self.expectation(self.policy, headers);
        let mut opener = (key, self.walk);
        // In the middle of a TCP connection (our table is younger than it) nobody knows who opened it; as a rule whoever
        // has the higher port. The device's word counts for nothing here: it could send anything anywhere without a SYN.
        if let Some(first) = verdict.filter(|_| headers.tcp().is_some_and(|tcp| !tcp.has(Tcp::SYN))) {
            let reversed = key.reversed();
            let other = self.policy.verdict(&reversed);
            let answers = key.source_port < key.destination_port;
            let only_other = !first.action.permits() && other.action.permits();
            if !self.from_device && (answers || only_other) {
                verdict = Some(other);
                opener = (reversed, if self.walk == Walk::Outbound { Walk::Inbound } else { Walk::Outbound });
            } else if self.from_device && answers && only_other {
                // Perhaps allowed: the other side's next segment will tell, and no answer must close it until then.
                return Judged::Drop(DropReason::Denied);
            }
        }
        if self.flows.is_redirected_to(&key) {
            // The same connection by another way: neither end could tell their packets apart.
            return Judged::Deny { closes: None };
        }
        let (flow, standing) = self.begin(opener.0, opener.1, verdict);
        let direction = if opener.0 == key { Direction::Forward } else { Direction::Reverse };
        if standing == Standing::Pending {
            return self.pending(flow, direction, packet, headers, packets);
        }
        self.rules().count(standing);
        if standing == Standing::Refused {
            self.flows.touch(flow, direction, headers, packets, self.now);
            return Judged::Deny { closes: None };
        }
        self.pass(flow, direction, headers, packets);
        self.onward(flow, headers)
    }

    /// An ICMP error belongs to the flow that it quotes (path MTU discovery lives on it).
    fn icmp_error(&mut self, packet: &[u8], headers: &Headers) -> Judged {
        let flow = FlowKey::quoted(packet, headers).and_then(|key| self.flows.lookup_key(&key)).map(|(flow, _)| flow);
        let permitted = match flow.filter(|flow| self.owns(*flow)).and_then(|flow| self.flows.get(flow)) {
            Some(entry) if entry.epoch == self.epoch => entry.standing != Standing::Refused,
            Some(entry) => opinion(self.policy, entry).is_none_or(|verdict| verdict.action.permits()),
            None => self.policy.verdict(&FlowKey::of(headers)).action.permits(),
        };
        if permitted { Judged::Allow } else { Judged::Drop(DropReason::Denied) }
    }
}
