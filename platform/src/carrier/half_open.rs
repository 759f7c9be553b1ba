//! Connections of a server, and which of them have no tunnel yet: those are few, and the oldest give way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::AbortHandle;

/// A server's connections.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    tasks: BTreeMap<u64, AbortHandle>,
    /// Those without a tunnel.
    waiting: BTreeSet<u64>,
}

/// A connection's place; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    connections: Arc<Connections>,
}

impl Connections {
    /// `most` may wait for a tunnel.
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), held: Mutex::default() }
    }

    /// Starts a connection's task. True: another had to give way.
    pub(super) fn admit(self: &Arc<Self>, start: impl FnOnce(Place) -> AbortHandle) -> bool {
        let oldest = {
            let mut held = self.held();
            let id = held.next;
            held.next += 1;
            // A task that ends at once waits for the lock before it gives its place back.
            let task = start(Place { id, connections: Arc::clone(self) });
            held.tasks.insert(id, task);
            held.waiting.insert(id);
            let oldest = if held.waiting.len() > self.most { held.waiting.pop_first() } else { None };
            oldest.and_then(|id| held.tasks.get(&id).cloned())
        };
        if let Some(task) = &oldest {
            task.abort();
        }
        oldest.is_some()
    }

    /// How many there are, and how many of them have no tunnel.
    pub(super) fn count(&self) -> (usize, usize) {
        let held = self.held();
        (held.tasks.len(), held.waiting.len())
    }

    /// Ends them all.
    pub(super) fn abort(&self) {
        let tasks = std::mem::take(&mut self.held().tasks);
        tasks.values().for_each(AbortHandle::abort);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// It has a tunnel and gives way to nobody.
    pub(super) fn settle(&self) {
        self.connections.held().waiting.remove(&self.id);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.connections.held();
        held.tasks.remove(&self.id);
        held.waiting.remove(&self.id);
    }
}
