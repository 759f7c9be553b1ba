//! The rows once more, told from the outside: which registration should carry traffic at rest. Written from the
//! specification, not from the machine.

use super::device::Device;
use crate::registration::*;
use uuid::Uuid;

fn kept(device: &Device, slot: &Slot) -> Option<Uuid> {
    let state = device.machine.state();
    let registration = state.slots.get(slot)?;
    let teams: Vec<&String> = match slot {
        Slot::PreLogin => state.settings.pre_login.iter().collect(),
        _ => state.settings.organizations.iter().collect(),
    };
    (device.accepted[&registration.id] && teams.contains(&&registration.organization)).then_some(registration.id)
}

/// Whether this one may carry traffic anywhere at all. One that its successor has replaced in its slot may, until then.
pub(super) fn usable(device: &Device, id: Uuid) -> bool {
    device.accepted[&id] && device.machine.state().slot_of(id).is_none_or(|slot| kept(device, slot).is_some())
}

fn own(device: &Device, user: &UserId) -> Option<Uuid> {
    let owed = device.machine.state().must_authenticate.contains(user);
    kept(device, &Slot::User(user.clone())).filter(|_| !owed)
}

fn held(device: &Device, session: &Session, now: SinceBoot) -> bool {
    let state = device.machine.state();
    let since = state.sessions.iter().find(|known| known.id == session.id).and_then(|known| known.hold_since);
    let open = match state.settings.pre_login_hold {
        Hold::UntilAuthenticated => true,
        Hold::Cut => false,
        Hold::Seconds(seconds) => since.is_some_and(|since| now.0 < since.0 + u64::from(seconds) * 1_000),
    };
    open && !state.denied.contains(&session.user)
}

/// What should carry traffic when everything has been answered.
pub(super) fn wanted(device: &Device, now: SinceBoot) -> Option<Uuid> {
    let state = device.machine.state();
    if state.emergency || state.switched_off.is_some() {
        return None;
    }
    let token = kept(device, &Slot::PreLogin);
    let desktop = device.os.iter().rev().find(|session| session.active);
    let of_user = match desktop {
        _ if !state.settings.multi_user => kept(device, &Slot::Machine),
        Some(session) => own(device, &session.user),
        None => None,
    };
    if of_user.is_some() {
        return of_user;
    }
    let Some(session) = desktop else {
        let waits_for_log_off = device.os.iter().any(|session| state.denied.contains(&session.user));
        let previous = state.previous_user.as_ref().and_then(|user| own(device, user));
        return match () {
            () if waits_for_log_off => None,
            () if state.settings.pre_login.is_some() => token,
            () if state.settings.multi_user && state.settings.keep_previous => previous,
            () => None,
        };
    };
    token.filter(|_| held(device, session, now))
}

/// Whether a row lets this one carry traffic without a successor under way.
pub(super) fn may_rest_on(device: &Device, carrying: Uuid, now: SinceBoot) -> bool {
    let state = device.machine.state();
    if wanted(device, now) == Some(carrying) {
        return true;
    }
    if state.emergency || state.switched_off.is_some() {
        return false;
    }
    let desktop = device.os.iter().rev().find(|session| session.active);
    match (state.slot_of(carrying), desktop) {
        // D1: the hold lasts until the user's own registration carries traffic.
        (Some(Slot::PreLogin), Some(session)) => held(device, session, now),
        // M5, while D20 enrols.
        (Some(Slot::User(user)), None) => {
            state.settings.multi_user
                && state.settings.keep_previous
                && kept(device, &Slot::PreLogin).is_none()
                && state.previous_user.as_ref() == Some(user)
        }
        _ => false,
    }
}
