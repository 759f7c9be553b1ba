//! From what a session manager shows to events: who counts as logged on to a desktop, and what has changed.

use super::{Seat, Session, SessionEvent};
use std::collections::BTreeSet;

/// Somebody's session on a desktop, or switched away from one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) session: Session,
    pub(super) locked: bool,
    /// When it began.
    pub(super) since: u64,
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
    use super::*;

    /// What a session manager shows.
    #[derive(Clone, Copy)]
    struct Facts {
        user: &'static str,
        seat: Seat,
        active: bool,
        locked: bool,
        since: u64,
    }

    const ANNA: Facts = Facts { user: "anna", seat: Seat::Console, active: true, locked: false, since: 1 };

    fn seen(id: &str, facts: Facts) -> Seen {
        let Facts { user, seat, active, locked, since } = facts;
        let session = Session { id: id.to_owned(), user: user.to_owned(), seat, active };
        Seen { session, locked, since }
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
    fn a_switch_goes_straight_from_user_to_user() {
        let mut known = Known::default();
        assert_eq!(told(&known.observe(vec![seen("1", ANNA)])), "logon anna 1 Console");
        let away = |since| Facts { active: false, since, ..ANNA };
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
        let rdp = Facts { user: "ben", seat: Seat::Remote, since: 2, ..ANNA };
        let locked = Facts { locked: true, ..ANNA };
        let all = vec![seen("1", locked), seen("2", rdp)];
        assert_eq!(told(&known.observe(all.clone())), "logon ben 2 Remote, lock");
        assert_eq!(told(&known.observe(all)), "");
        assert!(known.sessions().iter().all(|session| session.active));
        assert_eq!(told(&known.observe(vec![seen("1", ANNA)])), "logoff 2, unlock");
    }
}
