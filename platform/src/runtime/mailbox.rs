//! Control's way into a worker: what is posted runs there, between two batches, in the order in which it was posted. A
//! swap of identities is such a command, so no packet ever meets one half way.
//!
//! What is posted runs, or the poster learns why not: the mailbox closes and gets its reason in one step.

use crate::sync::{Arc, Condvar, Mutex, lock};
use std::collections::VecDeque;

/// Commands on their way to one worker, and the reason of its end. Clones are the same mailbox.
#[derive(Debug)]
pub(crate) struct Mailbox<C, E>(Arc<Shared<C, E>>);

#[derive(Debug)]
struct Shared<C, E> {
    state: Mutex<State<C, E>>,
    closed: Condvar,
}

#[derive(Debug)]
struct State<C, E> {
    waiting: VecDeque<C>,
    end: Option<E>,
}

impl<C, E> Clone for Mailbox<C, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C, E: Clone> Mailbox<C, E> {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let state = State { waiting: VecDeque::new(), end: None };
        Self(Arc::new(Shared { state: Mutex::new(state), closed: Condvar::new() }))
    }

    /// Posts a command. The worker must be woken afterwards.
    ///
    /// # Errors
    /// The worker has ended, for this reason.
    pub(crate) fn post(&self, command: C) -> Result<(), E> {
        let mut state = lock(&self.0.state);
        match &state.end {
            Some(end) => Err(end.clone()),
            None => {
                state.waiting.push_back(command);
                Ok(())
            }
        }
    }

    /// The next command; the worker's alone to call.
    pub(crate) fn take(&self) -> Option<C> {
        lock(&self.0.state).waiting.pop_front()
    }

    /// The worker ends. What it has not taken is dropped, so that whoever waits for an answer hears that there is none.
    pub(crate) fn close(&self, end: E) {
        let mut state = lock(&self.0.state);
        state.end.get_or_insert(end);
        let left = std::mem::take(&mut state.waiting);
        drop(state);
        self.0.closed.notify_all();
        drop(left);
    }

    /// Why the worker has ended, if it has.
    pub(crate) fn end(&self) -> Option<E> {
        lock(&self.0.state).end.clone()
    }

    /// Why the worker has ended, waiting for it.
    pub(crate) fn wait_for_end(&self) -> E {
        let mut state = lock(&self.0.state);
        loop {
            if let Some(end) = &state.end {
                return end.clone();
            }
            state = self.0.closed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}
