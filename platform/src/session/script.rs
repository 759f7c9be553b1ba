//! The scripted sessions themselves: lines in, events and the list of sessions out. No input, no output.

use super::{Seat, Session, SessionEvent};

const USAGE: &str = "expected `boot`, `logon USER SESSION [remote]`, `logoff SESSION`, `activated SESSION [remote]`, \
                     `deactivated SESSION`, `lock`, `unlock`, `suspend` or `resume`";

/// Sessions and the boot they belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Script {
    /// The system's real boot id: sessions do not outlive it.
    system_boot: String,
    /// Boots that the script has told since.
    boots: u64,
    sessions: Vec<Session>,
}

impl Script {
    pub(super) fn new(system_boot: &str) -> Self {
        Self { system_boot: system_boot.to_owned(), boots: 0, sessions: Vec::new() }
    }

    pub(super) fn boot_id(&self) -> String {
        if self.boots == 0 { self.system_boot.clone() } else { format!("{}+{}", self.system_boot, self.boots) }
    }

    pub(super) fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// What `line` does. The error says what was expected; nothing has changed then.
    pub(super) fn run(&mut self, line: &str) -> Result<SessionEvent, String> {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["boot"] => {
                self.boots += 1;
                self.sessions.clear();
                Ok(SessionEvent::Boot { boot_id: self.boot_id() })
            }
            ["logon", user, session] => self.logon(user, session, Seat::Console),
            ["logon", user, session, "remote"] => self.logon(user, session, Seat::Remote),
            ["logoff", session] => {
                let at = self.find(session)?;
                self.sessions.remove(at);
                Ok(SessionEvent::Logoff { session: session.to_owned() })
            }
            ["activated", session] => self.activate(session, Seat::Console),
            ["activated", session, "remote"] => self.activate(session, Seat::Remote),
            ["deactivated", session] => {
                let at = self.find(session)?;
                self.sessions[at].active = false;
                Ok(SessionEvent::Deactivated { session: session.to_owned() })
            }
            ["lock"] => Ok(SessionEvent::Lock),
            ["unlock"] => Ok(SessionEvent::Unlock),
            ["suspend"] => Ok(SessionEvent::Suspend),
            ["resume"] => Ok(SessionEvent::Resume),
            _ => Err(USAGE.to_owned()),
        }
    }

    fn find(&self, session: &str) -> Result<usize, String> {
        self.sessions.iter().position(|found| found.id == session).ok_or_else(|| {
            let known: Vec<_> = self.sessions.iter().map(|session| session.id.as_str()).collect();
            format!("no session `{session}`: logged on are [{}]", known.join(", "))
        })
    }

    fn logon(&mut self, user: &str, session: &str, seat: Seat) -> Result<SessionEvent, String> {
        if let Some(found) = self.sessions.iter().find(|found| found.id == session) {
            return Err(format!("session `{session}` is `{}`'s already: log it off, or choose another", found.user));
        }
        self.show(Session { id: session.to_owned(), user: user.to_owned(), seat, active: true });
        Ok(SessionEvent::Logon { user: user.to_owned(), session: session.to_owned(), seat })
    }

    fn activate(&mut self, session: &str, seat: Seat) -> Result<SessionEvent, String> {
        let at = self.find(session)?;
        let found = self.sessions.remove(at);
        self.show(Session { seat, active: true, ..found });
        Ok(SessionEvent::Activated { session: session.to_owned(), seat })
    }

    /// Puts a session on its desktop, last in the list. The console has room for one.
    fn show(&mut self, session: Session) {
        if session.seat == Seat::Console {
            let console = self.sessions.iter_mut().filter(|other| other.seat == Seat::Console);
            console.for_each(|other| other.active = false);
        }
        self.sessions.push(session);
    }

    /// As lines of a file.
    #[cfg_attr(not(any(unix, windows)), expect(dead_code, reason = "only the socket's source stores sessions"))]
    pub(super) fn store(&self) -> String {
        let mut text = format!("boot {} {}\n", self.system_boot, self.boots);
        for Session { id, user, seat, active } in &self.sessions {
            let seat = if *seat == Seat::Console { "console" } else { "remote" };
            let active = if *active { "active" } else { "inactive" };
            text.push_str(&format!("session {id} {user} {seat} {active}\n"));
        }
        text
    }

    /// From lines of a file; sessions of another start of the system are forgotten. The error names the line.
    #[cfg_attr(not(any(unix, windows)), expect(dead_code, reason = "only the socket's source stores sessions"))]
    pub(super) fn load(text: &str, system_boot: &str) -> Result<Self, (usize, String)> {
        let mut script = Self::new(system_boot);
        let mut stored_boot = None;
        for (number, line) in (1..).zip(text.lines()) {
            let words: Vec<_> = line.split_whitespace().collect();
            match words[..] {
                ["boot", boot, boots] => {
                    stored_boot = Some(boot.to_owned());
                    script.boots = boots.parse().map_err(|_| (number, format!("`{boots}` is not a number")))?;
                }
                ["session", id, user, seat @ ("console" | "remote"), active @ ("active" | "inactive")] => {
                    let seat = if seat == "console" { Seat::Console } else { Seat::Remote };
                    let (id, user) = (id.to_owned(), user.to_owned());
                    script.sessions.push(Session { id, user, seat, active: active == "active" });
                }
                _ => {
                    let expected = "expected `boot ID NUMBER` or \
                                    `session ID USER console|remote active|inactive`";
                    return Err((number, expected.to_owned()));
                }
            }
        }
        Ok(if stored_boot.as_deref() == Some(system_boot) { script } else { Self::new(system_boot) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn run(lines: &[&str]) -> Script {
        let mut script = Script::new("b");
        for line in lines {
            script.run(line).unwrap();
        }
        script
    }

    fn shown(script: &Script) -> Vec<(&str, bool)> {
        script.sessions().iter().map(|session| (session.id.as_str(), session.active)).collect()
    }

    #[test]
    fn the_list_is_in_order_of_activation_and_the_console_holds_one() {
        let mut script = run(&["logon anna 1", "logon ben 2", "logon cleo 3 remote"]);
        assert_eq!(shown(&script), [("1", false), ("2", true), ("3", true)]);
        script.run("activated 1").unwrap();
        assert_eq!(shown(&script), [("2", false), ("3", true), ("1", true)]);
        script.run("deactivated 3").unwrap();
        script.run("logoff 2").unwrap();
        assert_eq!(shown(&script), [("3", false), ("1", true)]);
    }

    #[test]
    fn a_boot_ends_all_sessions_and_has_a_new_name() {
        let mut script = run(&["logon anna 1"]);
        let before = script.boot_id();
        assert_eq!(before, "b");
        assert_eq!(script.run("boot"), Ok(SessionEvent::Boot { boot_id: "b+1".to_owned() }));
        assert!(script.sessions().is_empty());
    }

    #[test]
    fn what_makes_no_sense_changes_nothing_and_says_why() {
        let mut script = run(&["logon anna 1"]);
        let before = script.clone();
        let cases = [
            ("", "expected `boot`"),
            ("logon anna", "expected `boot`"),
            ("logon ben 1", "session `1` is `anna`'s already"),
            ("logoff 2", "no session `2`: logged on are [1]"),
            ("reboot", "expected `boot`"),
        ];
        for (line, expected) in cases {
            let error = script.run(line).unwrap_err();
            assert!(error.contains(expected), "{line:?}: {error}");
        }
        assert_eq!(script, before);
    }

    #[test]
    fn stored_sessions_come_back_unless_the_system_started_anew() {
        let script = run(&["boot", "logon anna 1", "logon ben 2 remote", "deactivated 1"]);
        assert_eq!(Script::load(&script.store(), "b").unwrap(), script);
        assert_eq!(Script::load(&script.store(), "c").unwrap(), Script::new("c"));
        assert_eq!(Script::load("", "b").unwrap(), Script::new("b"));
        assert_eq!(Script::load("boot b 0\nsession 1 anna", "b").unwrap_err().0, 2);
    }
}
