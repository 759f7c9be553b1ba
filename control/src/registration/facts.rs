//! First half of a step: what an event changes in what is known. Decides nothing about traffic.

use super::{Action, Event, Registration, Row, Seat, Session, SessionId, SinceBoot, Slot, State, UserId};
use crate::splitmix::mix;
use uuid::Uuid;

/// Takes the event into `state`. The answer is the row that explains it, when that is not the decision's.
pub(super) fn observe(state: &mut State, event: &Event, now: SinceBoot, out: &mut Vec<Action>) -> Option<Row> {
    match event {
        Event::Boot => boot(state, out),
        Event::ServiceStarted { boot_id, sessions } => return service_started(state, boot_id, sessions, out),
        Event::SessionLogon { user, session, seat } => {
            state.sessions.retain(|known| known.id != *session);
            state.sessions.push(Session::new(session.clone(), user.clone(), *seat, false));
            take_desktop(state, session, *seat);
        }
        Event::SessionLogoff { session } => return logoff(state, session),
        Event::SessionActivated { session, seat } => return activated(state, session, *seat),
        Event::SessionDeactivated { session } => match state.sessions.iter_mut().find(|known| known.id == *session) {
            Some(known) if known.active => known.active = false,
            _ => return Some(Row::D8),
        },
        Event::Lock | Event::Unlock => return Some(Row::D5),
        Event::Suspend => return Some(Row::D7),
        Event::Resume => {
            retry_at_once(state);
            if let Some(active) = &state.tunnel.active {
                out.push(Action::Rehandshake { activation: active.id });
            }
            return Some(Row::D7);
        }
        Event::MdmChanged { settings } => return super::mode::changed(state, settings),
        Event::MdmBroken { message } => {
            if state.configuration_error.as_ref() != Some(message) {
                out.push(Action::Notify { message: message.clone() });
            }
            state.configuration_error = Some(message.clone());
            return Some(Row::D14);
        }
        Event::RegistrationDeleted { registration } | Event::RegistrationRevoked { registration } => {
            let keep_record = matches!(event, Event::RegistrationRevoked { .. });
            return gone(state, *registration, keep_record, now);
        }
        Event::Connect => {
            state.switched_off = None;
            retry_at_once(state);
            if let Some(session) = state.desktop().map(|session| session.id.clone()) {
                for known in state.sessions.iter_mut().filter(|known| known.id == session) {
                    known.declined = false;
                }
            }
            return Some(Row::Switch);
        }
        Event::Disconnect => {
            if state.settings.switch_locked {
                let message = "the administrator has locked the switch: disconnecting is not allowed".to_owned();
                out.push(Action::Notify { message });
            } else {
                state.switched_off = Some(now);
            }
            return Some(Row::Switch);
        }
        Event::NetworkUp => {
            retry_at_once(state);
            return Some(Row::D11);
        }
        Event::EmergencyDisconnect { engaged } => {
            state.emergency = *engaged;
            return Some(Row::D21);
        }
        Event::TransportChanged { activation } => {
            state.tunnel.renew |= state.tunnel.active.as_ref().is_some_and(|active| active.id == *activation);
        }
        Event::NetworkDown => return Some(Row::D11),
        Event::HoldExpired | Event::DeadlineReached => {
            if super::decide::reconnect_at(state).is_some_and(|at| at <= now) {
                state.switched_off = None;
                return Some(Row::Switch);
            }
        }
        answer => return super::answers::observe(state, answer, now, out),
    }
    None
}

/// A failure is paused for; the jitter comes from the seed and the ids given so far.
pub(super) fn random(state: &mut State) -> u64 {
    let n = state.next_id();
    mix(state.seed, n)
}

fn retry_at_once(state: &mut State) {
    state.enrol_backoff.reset();
    state.activation_backoff.hurry();
}

/// Nothing of a process's life survives its end.
fn process_ended(state: &mut State, out: &mut Vec<Action>) {
    if state.tunnel.active.is_some() || state.tunnel.next.is_some() {
        out.push(Action::Deactivate);
    }
    state.tunnel = Default::default();
    state.enrolment = None;
    state.prompt = None;
    state.deadline = None;
    state.enrol_backoff.reset();
    state.activation_backoff.reset();
}

/// D6: whoever was logged on is gone; registrations stay.
fn boot(state: &mut State, out: &mut Vec<Action>) {
    process_ended(state, out);
    state.sessions.clear();
    state.switched_off = None;
}

