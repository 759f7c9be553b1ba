//! Second half of a step: what the rows want, given what is known. Pure, and the same for every way that led here.

use super::{Hold, Registration, Row, Session, SessionId, SinceBoot, Slot, State, UserId};

/// What the rows want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// Of the traffic.
    pub want: Want,
    /// Of enrolment by service token: for which slot, and the team.
    pub enrol: Option<(Slot, String)>,
    /// Of the login form.
    pub prompt: Option<Ask>,
    /// Which row says so.
    pub row: Row,
    /// When it has to be decided again.
    pub wake: Option<SinceBoot>,
}

/// What should carry traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Nothing.
    Down,
    /// What carries it now, which is not to be brought up anew (M5 while D20 enrols).
    Keep,
    /// The registration of this slot.
    Carry(Slot),
}

/// Whom to ask, where, for which team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub user: UserId,
    pub session: SessionId,
    pub organization: String,
}

impl Decision {
    fn new(want: Want, row: Row) -> Self {
        Self { want, enrol: None, prompt: None, row, wake: None }
    }
}

/// The rows, from the highest to the lowest.
pub(super) fn decide(state: &State, now: SinceBoot) -> Decision {
    if state.emergency {
        return Decision::new(Want::Down, Row::D21);
    }
    if state.switched_off.is_some() {
        let wake = reconnect_at(state);
        return Decision { wake, ..Decision::new(Want::Down, Row::Switch) };
    }
    match (state.desktop(), state.settings.multi_user) {
        (None, false) => single_login_screen(state),
        (Some(session), false) => single_desktop(state, session, now),
        (None, true) => multi_login_screen(state),
        (Some(session), true) => multi_desktop(state, session, now),
    }
}

/// S1, S2, S5, S6.
fn single_login_screen(state: &State) -> Decision {
    if state.usable(&Slot::Machine).is_some() {
        Decision::new(Want::Carry(Slot::Machine), Row::S5)
    } else if state.settings.pre_login.is_none() && state.settings.by_token {
        Decision { enrol: own_token(state, Slot::Machine), ..Decision::new(Want::Down, Row::S1) }
    } else if denied_user_logged_on(state) {
        Decision::new(Want::Down, Row::S6)
    } else if state.settings.pre_login.is_some() {
        pre_login(state, Row::S1)
    } else {
        Decision::new(Want::Down, Row::S2)
    }
}

/// S3, S5, S7.
fn single_desktop(state: &State, session: &Session, now: SinceBoot) -> Decision {
    if state.usable(&Slot::Machine).is_none() {
        return unregistered_desktop(state, session, now, Row::S3);
    }
    let owner = state.machine_owner.as_ref();
    let row = if owner.is_some_and(|owner| *owner != session.user) { Row::S7 } else { Row::S5 };
    Decision::new(Want::Carry(Slot::Machine), row)
}

/// M4, M5, D13, D20, and D9's wait for the log-off.
fn multi_login_screen(state: &State) -> Decision {
    if denied_user_logged_on(state) {
        return Decision::new(Want::Down, Row::D9);
    }
    let previous = state.previous_user.clone().map(Slot::User).filter(|slot| {
        let owed = matches!(slot, Slot::User(user) if state.must_authenticate.contains(user));
        !owed && state.usable(slot).is_some()
    });
    if state.settings.pre_login.is_some() {
        if state.usable(&Slot::PreLogin).is_some() {
            return Decision::new(Want::Carry(Slot::PreLogin), Row::M4);
        }
        let mut decision = pre_login(state, Row::D20);
        if state.settings.keep_previous && previous.is_some_and(|slot| carries(state, &slot)) {
            decision.want = Want::Keep;
        }
        return decision;
    }
    match previous {
        _ if !state.settings.keep_previous => Decision::new(Want::Down, Row::D13),
        Some(slot) => Decision::new(Want::Carry(slot), Row::M5),
        None => Decision::new(Want::Down, Row::M5),
    }
}

/// M1, M6, M7, D17.
fn multi_desktop(state: &State, session: &Session, now: SinceBoot) -> Decision {
    let slot = Slot::User(session.user.clone());
    let owed = state.must_authenticate.contains(&session.user);
    if state.usable(&slot).is_some() && !owed {
        return Decision::new(Want::Carry(slot), Row::M6);
    }
    let others = state.tunnel.active.as_ref().is_some_and(|active| match state.slot_of(active.registration.id) {
        Some(Slot::User(user)) => *user != session.user,
        _ => false,
    });
    let row = match (owed, others) {
        (true, _) => Row::M1,
        (false, true) => Row::D17,
        (false, false) => Row::M7,
    };
    unregistered_desktop(state, session, now, row)
}

/// Someone is at the desktop who must sign in: prompt, and hold (D1).
fn unregistered_desktop(state: &State, session: &Session, now: SinceBoot, row: Row) -> Decision {
    let mut decision = match hold(state, session, now) {
        HoldState::Open { until } => {
            let mut decision = pre_login(state, row);
            decision.wake = until;
            decision
        }
        HoldState::Closed => Decision::new(Want::Down, row),
    };
    if state.settings.by_token {
        let slot = if state.settings.multi_user { Slot::User(session.user.clone()) } else { Slot::Machine };
        decision.enrol = own_token(state, slot);
    } else if !session.declined {
        decision.prompt = state.settings.organizations.first().map(|organization| Ask {
            user: session.user.clone(),
            session: session.id.clone(),
            organization: organization.clone(),
        });
    }
    decision
}

/// The pre-login registration, or the enrolment that makes it.
fn pre_login(state: &State, row: Row) -> Decision {
    if state.usable(&Slot::PreLogin).is_some() {
        return Decision::new(Want::Carry(Slot::PreLogin), row);
    }
    let enrol = state.settings.pre_login.clone().map(|team| (Slot::PreLogin, team));
    Decision { enrol, ..Decision::new(Want::Down, row) }
}

/// Enrolment by the token of the first organisation's own entry.
fn own_token(state: &State, slot: Slot) -> Option<(Slot, String)> {
    state.settings.organizations.first().map(|team| (slot, team.clone()))
}

/// Whether D1 lets the pre-login registration carry traffic under a user's desktop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HoldState {
    Open { until: Option<SinceBoot> },
    Closed,
}

/// D1, and D9's exception to it.
pub(super) fn hold(state: &State, session: &Session, now: SinceBoot) -> HoldState {
    if state.settings.pre_login.is_none() || state.denied.contains(&session.user) {
        return HoldState::Closed;
    }
    match state.settings.pre_login_hold {
        Hold::UntilAuthenticated => HoldState::Open { until: None },
        Hold::Cut => HoldState::Closed,
        Hold::Seconds(seconds) => {
            let until = session.hold_since.unwrap_or(now).plus(u64::from(seconds) * 1000);
            if now < until { HoldState::Open { until: Some(until) } } else { HoldState::Closed }
        }
    }
}

/// When the user's switch turns itself on again.
pub(super) fn reconnect_at(state: &State) -> Option<SinceBoot> {
    let seconds = state.settings.auto_connect.filter(|seconds| *seconds > 0)?;
    Some(state.switched_off?.plus(u64::from(seconds) * 1000))
}

fn denied_user_logged_on(state: &State) -> bool {
    state.denied.iter().any(|user| state.logged_on(user))
}

fn carries(state: &State, slot: &Slot) -> bool {
    let active: Option<&Registration> = state.tunnel.active.as_ref().map(|active| &active.registration);
    active.is_some_and(|active| state.slots.get(slot).is_some_and(|kept| kept.id == active.id))
}
