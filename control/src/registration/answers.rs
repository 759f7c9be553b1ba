//! What the daemon answers to the machine's orders. Late answers are told by their id (D15).

use super::{
    Action, Activation, Event, Phase, Registration, RequestId, Row, SinceBoot, Slot, State, UserId,
    facts::{random, store},
};

/// Takes an answer into `state`. The result is the row that explains it, when that is not the decision's.
pub(super) fn observe(state: &mut State, event: &Event, now: SinceBoot, out: &mut Vec<Action>) -> Option<Row> {
    match event {
        Event::EnrolSucceeded { request, slot, registration } => enrolled(state, *request, slot, registration, out),
        Event::EnrolFailed { request, reason, .. } => {
            if !end_enrolment(state, *request) {
                return Some(Row::D15);
            }
            enrol_failed(state, reason, now);
            Some(Row::D11)
        }
        Event::TokenRejected { request, reason } => {
            if request.is_some_and(|request| !end_enrolment(state, request)) {
                return Some(Row::D15);
            }
            token_rejected(state, reason, request.is_some(), now, out);
            Some(Row::D10)
        }
        Event::AuthPrompted { request } => match &mut state.prompt {
            Some(prompt) if prompt.request == *request => {
                prompt.shown = true;
                None
            }
            _ => Some(Row::D15),
        },
        Event::AuthSucceeded { request, user, registration } => authenticated(state, *request, user, registration, out),
        Event::AuthCancelled { request, reason } => {
            let Some(prompt) = state.prompt.take_if(|prompt| prompt.request == *request) else {
                return Some(Row::D15);
            };
            for session in state.sessions.iter_mut().filter(|session| session.id == prompt.session) {
                session.declined = true;
            }
            state.last_error = Some(reason.clone());
            None
        }
        Event::GenerationReady { activation } => match &mut state.tunnel.next {
            Some((next, phase @ Phase::Preparing)) if next.id == *activation => {
                *phase = Phase::Ready;
                Some(Row::Swap)
            }
            _ => Some(Row::D15),
        },
        Event::GenerationFailed { activation, reason } => {
            let is = |candidate: &Activation| candidate.id == *activation;
            if state.tunnel.next.take_if(|(next, _)| is(next)).is_some() {
                let random = random(state);
                state.activation_backoff.fail(now, random);
            } else if state.tunnel.active.take_if(|active| is(active)).is_none() {
                return Some(Row::D15);
            }
            state.last_error = Some(reason.clone());
            Some(Row::D11)
        }
        Event::Committed { activation } => {
            let Some((next, _)) = state.tunnel.next.take_if(|(next, _)| next.id == *activation) else {
                return Some(Row::D15);
            };
            let same = |former: Activation| {
                former.registration.organization.eq_ignore_ascii_case(&next.registration.organization)
            };
            let row = state.tunnel.active.take().map(|former| if same(former) { Row::D2 } else { Row::D12 });
            state.tunnel.active = Some(next);
            state.tunnel.renew = false;
            state.activation_backoff.reset();
            state.last_error = None;
            row
        }
        _ => None,
    }
}

fn end_enrolment(state: &mut State, request: RequestId) -> bool {
    state.enrolment.take_if(|enrolment| enrolment.request == request).is_some()
}

fn enrol_failed(state: &mut State, reason: &str, now: SinceBoot) {
    let random = random(state);
    state.enrol_backoff.fail(now, random);
    state.last_error = Some(reason.to_owned());
}

fn enrolled(
    state: &mut State,
    request: RequestId,
    slot: &Slot,
    registration: &Registration,
    out: &mut Vec<Action>,
) -> Option<Row> {
    if end_enrolment(state, request) {
        state.enrol_backoff.reset();
        state.token_error = None;
        state.last_error = None;
        store(state, slot.clone(), registration);
        authenticated_by_token(state, slot);
        return None;
    }
    // Late: worth keeping only where nothing better is.
    if state.usable(slot).is_none() {
        store(state, slot.clone(), registration);
    } else if state.slot_of(registration.id).is_none() {
        out.push(Action::Forget { registration: registration.id });
    }
    Some(Row::D15)
}

/// Nobody has to sign in for what a token has made.
fn authenticated_by_token(state: &mut State, slot: &Slot) {
    match slot {
        Slot::PreLogin => {}
        Slot::Machine => {
            state.machine_owner = None;
            state.denied.clear();
        }
        Slot::User(user) => {
            state.denied.remove(user);
            state.must_authenticate.remove(user);
        }
    }
}

/// D10: what is registered stays registered. Where the organisation says otherwise, the gateway revokes it.
fn token_rejected(state: &mut State, reason: &str, enrolling: bool, now: SinceBoot, out: &mut Vec<Action>) {
    if state.token_error.as_deref() != Some(reason) {
        out.push(Action::Notify { message: format!("the service token was refused: {reason}") });
    }
    state.token_error = Some(reason.to_owned());
    if enrolling {
        enrol_failed(state, reason, now);
    }
}

fn authenticated(
    state: &mut State,
    request: RequestId,
    user: &UserId,
    registration: &Registration,
    out: &mut Vec<Action>,
) -> Option<Row> {
    let expected = state.prompt.take_if(|prompt| prompt.request == request).is_some();
    let owns_desktop = state.desktop().is_some_and(|session| session.user == *user);
    // Single-user: nobody takes the machine over from its first user (S7), nor from whoever is at the desktop now.
    let machine = !state.settings.multi_user
        && state.usable(&Slot::Machine).is_none()
        && (owns_desktop || state.desktop().is_none());
    let slot = if machine { Slot::Machine } else { Slot::User(user.clone()) };
    let good = state.usable(&slot).is_some() && !state.must_authenticate.contains(user);
    if expected || !good {
        if machine {
            state.machine_owner = Some(user.clone());
        }
        store(state, slot.clone(), registration);
        if state.usable(&slot).is_some() {
            state.denied.remove(user);
            state.must_authenticate.remove(user);
            state
                .sessions
                .iter_mut()
                .filter(|session| session.user == *user)
                .for_each(|session| session.hold_since = None);
        }
    } else if state.slot_of(registration.id).is_none() {
        out.push(Action::Forget { registration: registration.id });
    }
    (!expected && !owns_desktop).then_some(Row::D15)
}
