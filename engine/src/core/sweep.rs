//! Off the packet path: flows that a new identity or policy denies are closed, idle ones too; flows without traffic
//! are forgotten.

use super::judge::{Walk, opened, owner};
use super::standing::{Again, Rules};
use super::{Engine, PeerKind};
use crate::classify::{Entry, FlowId, FlowKey, Phase, Side, Sweep, SweepProgress};
use crate::packet::answer;
use crate::packet::header::TCP;
use std::net::SocketAddr;
use std::time::Instant;

/// Where a peer's sweep is: flows opened on one side first, then those of the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sweeping {
    progress: SweepProgress,
    opened: Walk,
}

impl Sweeping {
    pub(super) fn start() -> Self {
        Self { progress: SweepProgress::default(), opened: Walk::Outbound }
    }
}

/// A flow that is being closed.
struct Closing {
    opener: FlowKey,
    /// The same at the acceptor's end.
    accepted: FlowKey,
    opened: Walk,
    forward: Side,
    reverse: Side,
}

impl Closing {
    fn of(entry: &Entry) -> Option<Self> {
        (entry.opener().protocol == TCP && entry.phase() != Phase::Closed).then(|| Self {
            opener: *entry.opener(),
            accepted: entry.redirect.as_deref().copied().unwrap_or(*entry.opener()),
            opened: opened(entry),
            forward: entry.forward,
            reverse: entry.reverse,
        })
    }
}

impl Engine {
    /// Judges the next `budget` flows of a peer under its new epoch.
    pub(super) fn sweep(&mut self, slot: usize, budget: usize, now: Instant) {
        let peer = &mut self.peers[slot];
        let Some(sweeping) = &mut peer.sweeping else { return };
        let Some(active) = &peer.active else {
            peer.sweeping = None;
            return;
        };
        let redirects = peer.kind != PeerKind::Gateway;
        let rules = Rules { policy: &active.policy, epoch: peer.epoch, counters: &self.counters, redirects };
        let mut closing = Vec::new();
        let done = self.flows.sweep(&mut sweeping.progress, budget, owner(slot, sweeping.opened), |entry| {
            if entry.epoch == rules.epoch {
                return Sweep::Keep;
            }
            match rules.judge_again(entry) {
                Again::Stays => Sweep::Keep,
                Again::Closes => {
                    closing.extend(Closing::of(entry));
                    Sweep::Keep
                }
                Again::Moves => Sweep::Remove,
            }
        });
        if done {
            peer.sweeping = match sweeping.opened {
                Walk::Outbound => Some(Sweeping { progress: SweepProgress::default(), opened: Walk::Inbound }),
                Walk::Inbound => None,
            };
        }
        for flow in closing {
            self.reset(slot, &flow, now);
        }
        self.deliveries.finish();
    }

    /// Closes a live flow at both ends.
    pub(super) fn close_flow(&mut self, slot: usize, flow: FlowId, now: Instant) {
        if let Some(closing) = self.flows.get(flow).and_then(Closing::of) {
            self.reset(slot, &closing, now);
        }
    }

    fn reset(&mut self, slot: usize, flow: &Closing, now: Instant) {
        let opener = SocketAddr::new(flow.opener.source, flow.opener.source_port);
        let sought = SocketAddr::new(flow.opener.destination, flow.opener.destination_port);
        let acceptor = SocketAddr::new(flow.accepted.destination, flow.accepted.destination_port);
        let (to_opener, to_acceptor) = match flow.opened {
            Walk::Outbound => (Walk::Inbound, Walk::Outbound),
            Walk::Inbound => (Walk::Outbound, Walk::Inbound),
        };
        self.reset_end(slot, sought, opener, (&flow.reverse, &flow.forward), to_opener, now);
        self.reset_end(slot, opener, acceptor, (&flow.forward, &flow.reverse), to_acceptor, now);
    }

    /// A RST from `source` to `destination`. RFC 5961 wants exactly the next expected sequence number: what `source`
    /// sent last if all of it arrived, and what `destination` acknowledged last if not; so both are sent.
    fn reset_end(
        &mut self,
        slot: usize,
        source: SocketAddr,
        destination: SocketAddr,
        (sent, received): (&Side, &Side),
        walk: Walk,
        now: Instant,
    ) {
        let acknowledged = received.last_ack.filter(|ack| Some(*ack) != sent.next_seq);
        // Nobody has answered its SYN, and the answer that is under way will be denied: this is one, from 0 (RFC 9293
        // section 3.10.7.1).
        let unanswered =
            (sent.next_seq.is_none() && acknowledged.is_none() && received.next_seq.is_some()).then_some(0);
        for seq in sent.next_seq.into_iter().chain(acknowledged).chain(unanswered) {
            let len = answer::reset(source, destination, seq, received.next_seq, &mut self.scratch);
            match walk {
                Walk::Inbound => {
                    self.deliveries.push(&self.scratch[..len]);
                    self.counters.answers.add(1);
                }
                Walk::Outbound => self.seal_answer(slot, len, now),
            }
        }
    }
}
