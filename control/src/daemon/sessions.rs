//! Who is logged on: from the platform's session source to the machine's events.

use super::{
    driver::Input,
    options::{SessionsFrom, StartError},
};
use crate::{
    causes::chain,
    registration::{Event, Seat, Session},
};
use std::thread;
use tokio::sync::mpsc;
use vestibule_platform::{
    clock,
    session::{self, Native, Scripted, SessionEvent, SessionSource},
};

/// A source at work; it ends when this is dropped.
pub(super) struct Sessions {
    /// What the machine must know first.
    pub(super) started: Event,
    _source: Option<Box<dyn SessionSource>>,
}

/// Starts the source; the system where nobody says which and it tells. Without one nobody ever logs on: the login
/// screen's rules apply.
pub(super) fn start(from: Option<&SessionsFrom>, inputs: mpsc::UnboundedSender<Input>) -> Result<Sessions, StartError> {
    let source: Option<Box<dyn SessionSource>> = match from {
        Some(SessionsFrom::Socket(socket)) => Some(Box::new(Scripted::listen(socket)?)),
        Some(SessionsFrom::System) => Some(Box::new(Native::connect()?)),
        None if Native::present() => match Native::connect() {
            Ok(source) => Some(Box::new(source)),
            Err(error) => {
                tracing::warn!("nobody is taken to be logged on: {}", chain(&error));
                None
            }
        },
        None => None,
    };
    let Some(source) = source else {
        let boot_id = clock::boot_id().map_err(StartError::BootId)?;
        return Ok(Sessions { started: Event::ServiceStarted { boot_id, sessions: Vec::new() }, _source: None });
    };
    let watch = source.watch()?;
    let sessions = watch.sessions.into_iter().map(logged_on).collect();
    let started = Event::ServiceStarted { boot_id: watch.boot_id, sessions };
    let events = watch.events;
    thread::Builder::new()
        .name("session-events".into())
        .spawn(move || {
            for event in events {
                if let Some(event) = translate(event)
                    && inputs.send(Input::Happened(event)).is_err()
                {
                    return;
                }
            }
        })
        .map_err(StartError::Worker)?;
    Ok(Sessions { started, _source: Some(source) })
}

fn logged_on(session: session::Session) -> Session {
    Session::new(session.id.as_str(), session.user.as_str(), seat(session.seat), session.active)
}

fn seat(seat: session::Seat) -> Seat {
    match seat {
        session::Seat::Console => Seat::Console,
        session::Seat::Remote => Seat::Remote,
    }
}

fn translate(event: SessionEvent) -> Option<Event> {
    Some(match event {
        // A new boot id is what counts as a start of the system (D6, D18).
        SessionEvent::Boot { boot_id } => Event::ServiceStarted { boot_id, sessions: Vec::new() },
        SessionEvent::Logon { user, session, seat: at } => {
            Event::SessionLogon { user: user.as_str().into(), session: session.as_str().into(), seat: seat(at) }
        }
        SessionEvent::Logoff { session } => Event::SessionLogoff { session: session.as_str().into() },
        SessionEvent::Activated { session, seat: at } => {
            Event::SessionActivated { session: session.as_str().into(), seat: seat(at) }
        }
        SessionEvent::Deactivated { session } => Event::SessionDeactivated { session: session.as_str().into() },
        SessionEvent::Lock => Event::Lock,
        SessionEvent::Unlock => Event::Unlock,
        SessionEvent::Suspend => Event::Suspend,
        SessionEvent::Resume => Event::Resume,
        other => {
            // A source that learns new words must be taught here.
            tracing::warn!(?other, "a session event is not understood");
            return None;
        }
    })
}
