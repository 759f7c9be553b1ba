//! What the rules make of a flow: when it begins, when its first bytes are known, and when the rules have changed.

use super::Counters;
use crate::classify::{Entry, Extracted, FirstBytes, Standing};
use crate::policy::{Answer, Policy, Verdict};

/// The rules in force for a peer's flows.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) policy: &'a Policy,
    pub(super) epoch: u64,
    pub(super) counters: &'a Counters,
}

impl Rules<'_> {
    /// Judges a flow of another epoch anew. True when it lived until now and must be closed.
    pub(super) fn judge_again(&self, entry: &mut Entry) -> bool {
        entry.epoch = self.epoch;
        match opinion(self.policy, entry) {
            Some(verdict) => self.settle(entry, verdict),
            None => {
                entry.standing = Standing::Pending;
                false
            }
        }
    }

    /// Decides on a flow whose first bytes have been read. True when it must be closed.
    pub(super) fn decide(&self, entry: &mut Entry) -> bool {
        let verdict = self.policy.decide(entry.opener(), known(entry).unwrap_or(&Extracted::default()));
        self.settle(entry, verdict)
    }

    fn settle(&self, entry: &mut Entry, verdict: Verdict) -> bool {
        let lived = entry.standing != Standing::Refused;
        entry.verdict = verdict;
        entry.standing = if verdict.action.permits() { Standing::Passes } else { Standing::Refused };
        self.count(verdict);
        let closes = lived && entry.standing == Standing::Refused;
        if closes {
            self.counters.flows_closed.add(1);
        }
        closes
    }

    pub(super) fn count(&self, verdict: Verdict) {
        if verdict.action.permits() {
            self.counters.flows_allowed.add(1);
        } else {
            self.counters.flows_denied.add(1);
        }
    }
}

/// What `policy` says of a flow by all that is known of it; `None` while its first bytes are awaited. Of one that was
/// not asked for them when it began, they are unknown for good.
pub(super) fn opinion(policy: &Policy, entry: &Entry) -> Option<Verdict> {
    match policy.answer(entry.opener()) {
        Answer::Decided(verdict) => Some(verdict),
        Answer::AsksPayload => match entry.first_bytes.as_deref() {
            Some(FirstBytes::Awaited(_)) => None,
            _ => Some(policy.decide(entry.opener(), known(entry).unwrap_or(&Extracted::default()))),
        },
    }
}

fn known(entry: &Entry) -> Option<&Extracted> {
    match entry.first_bytes.as_deref() {
        Some(FirstBytes::Known(extracted)) => Some(extracted),
        _ => None,
    }
}
