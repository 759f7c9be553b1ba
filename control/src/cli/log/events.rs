//! Entries for the system's log of events: few, since people read them.

use std::{
    io::{self, Write},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use vestibule_platform::eventlog::{EventLog, Severity};

/// So many entries at most in [`WINDOW`]; a fault that repeats does not push others' entries out.
const MOST: u32 = 60;
const WINDOW: Duration = Duration::from_secs(600);

/// The system's log, used sparingly.
#[derive(Debug)]
pub(super) struct Events {
    log: EventLog,
    budget: Mutex<Budget>,
}

impl Events {
    pub(super) fn new(log: EventLog) -> Self {
        Self { log, budget: Mutex::default() }
    }

    fn report(&self, severity: Severity, text: &str) {
        let admitted = self.budget.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now());
        // A log that takes nothing has nobody to be told of it.
        match admitted {
            Admitted::No => {}
            Admitted::Yes => _ = self.log.report(severity, text),
            Admitted::AfterLost(lost) => {
                let _ = self.log.report(Severity::Warning, &format!("{lost} entries before this one were left out"));
                let _ = self.log.report(severity, text);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Budget {
    since: Option<Instant>,
    used: u32,
    lost: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Admitted {
    Yes,
    /// The first one after so many that were not.
    AfterLost(u32),
    No,
}

impl Budget {
    fn admit(&mut self, now: Instant) -> Admitted {
        if self.since.is_none_or(|since| now.duration_since(since) >= WINDOW) {
            (self.since, self.used) = (Some(now), 0);
        }
        if self.used == MOST {
            self.lost += 1;
            return Admitted::No;
        }
        self.used += 1;
        match std::mem::take(&mut self.lost) {
            0 => Admitted::Yes,
            lost => Admitted::AfterLost(lost),
        }
    }
}

/// One entry, reported when it is whole.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    events: &'a Events,
    severity: Severity,
    text: Vec<u8>,
}

impl Write for Entry<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.events.report(self.severity, String::from_utf8_lossy(&self.text).trim());
    }
}

impl<'a> MakeWriter<'a> for Events {
    type Writer = Entry<'a>;

    fn make_writer(&'a self) -> Entry<'a> {
        Entry { events: self, severity: Severity::Information, text: Vec::new() }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Entry<'a> {
        let severity = match *metadata.level() {
            Level::ERROR => Severity::Error,
            Level::WARN => Severity::Warning,
            _ => Severity::Information,
        };
        Entry { events: self, severity, text: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_that_repeats_is_told_a_bounded_number_of_times_and_how_many_were_left_out() {
        let (mut budget, start) = (Budget::default(), Instant::now());
        let told = (0..1000).filter(|_| budget.admit(start) == Admitted::Yes).count();
        assert_eq!(told, MOST as usize);
        assert_eq!(budget.admit(start + WINDOW), Admitted::AfterLost(1000 - MOST));
        assert_eq!(budget.admit(start + WINDOW), Admitted::Yes);
    }
}
