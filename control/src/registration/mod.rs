//! Which registration carries traffic: a pure state machine over the events of a device.
//!
//! `(state, event, now) -> (state, actions)`: no I/O, no clock, no entropy. The daemon feeds [`Event`]s, carries out the
//! [`Action`]s, answers them with further events, and stores [`State`] after every step.
//!
//! ```text
//! Machine::new(settings, seed) | Machine::restore(state)
//! handle(&mut self, event: Event, now: Timestamp) -> Vec<Action>
//! deadline(&self) -> Option<SinceBoot>     state(&self) -> &State     log(&self) -> impl Iterator<Item = &LogEntry>
//! ```

mod action;
mod answers;
mod backoff;
mod decide;
mod event;
mod facts;
mod id;
mod log;
mod machine;
mod mode;
mod reconcile;
mod row;
mod settings;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod words;

pub use action::{Action, Addresses};
pub use event::{Event, SinceBoot, Timestamp};
pub use id::{ActivationId, RequestId, SessionId, Slot, UserId};
pub use log::{LogEntry, Story, Summary};
pub use machine::{LOG_CAPACITY, Machine};
pub use row::Row;
pub use settings::{Hold, Settings};
pub use state::{Activation, Backoff, Enrolment, Phase, Prompt, Registration, Seat, Session, State, Tunnel};
