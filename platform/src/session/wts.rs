//! From what Windows tells a service of its sessions to events. No call, no clock: told and seen in, events out.
//!
//! As with logind, everything told is a reason to look at all sessions again, and the difference becomes events; a
//! telling that was missed is made up for by the next look. Unlike logind, the terminal services tell before the
//! sessions' states show it, or after: what was told wins over what is seen, until both agree or nothing was told for a
//! while.

use super::{
    Seat, Session, SessionEvent,
    seen::{Known, Seen},
};
use std::collections::{BTreeMap, BTreeSet};

/// What `SERVICE_CONTROL_SESSIONCHANGE` tells of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// `WTS_CONSOLE_CONNECT` and `WTS_REMOTE_CONNECT`: shown on the console or to a remote desktop.
    Connect,
    /// `WTS_CONSOLE_DISCONNECT` and `WTS_REMOTE_DISCONNECT`.
    Disconnect,
    /// `WTS_SESSION_LOGON`.
    Logon,
    /// `WTS_SESSION_LOGOFF`.
    Logoff,
    /// `WTS_SESSION_LOCK`.
    Lock,
    /// `WTS_SESSION_UNLOCK`.
    Unlock,
}

/// What the service is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Of a session.
    Session(Change, u32),
    /// `PBT_APMSUSPEND`.
    Suspend,
    /// `PBT_APMRESUMEAUTOMATIC`. (`PBT_APMRESUMESUSPEND` follows it when a person is there, and is no news.)
    Resume,
    /// Another reason to look.
    Look,
}

/// A session as the terminal services show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) id: u32,
    /// The user's SID; nobody at the login screen, and in the services' own session.
    pub(crate) user: Option<String>,
    /// `WTSActive`: logged on and shown. All other states are not.
    pub(crate) active: bool,
    /// By a remote protocol.
    pub(crate) remote: bool,
    pub(crate) locked: bool,
    /// When it was last connected or logged on, whichever is later.
    pub(crate) since: u64,
}

/// What is known of the machine's sessions.
#[derive(Debug, Default)]
pub(crate) struct Board {
    known: Known,
    /// Told, and not seen yet.
    active: BTreeMap<u32, bool>,
    locked: BTreeMap<u32, bool>,
    /// Logged off, and still shown with their user.
    ended: BTreeSet<u32>,
}

impl Board {
    pub(crate) fn sessions(&self) -> &[Session] {
        self.known.sessions()
    }

    /// The first look.
    pub(crate) fn begin(&mut self, facts: Vec<Facts>) {
        let seen = self.seen(facts);
        self.known.begin(seen);
    }

    /// Something was told, and this is what a look then showed; no look when it failed.
    pub(crate) fn observe(&mut self, told: Told, facts: Option<Vec<Facts>>) -> Vec<SessionEvent> {
        match told {
            Told::Suspend => return vec![SessionEvent::Suspend],
            Told::Resume => return vec![SessionEvent::Resume],
            // Nothing was told for long enough that what is seen is the truth.
            Told::Look => {
                self.active.clear();
                self.locked.clear();
            }
            Told::Session(change, id) => self.told(change, id),
        }
        let Some(facts) = facts else { return Vec::new() };
        let seen = self.seen(facts);
        self.known.observe(seen)
    }

    fn told(&mut self, change: Change, id: u32) {
        match change {
            Change::Connect => _ = self.active.insert(id, true),
            Change::Disconnect => _ = self.active.insert(id, false),
            Change::Logon => {
                self.ended.remove(&id);
                self.active.insert(id, true);
                self.locked.insert(id, false);
            }
            Change::Logoff => _ = self.ended.insert(id),
            Change::Lock => _ = self.locked.insert(id, true),
            Change::Unlock => _ = self.locked.insert(id, false),
        }
    }

    /// What is there, by what was told and what is seen.
    fn seen(&mut self, facts: Vec<Facts>) -> Vec<Seen> {
        let is_there = |id: &u32| facts.iter().any(|now| now.id == *id);
        self.active.retain(|id, _| is_there(id));
        self.locked.retain(|id, _| is_there(id));
        self.ended.retain(|id| facts.iter().any(|now| now.id == *id && now.user.is_some()));
        let mut seen = Vec::new();
        for Facts { id, user, active, remote, locked, since } in facts {
            let active = settle(&mut self.active, id, active);
            let locked = settle(&mut self.locked, id, locked);
            let Some(user) = user.filter(|_| !self.ended.contains(&id)) else { continue };
            let seat = if remote { Seat::Remote } else { Seat::Console };
            seen.push(Seen { session: Session { id: id.to_string(), user, seat, active }, locked, since });
        }
        seen
    }
}

