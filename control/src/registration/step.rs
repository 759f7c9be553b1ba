//! One step: event -> facts -> decision -> orders.

use super::{Action, Event, Hold, Row, SinceBoot, State, decide, facts, reconcile};
use std::collections::BTreeSet;
use uuid::Uuid;

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Explains the event.
    pub row: Row,
    /// Explains the state it led to, where that is another row.
    pub then: Option<Row>,
    /// Orders to the daemon.
    pub actions: Vec<Action>,
}

/// Moves `state` on by one event.
pub(super) fn step(state: &mut State, event: &Event, now: SinceBoot) -> Step {
    let known = registrations(state);
    let leaving = leaving_row(state, event);
    let mut said = Vec::new();
    let observed = facts::observe(state, event, now, &mut said);
    settle(state, now);
    let decision = decide::decide(state, now);
    let mut actions = Vec::new();
    // What observing ordered of the traffic comes first, what it tells people last.
    said.retain(|action| {
        let order = !matches!(action, Action::Notify { .. });
        if order {
            actions.push(action.clone());
        }
        !order
    });
    reconcile::reconcile(state, &decision, now, &mut actions);
    let kept = registrations(state);
    actions.extend(known.difference(&kept).map(|id| Action::Forget { registration: *id }));
    actions.extend(said);
    let row = observed.or(leaving).or_else(|| event_row(state, event, decision.row)).unwrap_or(decision.row);
    // S4 is how S5 begins: one row, not two.
    let then = (row != decision.row && row != Row::S4).then_some(decision.row);
    Step { row, then, actions }
}

/// What follows from the facts whatever the event was.
fn settle(state: &mut State, now: SinceBoot) {
    let Some(session) = state.desktop().map(|session| session.id.clone()) else { return };
    for known in state.sessions.iter_mut().filter(|known| known.id == session) {
        known.hold_since.get_or_insert(now);
        state.previous_user = Some(known.user.clone());
    }
}

/// Every registration whose secrets the daemon keeps.
fn registrations(state: &State) -> BTreeSet<Uuid> {
    let activations = state.tunnel.active.iter().chain(state.tunnel.next.as_ref().map(|(next, _)| next));
    state.slots.values().map(|kept| kept.id).chain(activations.map(|activation| activation.registration.id)).collect()
}

/// The rows about leaving a desktop, seen from the state before the event.
fn leaving_row(before: &State, event: &Event) -> Option<Row> {
    let desktop = before.desktop()?;
    let prompted = before.prompt.as_ref().is_some_and(|prompt| prompt.session == desktop.id);
    let multi_user = before.settings.multi_user;
    match event {
        Event::SessionLogoff { session } if *session == desktop.id => match () {
            () if before.denied.contains(&desktop.user) => Some(Row::S6),
            () if multi_user && prompted => Some(Row::M2),
            () => multi_user.then_some(Row::D4),
        },
        Event::SessionDeactivated { session } if *session == desktop.id => multi_user.then_some(Row::D4),
        Event::SessionActivated { session, .. } | Event::SessionLogon { session, .. } if *session != desktop.id => {
            (multi_user && prompted).then_some(Row::M3)
        }
        _ => None,
    }
}

/// The rows that only the event tells apart.
fn event_row(state: &State, event: &Event, decided: Row) -> Option<Row> {
    match (event, decided) {
        (Event::Boot | Event::ServiceStarted { .. }, _) => Some(Row::D6),
        (Event::AuthSucceeded { .. }, Row::S5) => Some(Row::S4),
        (Event::HoldExpired | Event::DeadlineReached, Row::S3 | Row::M1 | Row::M7 | Row::D17) => {
            matches!(state.settings.pre_login_hold, Hold::Seconds(_)).then_some(Row::D1)
        }
        _ => None,
    }
}
