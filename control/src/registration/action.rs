//! What the daemon must do.

use super::{ActivationId, RequestId, SessionId, SinceBoot, Slot, UserId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An order to the daemon, to be carried out in the order given.
///
/// | order | answered by |
/// |---|---|
/// | [`EnrolByToken`](Action::EnrolByToken) | `EnrolSucceeded`, `EnrolFailed` or `TokenRejected`, once |
/// | [`Prompt`](Action::Prompt) | `AuthPrompted`, then `AuthSucceeded` or `AuthCancelled`, or nothing after `DismissPrompt` |
/// | [`Activate`](Action::Activate) | `GenerationReady` or `GenerationFailed`, once; nothing after `AbortPreparing` or `Deactivate` |
/// | [`Commit`](Action::Commit) | `Committed` or `GenerationFailed`, once; nothing after `Deactivate` |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Enrol with the service token.
    EnrolByToken {
        /// Goes into the answer.
        request: RequestId,
        /// Where the registration will be kept.
        slot: Slot,
        /// Team name.
        organization: String,
    },
    /// Ask a user to authenticate, and enrol with the proof.
    Prompt {
        /// Goes into the answer.
        request: RequestId,
        /// Whom.
        user: UserId,
        /// On whose desktop.
        session: SessionId,
        /// Team name.
        organization: String,
    },
    /// Take the login form away. If the user was quicker, `AuthSucceeded` is still welcome.
    DismissPrompt {
        /// Which.
        request: RequestId,
    },
    /// Prepare a generation of this registration beside the active one: fresh keys, swap order, handshake.
    /// The active one is not disturbed.
    Activate {
        /// Goes into the answer.
        activation: ActivationId,
        /// Where the registration is kept.
        slot: Slot,
        /// Which.
        registration: Uuid,
        /// Team name.
        organization: String,
        /// What to expect of the inner addresses at commit.
        addresses: Addresses,
    },
    /// Make the prepared generation the active one. Retry while the engine says that too many generations drain.
    Commit {
        /// Which; its `GenerationReady` has been seen.
        activation: ActivationId,
    },
    /// Give up what is being prepared; the active one is not disturbed. Later answers of it are ignored, and it must
    /// never be committed.
    AbortPreparing {
        /// Which.
        activation: ActivationId,
    },
    /// Down: retire the active generation and what is being prepared, at once.
    Deactivate,
    /// Handshake the active generation again now (the system was asleep).
    Rehandshake {
        /// Which.
        activation: ActivationId,
    },
    /// Wipe the secrets of a registration.
    Forget {
        /// Which.
        registration: Uuid,
    },
    /// Send [`Event::DeadlineReached`](super::Event::DeadlineReached) then; replaces the earlier one.
    SetDeadline {
        /// When; `None` when there is nothing to wait for.
        at: Option<SinceBoot>,
    },
    /// Tell whoever looks at status, log or desktop.
    Notify {
        /// A sentence.
        message: String,
    },
}

/// What becomes of the device's inner addresses at a commit. The gateway's answer is what counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Addresses {
    /// Nothing carried traffic before.
    First,
    /// The same organisation: they belong to the device and stay (D2).
    Kept,
    /// Another organisation: other addresses, flows from the old ones are closed with an answer (D12).
    Replaced,
}
