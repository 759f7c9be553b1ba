//! A step in plain words, for `vestibule why`.

use super::{Action, Addresses, Event, Row, Slot, State};

/// The event, the rows that decided, and what the daemon was told to do.
pub(super) fn plain(event: &Event, row: Row, then: Option<Row>, actions: &[Action], after: &State) -> String {
    let mut text = format!("{}. {row}: {}", happened(event, after), row.text());
    if let Some(then) = then {
        text.push_str(&format!("; {then}: {}", then.text()));
    }
    if matches!((event, row), (Event::Committed { .. }, Row::D2 | Row::D12)) {
        text.push_str(&format!("; {}: {}", Row::D3, Row::D3.text()));
    }
    if held(after) && row != Row::D1 {
        text.push_str(&format!("; {}: {}", Row::D1, Row::D1.text()));
    }
    let orders: Vec<String> = actions.iter().filter_map(|action| ordered(action, after)).collect();
    text.push_str(". ");
    text.push_str(&if orders.is_empty() {
        "Nothing to do".to_owned()
    } else {
        format!("To do: {}", orders.join("; "))
    });
    text.push('.');
    text
}

/// The service token's registration carries the traffic of a user who has none yet.
fn held(state: &State) -> bool {
    let pre_login = |active: &super::Activation| state.slot_of(active.registration.id) == Some(&Slot::PreLogin);
    state.tunnel.active.as_ref().is_some_and(pre_login) && state.prompt.is_some()
}

fn happened(event: &Event, after: &State) -> String {
    let owner = |session: &super::SessionId| {
        after
            .sessions
            .iter()
            .find(|known| known.id == *session)
            .map_or(String::new(), |known| format!(" of {}", known.user))
    };
    match event {
        Event::Boot => "The system started".to_owned(),
        Event::ServiceStarted { sessions, .. } => format!("The service started, {} logged on", sessions.len()),
        Event::SessionLogon { user, session, .. } => format!("{user} logged on (session {session})"),
        Event::SessionLogoff { session } => format!("Session {session} logged off"),
        Event::SessionActivated { session, .. } => format!("Session {session}{} came to the desktop", owner(session)),
        Event::SessionDeactivated { session } => format!("Session {session}{} left the desktop", owner(session)),
        Event::Lock => "The desktop was locked".to_owned(),
        Event::Unlock => "The desktop was unlocked".to_owned(),
        Event::Suspend => "The system went to sleep".to_owned(),
        Event::Resume => "The system woke up".to_owned(),
        Event::MdmChanged { .. } => "A configuration was read".to_owned(),
        Event::MdmBroken { message } => format!("The configuration cannot be used ({message})"),
        Event::EnrolSucceeded { registration, .. } => format!("Enrolled as {}", registration.email),
        Event::EnrolFailed { reason, .. } => format!("Enrolment failed ({reason})"),
        Event::AuthPrompted { .. } => "The login form is on the screen".to_owned(),
        Event::AuthSucceeded { user, registration, .. } => format!("{user} signed in as {}", registration.email),
        Event::AuthCancelled { reason, .. } => format!("The sign-in ended without success ({reason})"),
        Event::HoldExpired => "The hold may have run out".to_owned(),
        Event::RegistrationDeleted { registration } => format!("Registration {registration} was deleted"),
        Event::RegistrationRevoked { registration } => format!("Registration {registration} was revoked"),
        Event::TokenRejected { reason, .. } => format!("The service token was refused ({reason})"),
        Event::GenerationReady { activation } => format!("Activation {activation}: the handshake is confirmed"),
        Event::GenerationFailed { activation, reason } => format!("Activation {activation} failed ({reason})"),
        Event::Committed { activation } => format!("Activation {activation} carries the traffic now"),
        Event::TransportChanged { activation } => format!("Activation {activation} is to travel over something else"),
        Event::DeadlineReached => "A deadline was reached".to_owned(),
        Event::Connect => "The user asked to connect".to_owned(),
        Event::Disconnect => "The user asked to disconnect".to_owned(),
        Event::NetworkDown => "The network is gone".to_owned(),
        Event::NetworkUp => "The network is there".to_owned(),
        Event::EmergencyDisconnect { engaged: true } => "An emergency disconnect is in force".to_owned(),
        Event::EmergencyDisconnect { engaged: false } => "The emergency disconnect is over".to_owned(),
    }
}

fn ordered(action: &Action, after: &State) -> Option<String> {
    Some(match action {
        Action::EnrolByToken { organization, .. } => format!("enrol at {organization} with the service token"),
        Action::Prompt { user, organization, .. } => format!("ask {user} to sign in at {organization}"),
        Action::DismissPrompt { .. } => "take the login form away".to_owned(),
        Action::Activate { activation, registration, slot, addresses, .. } => {
            let email =
                after.slots.values().find(|kept| kept.id == *registration).map_or("?", |kept| kept.email.as_str());
            let beside = match addresses {
                Addresses::First => "up",
                Addresses::Kept => "up beside what is active",
                Addresses::Replaced => "up beside what is active, in another organisation (D12: new inner addresses)",
            };
            format!("bring {email} ({slot}) {beside}, as activation {activation}")
        }
        Action::Commit { activation } => format!("move all traffic to activation {activation}"),
        Action::AbortPreparing { activation } => format!("give activation {activation} up"),
        Action::Deactivate => "go down".to_owned(),
        Action::Rehandshake { .. } => "renew the keys".to_owned(),
        Action::Forget { registration } => format!("wipe the secrets of registration {registration}"),
        Action::SetDeadline { at: Some(at) } => format!("decide again {at}"),
        Action::SetDeadline { at: None } => return None,
        Action::Notify { message } => format!("report: {message}"),
    })
}
