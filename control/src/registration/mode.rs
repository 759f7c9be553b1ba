//! A new configuration: D11, D19.

use super::{Row, Settings, Slot, State};

/// Takes the settings over. Registrations are kept, whatever changes.
pub(super) fn changed(state: &mut State, settings: &Settings) -> Option<Row> {
    state.configuration_error = None;
    state.enrol_backoff.reset();
    state.activation_backoff.hurry();
    if state.settings == *settings {
        return Some(Row::D11);
    }
    let before = std::mem::replace(&mut state.settings, settings.clone());
    if settings.switch_locked {
        state.switched_off = None;
    }
    let Settings { switch_locked, auto_connect, .. } = *settings;
    if (Settings { switch_locked, auto_connect, ..before.clone() }) == *settings {
        // Only the user's switch is concerned: nobody is asked anything again.
        return Some(Row::Switch);
    }
    for session in &mut state.sessions {
        session.hold_since = None;
        session.declined = false;
    }
    match (before.multi_user, settings.multi_user) {
        (false, true) => Some(turned_on(state)),
        (true, false) => Some(turned_off(state)),
        _ => None,
    }
}

/// M1: whoever is at the desktop signs in anew.
fn turned_on(state: &mut State) -> Row {
    if let Some(user) = state.desktop().map(|session| session.user.clone()) {
        state.must_authenticate.insert(user);
        return Row::M1;
    }
    Row::D19
}

/// S7's single slot becomes that of the user at the desktop.
fn turned_off(state: &mut State) -> Row {
    state.must_authenticate.clear();
    if let Some(user) = state.desktop().map(|session| session.user.clone())
        && let Some(registration) = state.slots.remove(&Slot::User(user.clone()))
    {
        state.slots.insert(Slot::Machine, registration);
        state.machine_owner = Some(user);
    }
    Row::D19
}
