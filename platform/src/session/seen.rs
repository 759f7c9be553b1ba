//! From what a session manager shows to events: who counts as logged on to a desktop, and what has changed.

use super::{Seat, Session, SessionEvent};
use std::collections::BTreeSet;

/// What logind says of a session, in its own words.
pub(super) struct Facts<'a> {
    pub(super) user: &'a str,
    pub(super) class: &'a str,
    pub(super) kind: &'a str,
    pub(super) state: &'a str,
    pub(super) seat: &'a str,
    pub(super) remote: bool,
    pub(super) active: bool,
    pub(super) locked: bool,
    pub(super) since: u64,
}

/// Somebody's session on a desktop, or switched away from one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    session: Session,
    locked: bool,
    /// When it began.
    since: u64,
}

impl Seen {
    /// `None` for what is no user's desktop: a greeter (that is the login screen), the user's service manager, a job, a
    /// remote shell, a session that is closing.
    pub(super) fn of(id: String, facts: &Facts<'_>) -> Option<Self> {
        let of_user = facts.class == "user" || facts.class.starts_with("user-");
        let desktop = match facts.kind {
            "x11" | "wayland" | "mir" => true,
            // A text console is one; a shell over the network is not.
            "tty" => !facts.remote,
            _ => false,
        };
        if !of_user || facts.class == "user-incomplete" || !desktop || facts.state == "closing" || facts.user.is_empty()
        {
            return None;
        }
        // Further seats have screens of their own: as with remote desktops, any number is shown at a time.
        let seat = if facts.remote || facts.seat != "seat0" { Seat::Remote } else { Seat::Console };
        let session = Session { id, user: facts.user.to_owned(), seat, active: facts.active };
        Some(Self { session, locked: facts.locked, since: facts.since })
    }
}

/// What was known at the last look.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// In the order of activation.
    sessions: Vec<Session>,
    locked: BTreeSet<String>,
}

impl Known {
    pub(super) fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// The first look: no events, only what holds.
    pub(super) fn begin(&mut self, mut seen: Vec<Seen>) -> Vec<SessionEvent> {
        seen.sort_by_key(|seen| (seen.session.active, seen.since));
        self.locked = seen.iter().filter(|seen| seen.locked).map(|seen| seen.session.id.clone()).collect();
        self.sessions = seen.into_iter().map(|seen| seen.session).collect();
        Vec::new()
    }

    /// A further look. Whoever comes to a desktop is told before whoever leaves, so that a switch is none to the login
    /// screen in between. A session that was never shown is not told.
    pub(super) fn observe(&mut self, mut seen: Vec<Seen>) -> Vec<SessionEvent> {
        let mut events = Vec::new();
        seen.sort_by_key(|seen| seen.since);
        for now in seen.iter().map(|seen| &seen.session).filter(|session| session.active) {
            let before = self.sessions.iter().position(|known| known.id == now.id);
            match before.map(|at| (at, &self.sessions[at])) {
                Some((_, known)) if known.active && known.seat == now.seat => continue,
                Some((at, _)) => {
                    self.sessions.remove(at);
                    events.push(SessionEvent::Activated { session: now.id.clone(), seat: now.seat });
                }
                None => {
                    events.push(SessionEvent::Logon { user: now.user.clone(), session: now.id.clone(), seat: now.seat })
                }
            }
            if now.seat == Seat::Console {
                // The console has room for one; that the other left is said by this.
                self.sessions
                    .iter_mut()
                    .filter(|other| other.seat == Seat::Console)
                    .for_each(|other| other.active = false);
            }
            self.sessions.push(now.clone());
        }
        let of = |session: &Session| seen.iter().find(|seen| seen.session.id == session.id);
        for known in self.sessions.iter_mut().filter(|known| known.active) {
            if of(known).is_some_and(|now| !now.session.active) {
                known.active = false;
                events.push(SessionEvent::Deactivated { session: known.id.clone() });
            }
        }
        self.sessions.retain(|known| {
            let there = of(known).is_some();
            if !there {
                events.push(SessionEvent::Logoff { session: known.id.clone() });
            }
            there
        });
        for now in seen.iter().filter(|now| self.sessions.iter().any(|known| known.id == now.session.id)) {
            let id = &now.session.id;
            match (self.locked.contains(id), now.locked) {
                (false, true) => events.push(SessionEvent::Lock),
                (true, false) => events.push(SessionEvent::Unlock),
                _ => {}
            }
        }
        self.locked = seen.iter().filter(|now| now.locked).map(|now| now.session.id.clone()).collect();
        events
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ANNA: Facts<'_> = Facts {
        user: "anna",
        class: "user",
        kind: "wayland",
        state: "active",
        seat: "seat0",
        remote: false,
        active: true,
        locked: false,
        since: 1,
    };

