//! The log that `vestibule why` prints: which event, which row, which action.

use super::{Action, Event, Row, State, Timestamp};
use serde::{Deserialize, Serialize};

/// One step of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// When.
    pub at: Timestamp,
    /// Under which start of the system, where the machine has been told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// What happened.
    pub event: Event,
    /// What explains the event.
    pub row: Row,
    /// What explains the state it led to, where that is another row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Row>,
    /// In one line.
    pub state_before: Summary,
    /// In one line.
    pub state_after: Summary,
    /// What the daemon was told to do.
    pub actions: Vec<Action>,
    /// All of it in plain words.
    pub plain: String,
}

/// A log that outlives the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// The state before the first entry that can be replayed.
    pub checkpoint: State,
    /// Oldest entries that cannot: what followed them was lost.
    pub severed: usize,
    /// Oldest first.
    pub entries: Vec<LogEntry>,
}

/// A state in few words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Owner of the desktop; `None` at the login screen.
    pub desktop: Option<String>,
    /// Identity that carries traffic.
    pub carrying: Option<String>,
    /// Identity being brought up beside it.
    pub preparing: Option<String>,
    /// User who is being asked to sign in.
    pub prompting: Option<String>,
    /// An enrolment by service token is under way.
    pub enrolling: bool,
}

impl From<&State> for Summary {
    fn from(state: &State) -> Self {
        Self {
            desktop: state.desktop().map(|session| session.user.to_string()),
            carrying: state.tunnel.active.as_ref().map(|active| active.registration.email.clone()),
            preparing: state.tunnel.next.as_ref().map(|(next, _)| next.registration.email.clone()),
            prompting: state.prompt.as_ref().map(|prompt| prompt.user.to_string()),
            enrolling: state.enrolment.is_some(),
        }
    }
}
