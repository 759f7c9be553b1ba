#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::registration::{Event, Seat, Settings, SinceBoot, Timestamp};
use std::fs;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("vestibule-journal-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    fn file(&self) -> PathBuf {
        self.0.join(FILE)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn settings() -> Settings {
    Settings { pre_login: Some("mycompany".into()), organizations: vec!["mycompany".into()], ..Settings::default() }
}

/// A process: its machine, the log it found, and the state it stores.
struct Process {
    machine: Machine,
    journal: Journal,
    stored: State,
    now: u64,
}

impl Process {
    fn start(scratch: &Scratch, stored: State) -> Self {
        let (journal, story) = Journal::open(&scratch.file());
        let machine = match story {
            Some(story) => Machine::resume(stored.clone(), story),
            None => Machine::restore(stored.clone()),
        };
        Self { machine, journal, stored, now: 0 }
    }

    fn event(&mut self, event: Event) {
        self.now += 1;
        self.machine.handle(event, Timestamp { since_boot: SinceBoot(self.now), wall: 1_800_000_000_000 });
        self.journal.write(&self.machine);
        self.stored = self.machine.state().clone();
    }

    fn started(&mut self, boot: &str) {
        self.event(Event::ServiceStarted { boot_id: boot.into(), sessions: Vec::new() });
    }

    fn logon(&mut self, user: &str) {
        self.event(Event::SessionLogon { user: user.into(), session: user.into(), seat: Seat::Console });
    }

    fn boots(&self) -> Vec<&str> {
        self.machine.log().map(|entry| entry.boot.as_deref().unwrap()).collect()
    }
}

#[test]
fn the_stored_log_of_several_processes_leads_to_the_stored_state() {
    let scratch = Scratch::new("replay");
    let mut stored = State::new(settings(), 1);
    for (boot, user) in [("a", "alice"), ("a", "bob"), ("b", "carol")] {
        let mut process = Process::start(&scratch, stored);
        assert_eq!(process.machine.replay(), *process.machine.state());
        process.started(boot);
        process.logon(user);
        process.event(Event::Lock);
        assert_eq!(process.machine.replay(), *process.machine.state());
        // Killed: nothing more is written.
        stored = process.stored;
    }
    let process = Process::start(&scratch, stored.clone());
    assert_eq!(process.boots(), ["a", "a", "a", "a", "a", "a", "b", "b", "b"]);
    assert_eq!(*process.machine.state(), stored, "to the last id, also what a process forgets at its start");
    assert_eq!(process.machine.replay(), stored);
}

#[test]
fn a_step_whose_state_was_not_stored_is_dropped() {
    let scratch = Scratch::new("ahead");
    let mut process = Process::start(&scratch, State::new(settings(), 1));
    process.started("a");
    process.logon("alice");
    let before = process.stored.clone();
    process.logon("bob");
    let again = Process::start(&scratch, before.clone());
    assert_eq!(again.machine.log().len(), 2);
    assert_eq!(again.machine.state().durable(), before.durable());
    assert_eq!(again.machine.replay(), *again.machine.state());
}

#[test]
fn a_log_that_lost_its_end_is_shown_and_the_state_counts() {
    let scratch = Scratch::new("behind");
    let mut process = Process::start(&scratch, State::new(settings(), 1));
    process.started("a");
    for user in ["alice", "bob", "carol"] {
        process.logon(user);
    }
    let text = fs::read_to_string(scratch.file()).unwrap();
    let torn: String = text.lines().take(3).map(|line| format!("{line}\n")).collect::<String>() + "{\"step\":{\"at\"";
    fs::write(scratch.file(), torn).unwrap();
    let stored = process.stored.clone();
    drop(process);
    let mut again = Process::start(&scratch, stored.clone());
    assert_eq!((again.machine.log().len(), again.machine.state()), (2, &stored));
    assert_eq!(again.machine.replay(), stored);
    again.started("b");
    again.logon("dave");
    let last = Process::start(&scratch, again.stored.clone());
    assert_eq!(last.boots(), ["a", "a", "b", "b"], "the next process knows which entries lead nowhere");
    assert_eq!(last.machine.replay(), again.stored);
}

#[test]
fn damage_costs_the_log_and_nothing_else() {
    let scratch = Scratch::new("damage");
    for garbage in [&b"nonsense\n"[..], b"", b"\xff\xfe", b"{\"step\":{}}\n", &[b'['; 100_000]] {
        fs::write(scratch.file(), garbage).unwrap();
        let mut process = Process::start(&scratch, State::new(settings(), 1));
        assert_eq!(process.machine.log().len(), 0);
        process.started("a");
        assert_eq!(Process::start(&scratch, process.stored).machine.log().len(), 1);
    }
    // A directory in its place: told once, and the daemon goes on.
    fs::remove_file(scratch.file()).unwrap();
    fs::create_dir(scratch.file()).unwrap();
    let mut process = Process::start(&scratch, State::new(settings(), 1));
    process.started("a");
    assert!(process.journal.failing);
    fs::remove_dir(scratch.file()).unwrap();
    process.logon("alice");
    assert_eq!(Process::start(&scratch, process.stored).machine.log().len(), 2);
}

#[test]
fn the_file_is_bounded_and_private() {
    let scratch = Scratch::new("bounded");
    let mut process = Process::start(&scratch, State::new(settings(), 1));
    process.started("a");
    let mut longest = 0;
    for n in 0..3 * LOG_CAPACITY {
        process.logon(&format!("user{}", n % 7));
        if n % 100 == 0 {
            longest = longest.max(fs::read_to_string(scratch.file()).unwrap().lines().count());
        }
    }
    assert!(longest <= MAX_LINES + 1, "{longest} lines");
    let metadata = fs::metadata(scratch.file()).unwrap();
    assert!(metadata.len() < MAX_BYTES / 2, "{} bytes", metadata.len());
    assert!(vestibule_platform::files::mode(&scratch.file()).unwrap().is_none_or(|mode| mode == 0o600));
    let again = Process::start(&scratch, process.stored.clone());
    assert_eq!(again.machine.log().len(), LOG_CAPACITY);
    assert_eq!((again.machine.replay(), again.machine.state()), (process.stored.clone(), &process.stored));
}