    fn seen(id: &str, facts: Facts<'_>) -> Seen {
        Seen::of(id.to_owned(), &facts).unwrap()
    }

    fn told(events: &[SessionEvent]) -> String {
        let word = |event: &SessionEvent| match event {
            SessionEvent::Logon { user, session, seat } => format!("logon {user} {session} {seat:?}"),
            SessionEvent::Activated { session, seat } => format!("activated {session} {seat:?}"),
            SessionEvent::Deactivated { session } => format!("deactivated {session}"),
            SessionEvent::Logoff { session } => format!("logoff {session}"),
            other => format!("{other:?}").to_lowercase(),
        };
        events.iter().map(word).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn only_desktops_of_users_count() {
        let is = |facts: Facts<'_>| Seen::of("1".to_owned(), &facts).map(|seen| seen.session.seat);
        assert_eq!(is(ANNA), Some(Seat::Console));
        assert_eq!(is(Facts { kind: "tty", ..ANNA }), Some(Seat::Console), "a text console");
        assert_eq!(is(Facts { kind: "x11", seat: "", remote: true, ..ANNA }), Some(Seat::Remote), "xrdp");
        assert_eq!(is(Facts { seat: "seat1", ..ANNA }), Some(Seat::Remote), "a second seat");
        assert_eq!(is(Facts { class: "user-early", ..ANNA }), Some(Seat::Console));
        for class in ["greeter", "lock-screen", "background", "manager", "user-incomplete", "none", ""] {
            assert_eq!(is(Facts { class, ..ANNA }), None, "{class}");
        }
        assert_eq!(is(Facts { kind: "tty", seat: "", remote: true, ..ANNA }), None, "a shell over the network");
        assert_eq!(is(Facts { kind: "unspecified", ..ANNA }), None, "a job");
        assert_eq!(is(Facts { state: "closing", ..ANNA }), None, "logged off, processes left over");
    }

    #[test]
    fn a_switch_goes_straight_from_user_to_user() {
        let mut known = Known::default();
        assert_eq!(told(&known.observe(vec![seen("1", ANNA)])), "logon anna 1 Console");
        let away = |since| Facts { active: false, state: "online", since, ..ANNA };
        let ben = Facts { user: "ben", since: 2, ..ANNA };
        assert_eq!(told(&known.observe(vec![seen("1", away(1)), seen("2", ben)])), "logon ben 2 Console");
        let both = vec![seen("1", ANNA), seen("2", Facts { user: "ben", ..away(2) })];
        assert_eq!(told(&known.observe(both.clone())), "activated 1 Console");
        assert_eq!(told(&known.observe(both)), "", "nothing has changed");
        let ids: Vec<_> = known.sessions().iter().map(|session| (session.id.as_str(), session.active)).collect();
        assert_eq!(ids, [("2", false), ("1", true)], "the last one owns the desktop");
        assert_eq!(told(&known.observe(vec![seen("1", away(1))])), "deactivated 1, logoff 2");
    }

    #[test]
    fn a_session_that_was_never_shown_is_not_told() {
        let mut known = Known::default();
        assert_eq!(told(&known.observe(vec![seen("1", Facts { active: false, ..ANNA })])), "");
        assert_eq!(told(&known.observe(Vec::new())), "");
    }

    #[test]
    fn locks_are_told_once_and_a_remote_session_does_not_push_the_console_aside() {
        let mut known = Known::default();
        known.begin(vec![seen("1", ANNA)]);
        let rdp = Facts { user: "ben", kind: "x11", seat: "", remote: true, since: 2, ..ANNA };
        let locked = Facts { locked: true, ..ANNA };
        let all = vec![seen("1", locked), seen("2", rdp)];
        assert_eq!(told(&known.observe(all.clone())), "logon ben 2 Remote, lock");
        assert_eq!(told(&known.observe(all)), "");
        assert!(known.sessions().iter().all(|session| session.active));
        assert_eq!(told(&known.observe(vec![seen("1", ANNA)])), "logoff 2, unlock");
    }
}
