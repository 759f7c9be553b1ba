//! A device for random runs: an operating system, a daemon that does what it is told, and a gateway. It checks every
//! order when it is given and every state when it is reached.

use super::{
    oracle,
    properties::{Op, settings},
};
use crate::registration::*;
use std::collections::BTreeMap;
use uuid::Uuid;

#[derive(Clone)]
pub(super) struct Device {
    pub machine: Machine,
    /// Fed the same events from the first boot on, and never restored.
    shadow: Machine,
    /// Events fed.
    pub handled: u64,
    now: SinceBoot,
    boots: u64,
    ids: u128,
    /// What the operating system shows: in order of activation.
    pub os: Vec<Session>,
    /// What the gateway accepts.
    pub accepted: BTreeMap<Uuid, bool>,
    /// Registrations whose secrets the daemon keeps.
    secrets: Vec<Uuid>,
    enrolments: Vec<(RequestId, Slot, String)>,
    prompts: Vec<(RequestId, UserId, String)>,
    prompt_open: Option<RequestId>,
    preparing: Option<(ActivationId, Uuid, bool)>,
    committing: Option<(ActivationId, Uuid)>,
    up: Option<(ActivationId, Uuid)>,
    /// The registration whose generation failed since the traffic moved last: its next attempt is not the first.
    failed: Option<Uuid>,
}