/// What was told, until it is seen as well.
fn settle(told: &mut BTreeMap<u32, bool>, id: u32, seen: bool) -> bool {
    match told.get(&id) {
        Some(told) if *told != seen => *told,
        _ => {
            told.remove(&id);
            seen
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: &str = "S-1-5-21-1-2-3-1001";
    const BEN: &str = "S-1-5-21-1-2-3-1002";

    fn at(id: u32, user: &str, active: bool) -> Facts {
        let user = (!user.is_empty()).then(|| user.to_owned());
        Facts { id, user, active, remote: false, locked: false, since: id.into() }
    }

    fn remote(facts: Facts) -> Facts {
        Facts { remote: true, ..facts }
    }

    fn locked(facts: Facts) -> Facts {
        Facts { locked: true, ..facts }
    }

    fn shown(events: &[SessionEvent]) -> String {
        let who = |user: &str| if user == ANNA { "anna" } else { "ben" };
        let word = |event: &SessionEvent| match event {
            SessionEvent::Logon { user, session, seat } => format!("logon {} {session} {seat:?}", who(user)),
            SessionEvent::Activated { session, seat } => format!("activated {session} {seat:?}"),
            SessionEvent::Deactivated { session } => format!("deactivated {session}"),
            SessionEvent::Logoff { session } => format!("logoff {session}"),
            other => format!("{other:?}").to_lowercase(),
        };
        events.iter().map(word).collect::<Vec<_>>().join(", ")
    }

    /// Feeds what is told, each with what a look then shows, and writes down the events of each.
    fn walk(board: &mut Board, steps: &[(Told, Vec<Facts>, &str)]) {
        for (number, (told, facts, expected)) in steps.iter().enumerate() {
            let events = board.observe(*told, Some(facts.clone()));
            assert_eq!(shown(&events), *expected, "step {number}: {told:?}");
        }
    }

    /// At the login screen: the services' session and one that is connected, without a user.
    fn booted() -> Board {
        let mut board = Board::default();
        board.begin(vec![at(0, "", false), at(1, "", false)]);
        assert!(board.sessions().is_empty());
        board
    }

    #[test]
    fn a_logon_and_a_logoff_at_the_console() {
        use Change::*;
        let services = at(0, "", false);
        walk(
            &mut booted(),
            &[
                (Told::Session(Connect, 1), vec![services.clone(), at(1, "", false)], ""),
                (Told::Session(Logon, 1), vec![services.clone(), at(1, ANNA, true)], "logon anna 1 Console"),
                (Told::Session(Lock, 1), vec![services.clone(), at(1, ANNA, true)], "lock"),
                (Told::Session(Unlock, 1), vec![services.clone(), at(1, ANNA, true)], "unlock"),
                // Told while the session still shows its user, and for a while after.
                (Told::Session(Logoff, 1), vec![services.clone(), at(1, ANNA, true)], "logoff 1"),
                (Told::Look, vec![services.clone(), at(1, ANNA, true)], ""),
                (Told::Session(Disconnect, 1), vec![services.clone(), at(1, ANNA, false)], ""),
                (Told::Session(Connect, 2), vec![services.clone(), at(2, "", false)], ""),
                (Told::Session(Logon, 2), vec![services, at(2, BEN, true)], "logon ben 2 Console"),
            ],
        );
    }

    #[test]
    fn a_fast_user_switch_goes_by_the_login_screen_and_back_to_the_same_session() {
        use Change::*;
        walk(
            &mut booted(),
            &[
                (Told::Session(Logon, 1), vec![at(1, ANNA, true)], "logon anna 1 Console"),
                (Told::Session(Disconnect, 1), vec![at(1, ANNA, false), at(2, "", false)], "deactivated 1"),
                (Told::Session(Connect, 2), vec![at(1, ANNA, false), at(2, "", false)], ""),
                (Told::Session(Logon, 2), vec![at(1, ANNA, false), at(2, BEN, true)], "logon ben 2 Console"),
                // Anna again: her session is shown and ben's is not, in whichever order it is told.
                (Told::Session(Connect, 1), vec![at(1, ANNA, true), at(2, BEN, false)], "activated 1 Console"),
                (Told::Session(Disconnect, 2), vec![at(1, ANNA, true), at(2, BEN, false)], ""),
                (Told::Session(Unlock, 1), vec![at(1, ANNA, true), at(2, BEN, false)], ""),
                (Told::Session(Logoff, 2), vec![at(1, ANNA, true)], "logoff 2"),
            ],
        );
    }

    #[test]
    fn what_is_told_wins_until_it_is_seen() {
        use Change::*;
        walk(
            &mut booted(),
            &[
                (Told::Session(Logon, 1), vec![at(1, ANNA, false)], "logon anna 1 Console"),
                (Told::Session(Lock, 1), vec![at(1, ANNA, false)], "lock"),
                (Told::Session(Disconnect, 1), vec![locked(at(1, ANNA, true))], "deactivated 1"),
                (Told::Session(Disconnect, 1), vec![locked(at(1, ANNA, true))], ""),
                // Long after, what is seen is the truth.
                (Told::Look, vec![at(1, ANNA, true)], "activated 1 Console, unlock"),
            ],
        );
    }

    #[test]
    fn a_remote_desktop_takes_the_console_session_over_and_gives_it_back() {
        use Change::*;
        walk(
            &mut booted(),
            &[
                (Told::Session(Logon, 1), vec![at(1, ANNA, true)], "logon anna 1 Console"),
                (Told::Session(Disconnect, 1), vec![at(1, ANNA, false)], "deactivated 1"),
                (Told::Session(Connect, 1), vec![remote(at(1, ANNA, true))], "activated 1 Remote"),
                (Told::Session(Disconnect, 1), vec![locked(remote(at(1, ANNA, false)))], "deactivated 1, lock"),
                (Told::Session(Connect, 1), vec![locked(at(1, ANNA, true))], "activated 1 Console"),
                (Told::Session(Unlock, 1), vec![at(1, ANNA, true)], "unlock"),
            ],
        );
    }

    #[test]
    fn a_remote_logon_leaves_the_console_as_it_is() {
        use Change::*;
        walk(
            &mut booted(),
            &[
                (Told::Session(Logon, 1), vec![at(1, ANNA, true)], "logon anna 1 Console"),
                (Told::Session(Connect, 3), vec![at(1, ANNA, true), remote(at(3, "", false))], ""),
                (Told::Session(Logon, 3), vec![at(1, ANNA, true), remote(at(3, BEN, true))], "logon ben 3 Remote"),
                (Told::Session(Disconnect, 3), vec![at(1, ANNA, true), remote(at(3, BEN, false))], "deactivated 3"),
                (Told::Session(Logoff, 3), vec![at(1, ANNA, true)], "logoff 3"),
            ],
        );
    }

    #[test]
    fn a_start_in_mid_session_finds_who_is_there_the_last_one_shown_last() {
        let mut board = Board::default();
        let ben = Facts { since: 9, ..remote(at(2, BEN, true)) };
        board.begin(vec![at(0, "", false), ben, locked(at(1, ANNA, true)), at(5, ANNA, false)]);
        let ids: Vec<_> = board.sessions().iter().map(|session| (session.id.as_str(), session.active)).collect();
        assert_eq!(ids, [("5", false), ("1", true), ("2", true)]);
        let same = vec![remote(at(2, BEN, true)), locked(at(1, ANNA, true)), at(5, ANNA, false)];
        assert_eq!(shown(&board.observe(Told::Look, Some(same))), "", "a lock from before is no news");
    }

    #[test]
    fn sleep_is_told_and_a_look_that_fails_changes_nothing() {
        let mut board = booted();
        walk(&mut board, &[(Told::Session(Change::Logon, 1), vec![at(1, ANNA, true)], "logon anna 1 Console")]);
        assert_eq!(board.observe(Told::Suspend, None), [SessionEvent::Suspend]);
        assert_eq!(board.observe(Told::Resume, None), [SessionEvent::Resume]);
        assert_eq!(board.observe(Told::Session(Change::Logoff, 1), None), []);
        // The next look knows what was told before.
        assert_eq!(shown(&board.observe(Told::Look, Some(vec![at(1, ANNA, true)]))), "logoff 1");
    }
}
