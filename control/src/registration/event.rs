//! What happens to a device: everything the machine ever learns.

use super::{ActivationId, Registration, RequestId, Seat, Session, SessionId, Settings, Slot, UserId};
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// Milliseconds since the system booted, time asleep included. All deadlines count in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SinceBoot(pub u64);

impl SinceBoot {
    /// This moment, `milliseconds` later.
    #[must_use]
    pub const fn plus(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }
}

impl fmt::Display for SinceBoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} s after boot", self.0 / 1000, self.0 % 1000)
    }
}

/// When an event happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timestamp {
    /// Decides; never goes back within one boot.
    pub since_boot: SinceBoot,
    /// Unix time in milliseconds. Shown to people, never decides (D16).
    pub wall: i64,
}

/// Something that happened. Sessions come from the operating system, answers from the daemon.
///
/// The daemon owes exactly one answer to each [`Action::EnrolByToken`](super::Action::EnrolByToken),
/// [`Action::Activate`](super::Action::Activate) and [`Action::Commit`](super::Action::Commit), under the id the action
/// carried. An answer that nobody waits for any longer is recognised by that id (D15).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The system started: nobody is logged on, nothing is connected.
    Boot,
    /// The daemon started. A boot id other than the stored one counts as [`Event::Boot`] first (D6, D18).
    ServiceStarted {
        /// Different after every system start.
        boot_id: String,
        /// Everybody who is logged on, in the order of their activation (the last one owns the desktop if active).
        sessions: Vec<Session>,
    },
    /// A user logged on; the session takes the desktop.
    SessionLogon {
        /// Who.
        user: UserId,
        /// Where.
        session: SessionId,
        /// Console or remote.
        seat: Seat,
    },
    /// A user logged off.
    SessionLogoff {
        /// Which session ended.
        session: SessionId,
    },
    /// A session came to a desktop: console connect, remote connect, fast user switch.
    SessionActivated {
        /// Which session.
        session: SessionId,
        /// Console or remote.
        seat: Seat,
    },
    /// A session left its desktop, still logged on.
    SessionDeactivated {
        /// Which session.
        session: SessionId,
    },
    /// The desktop was locked.
    Lock,
    /// The desktop was unlocked.
    Unlock,
    /// The system is about to sleep.
    Suspend,
    /// The system woke up.
    Resume,
    /// A good configuration was read.
    MdmChanged {
        /// What it asks for.
        settings: Settings,
    },
    /// The configuration file is there but cannot be used (D14).
    MdmBroken {
        /// Why, naming file, key and line.
        message: String,
    },
    /// The gateway gave a registration for a service token.
    EnrolSucceeded {
        /// From the action.
        request: RequestId,
        /// From the action.
        slot: Slot,
        /// The new registration.
        registration: Registration,
    },
    /// No registration: refused, or the gateway is out of reach.
    EnrolFailed {
        /// From the action.
        request: RequestId,
        /// From the action.
        slot: Slot,
        /// Why, for people.
        reason: String,
    },
    /// The user sees the login form.
    AuthPrompted {
        /// From the action.
        request: RequestId,
    },
    /// The user authenticated and the gateway gave a registration. Accepted also after the prompt was dismissed.
    AuthSucceeded {
        /// From the action.
        request: RequestId,
        /// The operating system's user who was asked.
        user: UserId,
        /// The new registration.
        registration: Registration,
    },
    /// The user closed the form, ran out of time, or was refused.
    AuthCancelled {
        /// From the action.
        request: RequestId,
        /// Why, for people.
        reason: String,
    },
    /// The hold of D1 may have run out. Has no effect before its time, so a late one is harmless.
    HoldExpired,
    /// The gateway has deleted a registration.
    RegistrationDeleted {
        /// Which.
        registration: Uuid,
    },
    /// The gateway has invalidated a registration's key.
    RegistrationRevoked {
        /// Which.
        registration: Uuid,
    },
    /// The gateway refused the service token: expired, disabled, rotated away.
    TokenRejected {
        /// The enrolment it answers; `None` when the token was refused at another time.
        request: Option<RequestId>,
        /// Why, for people.
        reason: String,
    },
    /// The handshake of an activation is confirmed; nothing has moved yet.
    GenerationReady {
        /// From the action.
        activation: ActivationId,
    },
    /// An activation failed before its commit, or an active generation was lost.
    GenerationFailed {
        /// From the action.
        activation: ActivationId,
        /// Why, for people.
        reason: String,
    },
    /// From now on all traffic leaves under this activation.
    Committed {
        /// From the action.
        activation: ActivationId,
    },
    /// What carries traffic is to travel over something else from now on, under the same registration.
    TransportChanged {
        /// The active one.
        activation: ActivationId,
    },
    /// The moment of [`Machine::deadline`](super::Machine::deadline) has come. An early one has no effect.
    DeadlineReached,
    /// The user's switch: on.
    Connect,
    /// The user's switch: off.
    Disconnect,
    /// No way to the gateway.
    NetworkDown,
    /// There may be a way to the gateway again.
    NetworkUp,
    /// An emergency disconnect is in force, or over.
    EmergencyDisconnect {
        /// True while any source asks for it.
        engaged: bool,
    },
}
