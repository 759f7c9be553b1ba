//! A device with its daemon, in a few verbs. Every verb gives the machine's orders in short form.

use crate::registration::*;
use uuid::Uuid;

pub(super) struct World {
    pub machine: Machine,
    pub now: SinceBoot,
    pub wall: i64,
    registrations: u128,
}

pub(super) fn pre_login() -> Settings {
    Settings { pre_login: Some("mycompany".into()), organizations: vec!["mycompany".into()], ..Settings::default() }
}

pub(super) fn user_only() -> Settings {
    Settings { organizations: vec!["mycompany".into()], ..Settings::default() }
}

pub(super) fn multi(settings: Settings) -> Settings {
    Settings { multi_user: true, ..settings }
}

pub(super) fn session(id: &str, user: &str, active: bool) -> Session {
    Session::new(id, user, Seat::Console, active)
}

impl World {
    pub(super) fn new(settings: Settings) -> Self {
        Self { machine: Machine::new(settings, 42), now: SinceBoot(1_000), wall: 1_800_000_000_000, registrations: 0 }
    }

    /// Booted with a pre-login registration in force.
    pub(super) fn before_login(settings: Settings) -> Self {
        let mut world = Self::new(settings);
        world.boot();
        world.enrolled();
        world.comes_up();
        assert_eq!(world.carrying(), TOKEN);
        world
    }

    /// `user` has logged on (session = name), signed in, and carries the traffic.
    pub(super) fn signed_in(settings: Settings, user: &str) -> Self {
        let has_token = settings.pre_login.is_some();
        let mut world = if has_token { Self::before_login(settings) } else { Self::new(settings) };
        world.logon(user);
        world.signs_in(user);
        world.comes_up();
        assert_eq!(world.carrying(), mail(user));
        world
    }

    pub(super) fn event(&mut self, event: Event) -> Vec<String> {
        let now = Timestamp { since_boot: self.now, wall: self.wall };
        let actions = self.machine.handle(event, now);
        assert_eq!(self.machine.replay(), *self.machine.state(), "the log does not lead to the state");
        actions.iter().map(|action| self.short(action)).collect()
    }

    fn short(&self, action: &Action) -> String {
        match action {
            Action::EnrolByToken { organization, .. } => format!("enrol {organization}"),
            Action::Prompt { user, .. } => format!("prompt {user}"),
            Action::DismissPrompt { .. } => "dismiss".into(),
            Action::Activate { registration, addresses, .. } => {
                let slots = &self.machine.state().slots;
                let email = &slots.values().find(|kept| kept.id == *registration).unwrap().email;
                format!("activate {email} {addresses:?}").to_lowercase()
            }
            Action::Commit { .. } => "commit".into(),
            Action::AbortPreparing { .. } => "abort".into(),
            Action::Deactivate => "deactivate".into(),
            Action::Rehandshake { .. } => "rehandshake".into(),
            Action::Forget { registration } => format!("forget {}", registration.as_u128()),
            Action::SetDeadline { at } => format!("deadline {}", at.map_or("none".into(), |at| at.0.to_string())),
            Action::Notify { message } => format!("notify {message}"),
        }
    }

    pub(super) fn boot(&mut self) -> Vec<String> {
        self.event(Event::Boot)
    }

    pub(super) fn logon(&mut self, user: &str) -> Vec<String> {
        self.event(Event::SessionLogon { user: user.into(), session: user.into(), seat: Seat::Console })
    }

    pub(super) fn logoff(&mut self, user: &str) -> Vec<String> {
        self.event(Event::SessionLogoff { session: user.into() })
    }

    /// Fast user switch to someone who is logged on.
    pub(super) fn switch_to(&mut self, user: &str) -> Vec<String> {
        self.event(Event::SessionActivated { session: user.into(), seat: Seat::Console })
    }

    /// To the login screen, still logged on.
    pub(super) fn leave(&mut self, user: &str) -> Vec<String> {
        self.event(Event::SessionDeactivated { session: user.into() })
    }

    pub(super) fn registration(&mut self, email: &str, organization: &str) -> Registration {
        self.registrations += 1;
        Registration {
            id: Uuid::from_u128(self.registrations),
            organization: organization.into(),
            email: email.into(),
            revoked: false,
        }
    }

    pub(super) fn enrolled(&mut self) -> Vec<String> {
        let enrolment = self.machine.state().enrolment.clone().expect("nothing enrols");
        let registration = self.registration(TOKEN, &enrolment.organization);
        self.event(Event::EnrolSucceeded { request: enrolment.request, slot: enrolment.slot, registration })
    }

    pub(super) fn enrol_fails(&mut self) -> Vec<String> {
        let Enrolment { request, slot, .. } = self.machine.state().enrolment.clone().expect("nothing enrols");
        self.event(Event::EnrolFailed { request, slot, reason: "gateway out of reach".into() })
    }

    pub(super) fn prompt(&self) -> Prompt {
        self.machine.state().prompt.clone().expect("nobody is asked")
    }

    pub(super) fn signs_in(&mut self, user: &str) -> Vec<String> {
        let prompt = self.prompt();
        assert_eq!(prompt.user.0, user);
        self.event(Event::AuthPrompted { request: prompt.request });
        self.answer(&prompt, user)
    }

    /// The answer to a prompt, which may have been dismissed meanwhile.
    pub(super) fn answer(&mut self, prompt: &Prompt, user: &str) -> Vec<String> {
        let registration = self.registration(&mail(user), &prompt.organization);
        self.event(Event::AuthSucceeded { request: prompt.request, user: user.into(), registration })
    }

    pub(super) fn cancels(&mut self) -> Vec<String> {
        let request = self.prompt().request;
        self.event(Event::AuthCancelled { request, reason: "closed".into() })
    }

    pub(super) fn next(&self) -> Activation {
        self.machine.state().tunnel.next.clone().expect("nothing is being prepared").0
    }

    /// The generation being prepared gets ready and is committed.
    pub(super) fn comes_up(&mut self) -> Vec<String> {
        let activation = self.next().id;
        let orders = self.event(Event::GenerationReady { activation });
        assert!(orders.contains(&"commit".to_owned()), "no commit: {orders:?}");
        self.event(Event::Committed { activation })
    }

    pub(super) fn generation_fails(&mut self) -> Vec<String> {
        let activation = self.next().id;
        self.event(Event::GenerationFailed { activation, reason: "no answer".into() })
    }

    pub(super) fn deleted(&mut self, id: Uuid) -> Vec<String> {
        self.event(Event::RegistrationDeleted { registration: id })
    }

    /// The registration kept for this mail.
    pub(super) fn id_of(&self, email: &str) -> Uuid {
        self.machine.state().slots.values().find(|kept| kept.email == email).expect("no such registration").id
    }

    /// Waits for the machine's own deadline.
    pub(super) fn deadline(&mut self) -> Vec<String> {
        self.now = self.machine.deadline().expect("no deadline");
        self.event(Event::DeadlineReached)
    }

    /// The mail that carries traffic, or `nothing`.
    pub(super) fn carrying(&self) -> String {
        let active = self.machine.state().tunnel.active.as_ref();
        active.map_or("nothing".into(), |active| active.registration.email.clone())
    }

    /// The rows of the latest step.
    pub(super) fn rows(&self) -> String {
        let entry = self.machine.log().last().unwrap();
        match entry.then {
            Some(then) => format!("{} {then}", entry.row),
            None => entry.row.to_string(),
        }
    }
}

pub(super) const TOKEN: &str = "non_identity@mycompany.cloudflareaccess.com";

pub(super) fn mail(user: &str) -> String {
    format!("{user}@example.com")
}
