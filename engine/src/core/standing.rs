//! What the rules make of a flow: when it begins, when its first bytes are known, and when the rules have changed.

use super::Counters;
use super::judge::{Walk, opened};
use crate::classify::{Entry, Extracted, FirstBytes, Standing};
use crate::packet::header::TCP;
use crate::policy::{Action, Answer, Policy, Verdict};

/// The rules in force for a peer's flows.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) policy: &'a Policy,
    pub(super) epoch: u64,
    pub(super) counters: &'a Counters,
    /// True at the gateway, which sends flows elsewhere when the rules say so.
    pub(super) redirects: bool,
}

/// What becomes of a flow that is judged again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// It goes on as it was, or waits, or was refused before.
    Stays,
    /// It lived until now, and must be closed at both ends.
    Closes,
    /// It goes to another destination now; the next packet begins it anew.
    Moves,
}

impl Rules<'_> {
    /// Judges a flow of another epoch anew.
    pub(super) fn judge_again(&self, entry: &mut Entry) -> Again {
        entry.epoch = self.epoch;
        match opinion(self.policy, entry) {
            Some(verdict) => self.settle(entry, verdict),
            None => {
                entry.standing = Standing::Pending;
                Again::Stays
            }
        }
    }

    /// Decides on a flow whose first bytes have been read. True when it must be closed: also when it would have to go
    /// to another destination, for it has begun at this one.
    pub(super) fn decide(&self, entry: &mut Entry) -> bool {
        let verdict = self.policy.decide(entry.opener(), known(entry).unwrap_or(&Extracted::default()));
        match self.settle(entry, verdict) {
            Again::Stays => false,
            Again::Closes => true,
            Again::Moves => {
                entry.standing = Standing::Refused;
                true
            }
        }
    }

    fn settle(&self, entry: &mut Entry, verdict: Verdict) -> Again {
        let lived = entry.standing != Standing::Refused;
        entry.verdict = verdict;
        let moves = verdict.action.permits() && !self.leads_where_it_goes(entry, verdict.action);
        if moves && lived && entry.opener().protocol != TCP {
            return Again::Moves;
        }
        entry.standing = match entry.redirect {
            _ if moves || !verdict.action.permits() => Standing::Refused,
            Some(_) => Standing::Redirected,
            None => Standing::Passes,
        };
        self.count(entry.standing);
        if lived && entry.standing == Standing::Refused {
            self.counters.flows_closed.add(1);
            return Again::Closes;
        }
        Again::Stays
    }

    /// True when a flow that goes where it does now follows `action`. A connection cannot move.
    fn leads_where_it_goes(&self, entry: &Entry, action: Action) -> bool {
        let opener = entry.opener();
        let now = entry.redirect.as_deref().unwrap_or(opener);
        match action {
            Action::Override { address, port } if self.redirects => {
                let wanted = (address, port.unwrap_or(opener.destination_port));
                opened(entry) == Walk::Inbound && wanted == (now.destination, now.destination_port)
            }
            _ => now == opener,
        }
    }

    pub(super) fn count(&self, standing: Standing) {
        if standing == Standing::Refused {
            self.counters.flows_denied.add(1);
        } else {
            self.counters.flows_allowed.add(1);
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