impl Device {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            shadow: Machine::new(settings.clone(), 7),
            machine: Machine::new(settings, 7),
            handled: 0,
            now: SinceBoot(0),
            boots: 0,
            ids: 0,
            os: Vec::new(),
            accepted: BTreeMap::new(),
            secrets: Vec::new(),
            enrolments: Vec::new(),
            prompts: Vec::new(),
            prompt_open: None,
            preparing: None,
            committing: None,
            up: None,
            failed: None,
        }
    }

    pub(super) fn apply(&mut self, op: Op) {
        self.now = self.now.plus(1);
        match op {
            Op::Boot => {
                self.boots += 1;
                self.os.clear();
                self.process_ends();
                let boot_id = self.boots.to_string();
                self.event(Event::ServiceStarted { boot_id, sessions: Vec::new() });
            }
            Op::RestartService => {
                self.process_ends();
                let mut machine = Machine::restore(self.machine.state().clone());
                std::mem::swap(&mut self.machine, &mut machine);
                let (boot_id, sessions) = (self.boots.to_string(), self.os.clone());
                self.event(Event::ServiceStarted { boot_id, sessions });
            }
            Op::Logon { user, remote } => {
                let user = UserId(["alice", "bob", "carol"][usize::from(user)].into());
                let session = SessionId(format!("{user}-{}", u8::from(remote)));
                let seat = seat(remote);
                self.os.retain(|known| known.id != session);
                self.os.push(Session::new(session.clone(), user.clone(), seat, false));
                self.show(&session, seat);
                self.event(Event::SessionLogon { user, session, seat });
            }
            Op::Logoff(which) => {
                let Some(session) = self.session(which) else { return };
                self.os.retain(|known| known.id != session);
                self.event(Event::SessionLogoff { session });
            }
            Op::Activate { session, remote } => {
                let Some(session) = self.session(session) else { return };
                self.show(&session, seat(remote));
                self.event(Event::SessionActivated { session, seat: seat(remote) });
            }
            Op::Deactivate(which) => {
                let Some(session) = self.session(which) else { return };
                self.os.iter_mut().filter(|known| known.id == session).for_each(|known| known.active = false);
                self.event(Event::SessionDeactivated { session });
            }
            Op::Plain(which) => {
                let events = [
                    Event::Lock,
                    Event::Unlock,
                    Event::Suspend,
                    Event::Resume,
                    Event::MdmBroken { message: "mdm.xml: line 1: half-written".into() },
                    Event::Connect,
                    Event::Disconnect,
                    Event::NetworkDown,
                    Event::NetworkUp,
                    Event::EmergencyDisconnect { engaged: true },
                    Event::EmergencyDisconnect { engaged: false },
                ];
                self.event(events[usize::from(which)].clone());
            }
            Op::Mdm(which) => self.event(Event::MdmChanged { settings: settings(which) }),
            Op::EnrolAnswer { which, how } => self.answer_enrolment(usize::from(which), how),
            Op::SignIn { which } => self.sign_in(usize::from(which)),
            Op::Cancel => {
                let Some(request) = self.prompt_open.take() else { return };
                self.event(Event::AuthCancelled { request, reason: "closed".into() });
            }
            Op::Ready => {
                let Some((activation, _, ready @ false)) = &mut self.preparing else { return };
                *ready = true;
                let activation = *activation;
                self.event(Event::GenerationReady { activation });
            }
            Op::GenerationFails { active } => {
                let given_up = match active {
                    true => self.up.take(),
                    false => self.committing.take().or(self.preparing.take().map(|(id, of, _)| (id, of))),
                };
                let Some((activation, registration)) = given_up else { return };
                if !active {
                    self.failed = Some(registration);
                }
                self.event(Event::GenerationFailed { activation, reason: "no answer".into() });
            }
            Op::Commit => {
                let Some((activation, registration)) = self.committing.take() else { return };
                self.up = Some((activation, registration));
                self.failed = None;
                self.event(Event::Committed { activation });
            }
            Op::Gone { which, revoked } => {
                let Some(id) = self.secrets.get(usize::from(which) % self.secrets.len().max(1)).copied() else {
                    return;
                };
                self.accepted.insert(id, false);
                self.event(match revoked {
                    true => Event::RegistrationRevoked { registration: id },
                    false => Event::RegistrationDeleted { registration: id },
                });
            }
            Op::TokenRejected => self.event(Event::TokenRejected { request: None, reason: "token_expired".into() }),
            Op::Stale(which) => self.stale(u64::from(which)),
            Op::Wait(milliseconds) => self.now = self.now.plus(milliseconds.into()),
            Op::Deadline => {
                let Some(deadline) = self.machine.deadline() else { return };
                self.now = self.now.max(deadline);
                self.event(Event::DeadlineReached);
            }
        }
    }

    /// 3: the network is up and everybody answers; nobody acts. A resting state is reached, and it is the right one.
    pub(super) fn settle(&mut self) {
        for _ in 0..60 {
            self.apply(Op::EnrolAnswer { which: 0, how: 0 });
            self.apply(Op::Ready);
            self.apply(Op::Commit);
            self.apply(Op::Deadline);
        }
        let state = self.machine.state();
        assert!(self.preparing.is_none() && self.committing.is_none(), "still preparing: {state:#?}");
        assert!(self.enrolments.is_empty(), "still enrolling: {state:#?}");
        assert_eq!(self.machine.deadline(), None, "still waiting: {state:#?}");
        let expected = oracle::wanted(self, self.now);
        assert_eq!(self.up.map(|(_, id)| id), expected, "at rest with another registration: {state:#?}");
    }

    fn answer_enrolment(&mut self, which: usize, how: u8) {
        if self.enrolments.is_empty() {
            return;
        }
        let (request, slot, organization) = self.enrolments.remove(which % self.enrolments.len());
        let event = match how {
            0..=2 => {
                let registration = self.registration("non_identity@mycompany.cloudflareaccess.com", organization);
                Event::EnrolSucceeded { request, slot, registration }
            }
            3 => Event::EnrolFailed { request, slot, reason: "out of reach".into() },
            _ => {
                let reason = "token_unknown".into();
                Event::TokenRejected { request: Some(request), reason }
            }
        };
        self.event(event);
    }

    /// Any prompt there ever was may be answered, dismissed or not, once.
    fn sign_in(&mut self, which: usize) {
        if self.prompts.is_empty() {
            return;
        }
        let (request, user, organization) = self.prompts.remove(which % self.prompts.len());
        self.prompt_open.take_if(|open| *open == request);
        let registration = self.registration(&format!("{user}@example.com"), organization);
        self.event(Event::AuthSucceeded { request, user, registration });
    }

    /// Answers to orders that were never given.
    fn stale(&mut self, which: u64) {
        let (activation, request) = (ActivationId(1_000_000 + which), RequestId(1_000_000 + which));
        let reason = String::from("stale");
        self.event(match which % 6 {
            0 => Event::GenerationReady { activation },
            1 => Event::GenerationFailed { activation, reason },
            2 => Event::Committed { activation },
            3 => Event::EnrolFailed { request, slot: Slot::PreLogin, reason },
            4 => Event::AuthCancelled { request, reason },
            _ => Event::HoldExpired,
        });
    }

    fn registration(&mut self, email: &str, organization: String) -> Registration {
        self.ids += 1;
        let id = Uuid::from_u128(self.ids);
        self.accepted.insert(id, true);
        self.secrets.push(id);
        Registration { id, organization, email: email.into(), revoked: false }
    }

    fn process_ends(&mut self) {
        self.enrolments.clear();
        self.prompts.clear();
        self.prompt_open = None;
        self.preparing = None;
        self.committing = None;
        self.up = None;
        self.failed = None;
    }

    fn session(&self, which: u8) -> Option<SessionId> {
        self.os.get(usize::from(which) % self.os.len().max(1)).map(|session| session.id.clone())
    }

    fn show(&mut self, session: &SessionId, seat: Seat) {
        let Some(index) = self.os.iter().position(|known| known.id == *session) else { return };
        let shown = self.os.remove(index);
        if seat == Seat::Console {
            self.os.iter_mut().filter(|other| other.seat == Seat::Console).for_each(|other| other.active = false);
        }
        self.os.push(Session { seat, active: true, ..shown });
    }

    fn event(&mut self, event: Event) {
        let carried = self.up;
        let now = Timestamp { since_boot: self.now, wall: 0 };
        self.handled += 1;
        self.shadow.handle(event.clone(), now);
        for action in self.machine.handle(event.clone(), now) {
            self.obey(&event, action, carried);
        }
        self.check();
        // 5: the events from `Boot` on give the same state, restarts of the service or not.
        assert_eq!(self.shadow.state(), self.machine.state(), "{event:?}");
    }

    fn obey(&mut self, event: &Event, action: Action, carried: Option<(ActivationId, Uuid)>) {
        match action {
            Action::EnrolByToken { request, slot, organization } => {
                self.enrolments.push((request, slot, organization));
            }
            Action::Prompt { request, user, organization, .. } => {
                assert_eq!(self.prompt_open, None, "a second prompt beside the first");
                assert!(is_cause(event), "prompted because of {event:?}");
                self.prompt_open = Some(request);
                self.prompts.push((request, user, organization));
            }
            Action::DismissPrompt { request } => {
                // The form may just have been answered or closed.
                self.prompt_open.take_if(|open| *open == request);
            }
            Action::Activate { activation, registration, .. } => {
                assert!(self.preparing.is_none() && self.committing.is_none(), "two at once");
                assert!(self.secrets.contains(&registration), "no secrets of {registration}");
                assert!(self.accepted[&registration], "{registration} has fallen");
                self.preparing = Some((activation, registration, false));
            }
            Action::Commit { activation } => {
                let prepared = self.preparing.take();
                let Some((id, registration, true)) = prepared else { panic!("commit of what is not ready") };
                assert_eq!(id, activation);
                self.committing = Some((id, registration));
            }
            Action::AbortPreparing { activation } => {
                assert_eq!(self.preparing.take().map(|(id, ..)| id), Some(activation));
            }
            Action::Deactivate => {
                self.check_gap(event, carried);
                (self.up, self.preparing, self.committing, self.failed) = (None, None, None, None);
            }
            Action::Rehandshake { activation } => assert_eq!(self.up.map(|(id, _)| id), Some(activation)),
            Action::Forget { registration } => {
                let used = [self.up.map(|(_, id)| id), self.preparing.map(|(_, id, _)| id)];
                assert!(!used.contains(&Some(registration)), "forgets what is in use");
                let before = self.secrets.len();
                self.secrets.retain(|kept| *kept != registration);
                assert_eq!(self.secrets.len(), before - 1, "forgets what is not kept");
            }
            Action::SetDeadline { at } => assert_eq!(at, self.machine.deadline()),
            Action::Notify { .. } => {}
        }
    }

    /// 4: down only where no usable registration is wanted, or what carried may not wait any longer.
    fn check_gap(&self, event: &Event, carried: Option<(ActivationId, Uuid)>) {
        let Some((_, from)) = carried else { return };
        let process_ended = matches!(event, Event::Boot | Event::ServiceStarted { .. });
        if process_ended || !oracle::usable(self, from) || self.failed.is_some() {
            return;
        }
        let committing_fell = self.committing.is_some_and(|(_, id)| !self.accepted[&id]);
        let to = oracle::wanted(self, self.now);
        assert!(to.is_none() || committing_fell, "a gap between {from} and {to:?} at {event:?}");
    }

    /// 1 and 2.
    fn check(&mut self) {
        let state = self.machine.state();
        let ids = |activation: &Activation| (activation.id, activation.registration.id);
        assert_eq!(self.up, state.tunnel.active.as_ref().map(ids), "the machine is mistaken about the tunnel");
        let next = self.preparing.map(|(id, of, _)| (id, of)).or(self.committing);
        assert_eq!(next, state.tunnel.next.as_ref().map(|(next, _)| ids(next)));
        assert_eq!(state.desktop().map(|own| &own.id), self.os.iter().rev().find(|own| own.active).map(|own| &own.id));
        let Some((_, carrying)) = self.up else { return };
        assert!(self.accepted[&carrying], "traffic under a registration that has fallen");
        if oracle::wanted(self, self.now) == Some(carrying) {
            self.failed = None; // Whatever is wanted next is a new switch.
        }
        let state = self.machine.state();
        if oracle::may_rest_on(self, carrying, self.now) {
            return;
        }
        let first_attempt = next.is_some_and(|(_, id)| self.failed != Some(id));
        assert!(first_attempt, "traffic under {carrying}, which no row allows: {state:#?}");
        assert!(!state.emergency && state.switched_off.is_none(), "down means down: {state:#?}");
    }
}

fn seat(remote: bool) -> Seat {
    if remote { Seat::Remote } else { Seat::Console }
}

/// What may put a form on the screen: somebody comes to a desktop, the service starts, a registration falls, the
/// configuration changes, the user or the end of a disconnection asks for it.
fn is_cause(event: &Event) -> bool {
    matches!(
        event,
        Event::Boot
            | Event::ServiceStarted { .. }
            | Event::SessionLogon { .. }
            | Event::SessionLogoff { .. }
            | Event::SessionActivated { .. }
            | Event::SessionDeactivated { .. }
            | Event::MdmChanged { .. }
            | Event::RegistrationDeleted { .. }
            | Event::RegistrationRevoked { .. }
            | Event::Connect
            | Event::EmergencyDisconnect { engaged: false }
            | Event::DeadlineReached
            | Event::HoldExpired
    )
}
