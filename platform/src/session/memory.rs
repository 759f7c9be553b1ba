//! The twin: sessions told by a call.

use super::{SessionError, SessionEvent, SessionSource, Watch, script::Script};
use crossbeam_channel::{Sender, unbounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sessions in memory. Clones are the same machine.
#[derive(Clone, Debug)]
pub struct MemorySessions(Arc<Mutex<Shared>>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) script: Script,
    watchers: Vec<Sender<SessionEvent>>,
}

impl Default for MemorySessions {
    fn default() -> Self {
        Self::new("memory")
    }
}

impl MemorySessions {
    /// A machine whose start is called `boot_id` and where nobody is logged on.
    #[must_use]
    pub fn new(boot_id: &str) -> Self {
        Self::with(Script::new(boot_id))
    }

    /// Runs one line of the scripted source's language.
    ///
    /// # Errors
    /// The line makes no sense; the text says what was expected.
    pub fn run(&self, line: &str) -> Result<(), String> {
        self.run_stored(line, |_| Ok(()))
    }

    pub(super) fn with(script: Script) -> Self {
        Self(Arc::new(Mutex::new(Shared { script, watchers: Vec::new() })))
    }

    /// As [`Self::run`]; `store` gets the new state before anybody learns of it, and may refuse.
    pub(super) fn run_stored(
        &self,
        line: &str,
        store: impl FnOnce(&Script) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut shared = self.shared();
        let mut next = shared.script.clone();
        let event = next.run(line)?;
        store(&next)?;
        shared.script = next;
        // Whoever has dropped their end watches no longer.
        shared.watchers.retain(|watcher| watcher.send(event.clone()).is_ok());
        Ok(())
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionSource for MemorySessions {
    fn watch(&self) -> Result<Watch, SessionError> {
        let mut shared = self.shared();
        let (sender, events) = unbounded();
        shared.watchers.push(sender);
        Ok(Watch { boot_id: shared.script.boot_id(), sessions: shared.script.sessions().to_vec(), events })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::session::Seat;

    #[test]
    fn a_watcher_gets_the_list_and_what_follows() {
        let machine = MemorySessions::new("b");
        machine.run("logon anna 1").unwrap();
        let watch = machine.watch().unwrap();
        assert_eq!((watch.boot_id.as_str(), watch.sessions.len()), ("b", 1));
        machine.run("lock").unwrap();
        assert!(machine.run("logon ben 1").is_err());
        machine.run("logon ben 2").unwrap();
        let told: Vec<_> = watch.events.try_iter().collect();
        let logon = SessionEvent::Logon { user: "ben".to_owned(), session: "2".to_owned(), seat: Seat::Console };
        assert_eq!(told, [SessionEvent::Lock, logon]);
    }
}
