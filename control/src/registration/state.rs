//! Everything the machine remembers. No secret is in it; it is stored as it is.

use super::{
    Settings, SinceBoot,
    id::{ActivationId, RequestId, SessionId, Slot, UserId},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// A registration, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Given by the gateway.
    pub id: Uuid,
    /// Team name.
    pub organization: String,
    /// `non_identity@<team>.cloudflareaccess.com`, or the user's mail.
    pub email: String,
    /// Its key is no longer accepted; the record stays until it is replaced.
    #[serde(default)]
    pub revoked: bool,
}

impl From<&crate::api::device::RegistrationInfo> for Registration {
    fn from(info: &crate::api::device::RegistrationInfo) -> Self {
        Self { id: info.id, organization: info.organization.clone(), email: info.email.clone(), revoked: false }
    }
}

/// Where a session is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seat {
    /// Screen and keyboard of the machine: one session at a time.
    Console,
    /// A remote desktop: any number at a time.
    Remote,
}

/// Someone who is logged on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Which.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// Console or remote.
    pub seat: Seat,
    /// On a desktop now, not switched away or disconnected.
    pub active: bool,
    /// When its hold (D1) began; a session has one.
    #[serde(default)]
    pub hold_since: Option<SinceBoot>,
    /// Its user closed the form; asked again only for a new cause.
    #[serde(default)]
    pub declined: bool,
}

impl Session {
    /// A session on a desktop.
    #[must_use]
    pub fn new(id: impl Into<SessionId>, user: impl Into<UserId>, seat: Seat, active: bool) -> Self {
        Self { id: id.into(), user: user.into(), seat, active, hold_since: None, declined: false }
    }
}

/// One attempt to bring a registration up, from its order on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// Its name.
    pub id: ActivationId,
    /// Of what.
    pub registration: Registration,
    /// Where that was kept at the order.
    pub slot: Slot,
}

/// How far the next generation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Ordered; can be aborted without a trace.
    Preparing,
    /// Its handshake is confirmed; can be aborted without a trace.
    Ready,
    /// The commit is ordered.
    Committing,
}

/// What carries traffic, and what is about to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// Committed: carries all traffic.
    pub active: Option<Activation>,
    /// Being brought up beside it.
    pub next: Option<(Activation, Phase)>,
    /// The active one is to be followed by another of the same registration: it travels over what is no longer wanted.
    #[serde(default)]
    pub renew: bool,
}

/// An enrolment by service token under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// Its name.
    pub request: RequestId,
    /// For which slot.
    pub slot: Slot,
    /// Team name.
    pub organization: String,
}

/// A user is being asked to authenticate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// Its name.
    pub request: RequestId,
    /// Whom.
    pub user: UserId,
    /// Where.
    pub session: SessionId,
    /// Team name.
    pub organization: String,
    /// The form is on the screen.
    pub shown: bool,
}

/// Attempts that failed in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// How many.
    pub failures: u32,
    /// Not before this moment.
    pub until: Option<SinceBoot>,
}

/// All of the machine's memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The last good configuration.
    pub settings: Settings,
    /// Why the file in place now cannot be used.
    pub configuration_error: Option<String>,
    /// Of the boot that the sessions belong to.
    pub boot_id: Option<String>,
    /// Single-user mode: who made the machine's registration.
    pub machine_owner: Option<UserId>,
    /// Registrations kept.
    pub slots: BTreeMap<Slot, Registration>,
    /// Who is logged on, in the order of activation: the last active one owns the desktop.
    pub sessions: Vec<Session>,
    /// The last user who owned a desktop (M5).
    pub previous_user: Option<UserId>,
    /// Users whose registration was deleted or revoked while they were logged on: no hold until they authenticate (D9).
    pub denied: BTreeSet<UserId>,
    /// Users who must authenticate anew although their slot is filled (M1).
    pub must_authenticate: BTreeSet<UserId>,
    /// Traffic.
    pub tunnel: Tunnel,
    /// Enrolment under way.
    pub enrolment: Option<Enrolment>,
    /// Login form.
    pub prompt: Option<Prompt>,
    /// Of enrolments by token.
    pub enrol_backoff: Backoff,
    /// Of activations of `activation_target`.
    pub activation_backoff: Backoff,
    /// The registration that is wanted.
    pub activation_target: Option<Uuid>,
    /// Why the service token was refused last.
    pub token_error: Option<String>,
    /// Why the last enrolment or activation failed.
    pub last_error: Option<String>,
    /// The user's switch: when it was turned off.
    pub switched_off: Option<SinceBoot>,
    /// D21.
    pub emergency: bool,
    /// What `SetDeadline` said last.
    pub deadline: Option<SinceBoot>,
    /// Ids given so far.
    pub counter: u64,
    /// Where the jitter of the back-off comes from.
    pub seed: u64,
}

impl State {
    /// Nobody is logged on, nothing is registered.
    #[must_use]
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            settings,
            configuration_error: None,
            boot_id: None,
            machine_owner: None,
            slots: BTreeMap::new(),
            sessions: Vec::new(),
            previous_user: None,
            denied: BTreeSet::new(),
            must_authenticate: BTreeSet::new(),
            tunnel: Tunnel::default(),
            enrolment: None,
            prompt: None,
            enrol_backoff: Backoff::default(),
            activation_backoff: Backoff::default(),
            activation_target: None,
            token_error: None,
            last_error: None,
            switched_off: None,
            emergency: false,
            deadline: None,
            counter: 0,
            seed,
        }
    }

    /// This state without what ends with the process: the machine forgets that at `ServiceStarted`. A swap between known
    /// registrations changes nothing else, and so waits for no disk but that of its order.
    #[must_use]
    pub fn durable(&self) -> Self {
        Self {
            tunnel: Tunnel::default(),
            enrolment: None,
            prompt: None,
            deadline: None,
            enrol_backoff: Backoff::default(),
            activation_backoff: Backoff::default(),
            activation_target: None,
            counter: 0,
            ..self.clone()
        }
    }

    /// The session that owns the desktop; `None` at the login screen.
    #[must_use]
    pub fn desktop(&self) -> Option<&Session> {
        self.sessions.iter().rev().find(|session| session.active)
    }

    /// The registration of a slot, if it may carry traffic under the present configuration.
    #[must_use]
    pub fn usable(&self, slot: &Slot) -> Option<&Registration> {
        let registration = self.slots.get(slot).filter(|registration| !registration.revoked)?;
        let named = |organization: &String| organization.eq_ignore_ascii_case(&registration.organization);
        let allowed = match slot {
            Slot::PreLogin => self.settings.pre_login.as_ref().is_some_and(named),
            Slot::Machine | Slot::User(_) => {
                self.settings.organizations.is_empty() || self.settings.organizations.iter().any(named)
            }
        };
        allowed.then_some(registration)
    }

    /// Where a registration is kept now.
    #[must_use]
    pub fn slot_of(&self, registration: Uuid) -> Option<&Slot> {
        self.slots.iter().find(|(_, kept)| kept.id == registration).map(|(slot, _)| slot)
    }

    /// Whether this user has a session, shown or not.
    #[must_use]
    pub fn logged_on(&self, user: &UserId) -> bool {
        self.sessions.iter().any(|session| session.user == *user)
    }

    /// The next id.
    pub(super) fn next_id(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }
}