/// D18.
fn service_started(state: &mut State, boot_id: &str, sessions: &[Session], out: &mut Vec<Action>) -> Option<Row> {
    let same_boot = state.boot_id.as_deref() == Some(boot_id);
    if same_boot {
        process_ended(state, out);
    } else {
        boot(state, out);
        state.boot_id = Some(boot_id.to_owned());
    }
    let before = std::mem::take(&mut state.sessions);
    for session in sessions {
        let known = before.iter().find(|known| known.id == session.id && known.user == session.user);
        let mut session = session.clone();
        session.hold_since = known.and_then(|known| known.hold_since);
        session.declined = known.is_some_and(|known| known.declined);
        let (id, seat, active) = (session.id.clone(), session.seat, session.active);
        state.sessions.retain(|other| other.id != id);
        state.sessions.push(session);
        if active {
            take_desktop(state, &id, seat);
        }
    }
    (same_boot && !state.sessions.is_empty()).then_some(Row::D18)
}

fn logoff(state: &mut State, session: &SessionId) -> Option<Row> {
    let Some(index) = state.sessions.iter().position(|known| known.id == *session) else { return Some(Row::D8) };
    if state.desktop().is_some_and(|desktop| desktop.id == *session) {
        state.switched_off = None;
    }
    state.sessions.remove(index);
    None
}

fn activated(state: &mut State, session: &SessionId, seat: Seat) -> Option<Row> {
    if !state.sessions.iter().any(|known| known.id == *session) {
        return Some(Row::D8); // A login screen of its own, or a session that is not logged on yet.
    }
    let arrived = state.desktop().is_none_or(|desktop| desktop.id != *session);
    take_desktop(state, session, seat);
    if arrived && let Some(known) = state.sessions.last_mut() {
        known.declined = false;
    }
    None
}

/// D8: the session activated last owns the desktop; the console shows one session at a time.
fn take_desktop(state: &mut State, session: &SessionId, seat: Seat) {
    if seat == Seat::Console {
        for other in state.sessions.iter_mut().filter(|other| other.seat == Seat::Console) {
            other.active = false;
        }
    }
    if let Some(index) = state.sessions.iter().position(|known| known.id == *session) {
        let mut taken = state.sessions.remove(index);
        taken.seat = seat;
        taken.active = true;
        state.sessions.push(taken);
    }
}

/// D9: deleted or revoked.
fn gone(state: &mut State, id: Uuid, keep_record: bool, now: SinceBoot) -> Option<Row> {
    let carried = revoke_activations(state, id);
    let slots: Vec<Slot> = state.slots.iter().filter(|(_, kept)| kept.id == id).map(|(slot, _)| slot.clone()).collect();
    if slots.is_empty() && !carried {
        return Some(Row::D15);
    }
    for slot in slots {
        let was_usable = state.usable(&slot).is_some();
        if keep_record {
            state.slots.entry(slot.clone()).and_modify(|kept| kept.revoked = true);
        } else {
            state.slots.remove(&slot);
        }
        if was_usable {
            withdraw(state, &slot, now);
        }
    }
    Some(Row::D9)
}

/// What carries this registration's traffic, or is about to, may not any longer. True when something did.
fn revoke_activations(state: &mut State, id: Uuid) -> bool {
    let mut found = false;
    for activation in state.tunnel.active.iter_mut().chain(state.tunnel.next.as_mut().map(|(next, _)| next)) {
        if activation.registration.id == id {
            activation.registration.revoked = true;
            found = true;
        }
    }
    found
}

/// Who loses the hold, and when the next enrolment may start.
fn withdraw(state: &mut State, slot: &Slot, now: SinceBoot) {
    let multi_user = state.settings.multi_user;
    if *slot == Slot::PreLogin || state.settings.by_token {
        let random = random(state);
        state.enrol_backoff.fail(now, random);
    }
    match slot {
        Slot::PreLogin => {}
        Slot::Machine if !multi_user => {
            let everyone: Vec<UserId> = state.sessions.iter().map(|session| session.user.clone()).collect();
            state.denied.extend(everyone);
            state.machine_owner = None;
            state.sessions.iter_mut().for_each(|session| session.declined = false);
        }
        Slot::User(user) if multi_user && state.logged_on(user) => {
            state.denied.insert(user.clone());
            state
                .sessions
                .iter_mut()
                .filter(|session| session.user == *user)
                .for_each(|session| session.declined = false);
        }
        Slot::Machine | Slot::User(_) => {}
    }
}

/// Keeps a registration.
pub(super) fn store(state: &mut State, slot: Slot, registration: &Registration) {
    state.slots.insert(slot, registration.clone());
}
