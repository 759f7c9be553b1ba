//! From what the rows want to orders: never two at once, never a gap between two usable registrations.

use super::{
    Action, Activation, ActivationId, Addresses, Enrolment, Phase, Prompt, RequestId, SinceBoot, Slot, State,
    decide::{Decision, HoldState, Want, hold},
};

/// Gives the orders that lead from `state` to what `decision` wants.
pub(super) fn reconcile(state: &mut State, decision: &Decision, now: SinceBoot, out: &mut Vec<Action>) {
    let mut wake = decision.wake;
    let mut wake_at = |at: SinceBoot| wake = Some(wake.map_or(at, |earlier| earlier.min(at)));
    match &decision.want {
        Want::Down => down(state, out),
        Want::Keep => abort(state, out),
        Want::Carry(slot) => carry(state, slot, now, out, &mut wake_at),
    }
    prompt(state, decision, out);
    // D15: an enrolment instead of a sign-in that is no longer wanted comes too late, like a sign-in would.
    let wanted = decision.enrol.as_ref();
    state.enrolment.take_if(|under_way| {
        under_way.slot != Slot::PreLogin
            && wanted.is_none_or(|(slot, team)| {
                under_way.slot != *slot || !under_way.organization.eq_ignore_ascii_case(team)
            })
    });
    if let Some((slot, organization)) = &decision.enrol {
        enrol(state, slot, organization, now, out, &mut wake_at);
    }
    if state.deadline != wake {
        state.deadline = wake;
        out.push(Action::SetDeadline { at: wake });
    }
}

fn down(state: &mut State, out: &mut Vec<Action>) {
    if state.tunnel.active.take().is_some() | state.tunnel.next.take().is_some() {
        out.push(Action::Deactivate);
    }
}

/// Gives up what is being prepared. A commit already ordered is waited for.
fn abort(state: &mut State, out: &mut Vec<Action>) {
    if let Some((next, _)) = state.tunnel.next.take_if(|(_, phase)| *phase != Phase::Committing) {
        out.push(Action::AbortPreparing { activation: next.id });
    }
}

fn carry(state: &mut State, slot: &Slot, now: SinceBoot, out: &mut Vec<Action>, wake_at: &mut dyn FnMut(SinceBoot)) {
    let Some(wanted) = state.slots.get(slot).cloned() else { return down(state, out) };
    if state.activation_target != Some(wanted.id) {
        state.activation_target = Some(wanted.id);
        state.activation_backoff.reset();
    }
    if must_be_cut(state, &wanted.id, now, wake_at) {
        down(state, out);
    }
    match &mut state.tunnel.next {
        Some((next, phase)) if next.registration.id == wanted.id => {
            if *phase == Phase::Ready {
                *phase = Phase::Committing;
                out.push(Action::Commit { activation: next.id });
            }
            return;
        }
        Some((_, Phase::Committing)) => return,
        Some(_) => abort(state, out),
        None => {}
    }
    if state.tunnel.active.is_none() {
        state.tunnel.renew = false;
    }
    if !state.tunnel.renew && state.tunnel.active.as_ref().is_some_and(|active| active.registration.id == wanted.id) {
        return;
    }
    if let Some(until) = state.activation_backoff.pending(now) {
        return wake_at(until);
    }
    let addresses = match &state.tunnel.active {
        None => Addresses::First,
        Some(active) if active.registration.organization.eq_ignore_ascii_case(&wanted.organization) => Addresses::Kept,
        Some(_) => Addresses::Replaced,
    };
    let activation = ActivationId(state.next_id());
    out.push(Action::Activate {
        activation,
        slot: slot.clone(),
        registration: wanted.id,
        organization: wanted.organization.clone(),
        addresses,
    });
    let next = Activation { id: activation, registration: wanted, slot: slot.clone() };
    state.tunnel.next = Some((next, Phase::Preparing));
}

/// Whether what carries traffic may not wait for its successor: its registration has fallen or its
/// organisation is no longer configured, or the first attempt to
/// replace it failed and no row lets it carry traffic by itself.
fn must_be_cut(state: &State, wanted: &uuid::Uuid, now: SinceBoot, wake_at: &mut dyn FnMut(SinceBoot)) -> bool {
    let revoked = |activation: &Activation| activation.registration.revoked;
    if state.tunnel.next.as_ref().is_some_and(|(next, phase)| *phase == Phase::Committing && revoked(next)) {
        return true;
    }
    let Some(active) = state.tunnel.active.as_ref().filter(|active| active.registration.id != *wanted) else {
        return false;
    };
    let slot = state.slot_of(active.registration.id);
    if revoked(active) || slot.is_some_and(|slot| state.usable(slot).is_none()) {
        return true;
    }
    let held = match (slot, state.desktop()) {
        (Some(Slot::PreLogin), Some(session)) => hold(state, session, now),
        _ => HoldState::Closed,
    };
    if let HoldState::Open { until: Some(until) } = held {
        wake_at(until);
    }
    held == HoldState::Closed && state.activation_backoff.failures > 0
}

fn prompt(state: &mut State, decision: &Decision, out: &mut Vec<Action>) {
    let stale = state.prompt.take_if(|shown| {
        decision.prompt.as_ref().is_none_or(|ask| {
            (&ask.session, &ask.user, &ask.organization) != (&shown.session, &shown.user, &shown.organization)
        })
    });
    if let Some(stale) = stale {
        out.push(Action::DismissPrompt { request: stale.request });
    }
    if let (None, Some(ask)) = (&state.prompt, decision.prompt.clone()) {
        let request = RequestId(state.next_id());
        let super::decide::Ask { user, session, organization } = ask;
        out.push(Action::Prompt {
            request,
            user: user.clone(),
            session: session.clone(),
            organization: organization.clone(),
        });
        state.prompt = Some(Prompt { request, user, session, organization, shown: false });
    }
}

fn enrol(
    state: &mut State,
    slot: &Slot,
    organization: &str,
    now: SinceBoot,
    out: &mut Vec<Action>,
    wake_at: &mut dyn FnMut(SinceBoot),
) {
    let this = |other: &Enrolment| other.slot == *slot && other.organization.eq_ignore_ascii_case(organization);
    if state.enrolment.as_ref().is_some_and(this) {
        return;
    }
    if let Some(until) = state.enrol_backoff.pending(now) {
        return wake_at(until);
    }
    let enrolment =
        Enrolment { request: RequestId(state.next_id()), slot: slot.clone(), organization: organization.to_owned() };
    out.push(Action::EnrolByToken {
        request: enrolment.request,
        slot: enrolment.slot.clone(),
        organization: enrolment.organization.clone(),
    });
    state.enrolment = Some(enrolment);
}
