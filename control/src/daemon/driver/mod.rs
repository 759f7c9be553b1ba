//! The daemon's loop: every input becomes an event of the registration machine, every action is carried out.
//!
//! ```text
//! sessions, mdm.xml, control socket, gateway, engine --> Input --> Machine --> Action --> tasks, engine, host
//!                                                          ^                                |
//!                                                          +------------ answers -----------+
//! ```
//!
//! Nothing here waits for the network: what takes time is a task that answers with an [`Input`]. What
//! the machine remembers is stored after every step that changes it, before its actions are carried out, so that the
//! process may be killed at any moment.

mod actions;
mod answers;
mod bring_up;
mod calls;
mod generation;
mod parts;
mod settings;
mod status;
#[cfg(test)]
mod tests;

use super::remote::Gateway;
use super::{
    configuration::Configuration,
    emergency::Emergency,
    enrol::Device,
    held::HeldPolicies,
    host::Host,
    ipc::{DnsState, ErrorView},
    journal::Journal,
    settings::{Dns, Effective, HeldProfiles},
    store::Store,
    tunnel::Tunnel,
};
use crate::registration::{Event, Machine, RequestId, SinceBoot, State, Timestamp};
use generation::{BringUp, Live};
pub(super) use parts::{Browser, CommitFailure, Input, Parts, Settings};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use vestibule_engine::generation::GenerationId;

/// Longest sleep. Timers of the runtime stand still while the system sleeps; the machine's deadlines do not.
const NAP: Duration = Duration::from_secs(15);
/// Shortest sleep of the system that is noticed. Both clocks are read within milliseconds of each other.
const SLEEP: Duration = Duration::from_secs(2);

/// How long the end waits for the system's resolvers to be as before, and how often it looks.
const NAMES_PATIENCE: Duration = Duration::from_secs(2);
/// See [`NAMES_PATIENCE`].
const NAMES_LOOK: Duration = Duration::from_millis(5);

/// Waits until the system's resolvers are as before: while the tunnel's link is there, they can be told so.
async fn given_back(names: super::dns::Watch) {
    let over = async {
        while names.view().state == DnsState::On {
            tokio::time::sleep(NAMES_LOOK).await;
        }
    };
    let _ = tokio::time::timeout(NAMES_PATIENCE, over).await;
}

/// The loop's state.
pub(super) struct Driver<G> {
    machine: Machine,
    gateway: Arc<G>,
    device: Arc<Device>,
    store: Arc<Store>,
    journal: Journal,
    emergency: Emergency,
    /// The rules of former orders.
    held: Arc<HeldPolicies>,
    profiles: Arc<HeldProfiles>,
    /// The settings in force.
    effective: Effective,
    /// What the resolver is told.
    dns: watch::Sender<Dns>,
    /// How the resolver does.
    names: super::dns::Watch,
    tunnel: Tunnel,
    host: Arc<Host>,
    configuration: Configuration,
    settings: Settings,
    clock: Box<dyn Fn() -> Timestamp + Send>,
    /// Gives every task its way back.
    inputs: mpsc::UnboundedSender<Input>,
    /// Events to feed before waiting again.
    events: VecDeque<Event>,
    deadline: Option<SinceBoot>,
    /// The one generation that is being brought up.
    next: Option<BringUp>,
    /// The one that carries traffic.
    live: Option<Live>,
    /// Former ones that still drain.
    draining: BTreeMap<GenerationId, (u64, String)>,
    prompt: Option<Prompt>,
    swaps: u64,
    errors: Errors,
    /// What of the machine's state is on disk.
    kept: Option<State>,
    /// Both clocks at the last look.
    awake: Option<(Instant, SinceBoot)>,
}

/// A prompt on its way.
#[derive(Debug)]
struct Prompt {
    request: RequestId,
    url: Option<String>,
    /// Dropped to dismiss it.
    _dismiss: watch::Sender<bool>,
}

/// The latest failure of each kind, until that kind works again.
#[derive(Debug, Default)]
struct Errors(Vec<(&'static str, ErrorView)>);

impl Errors {
    fn set(&mut self, kind: &'static str, at: String, message: String) {
        self.clear(kind);
        self.0.push((kind, ErrorView { at, message }));
    }

    fn clear(&mut self, kind: &'static str) {
        self.0.retain(|(known, _)| *known != kind);
    }

    fn last(&self) -> Option<&ErrorView> {
        self.0.last().map(|(_, error)| error)
    }
}

impl<G: Gateway> Driver<G> {
    pub(super) fn new(parts: Parts<G>, inputs: mpsc::UnboundedSender<Input>) -> Self {
        let Parts {
            machine,
            gateway,
            device,
            store,
            journal,
            emergency,
            tunnel,
            host,
            names,
            configuration,
            settings,
            clock,
        } = parts;
        let profiles = Arc::new(HeldProfiles::open(&store));
        Self {
            machine,
            gateway,
            device,
            store,
            journal,
            emergency,
            held: Arc::default(),
            profiles,
            effective: Effective::default(),
            dns: watch::Sender::default(),
            names,
            tunnel,
            host,
            configuration,
            settings,
            clock,
            inputs,
            events: VecDeque::new(),
            deadline: None,
            next: None,
            live: None,
            draining: BTreeMap::new(),
            prompt: None,
            swaps: 0,
            errors: Errors::default(),
            kept: None,
            awake: None,
        }
    }

    /// Runs until [`Input::Stop`]. The machine learns of `started` first.
    pub(super) async fn run(mut self, started: Event, mut inputs: mpsc::UnboundedReceiver<Input>) -> End {
        // The start comes before the configuration: it tells the machine that the earlier process's tunnel is gone.
        self.events.push_back(started);
        self.settle_settings();
        let settings = self.configuration.settings().map(|settings| self.effective.machine(settings));
        self.events.extend(settings.map(|settings| Event::MdmChanged { settings }));
        self.read_mdm();
        self.configure_emergency();
        let end = loop {
            self.settle();
            let input = tokio::select! {
                biased;
                Some(input) = inputs.recv() => input,
                () = tokio::time::sleep_until(self.wake_at()) => {
                    self.notice_sleep();
                    self.timers();
                    continue;
                }
            };
            self.notice_sleep();
            match input {
                Input::Stop => break End::Asked,
                Input::WorkerStopped => break End::WorkerStopped,
                input => self.input(input),
            }
        };
        self.deactivate();
        given_back(self.names.clone()).await;
        self.tunnel.stop();
        self.host.close();
        end
    }

    /// Feeds the machine until it has nothing more to say.
    fn settle(&mut self) {
        while let Some(event) = self.events.pop_front() {
            let actions = self.machine.handle(event, (self.clock)());
            if let Some(entry) = self.machine.log().next_back() {
                tracing::info!(row = %entry.row, "{}", entry.plain);
            }
            // Before the state: an entry too many is noticed at the next start, one too few would be a gap.
            self.journal.write(&self.machine);
            self.keep_state();
            for action in actions {
                self.carry_out(action);
            }
        }
    }

    /// Stores what the machine remembers, when something that outlives the process has changed.
    fn keep_state(&mut self) {
        let durable = self.machine.state().durable();
        if self.kept.as_ref() == Some(&durable) {
            return;
        }
        match self.store.keep_state(self.machine.state()) {
            Ok(()) => {
                self.kept = Some(durable);
                self.errors.clear("store");
            }
            Err(error) => self.failed("store", &error),
        }
    }

    /// The runtime's clock stands still while the system sleeps, the machine's does not: their difference is the sleep.
    fn notice_sleep(&mut self) {
        let now = (Instant::now(), (self.clock)().since_boot);
        if let Some((instant, since_boot)) = self.awake.replace(now) {
            let awake = now.0.saturating_duration_since(instant);
            let passed = Duration::from_millis(now.1.0.saturating_sub(since_boot.0));
            if passed.saturating_sub(awake) > SLEEP {
                tracing::info!(slept = ?passed.saturating_sub(awake), "the system was asleep");
                self.events.push_back(Event::Resume);
            }
        }
    }

    fn wake_at(&self) -> Instant {
        let now = (self.clock)().since_boot;
        let deadline = self.deadline.map(|at| Duration::from_millis(at.0.saturating_sub(now.0)));
        let nap = Instant::now() + deadline.unwrap_or(NAP).min(NAP);
        self.next.as_ref().and_then(|next| next.deadline).map_or(nap, |at| at.min(nap))
    }

    fn timers(&mut self) {
        if self.deadline.is_some_and(|at| at <= (self.clock)().since_boot) {
            self.deadline = None;
            self.events.push_back(Event::DeadlineReached);
        }
        if self.next.as_ref().and_then(|next| next.deadline).is_some_and(|at| at <= Instant::now()) {
            self.bring_up_timed_out();
        }
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Happened(event) => self.events.push_back(event),
            Input::MdmTouched => self.read_mdm(),
            Input::EmergencyTouched => {
                self.emergency.look();
                self.tell_emergency();
            }
            Input::EmergencyAnswered(engaged) => {
                self.emergency.answered(engaged);
                self.tell_emergency();
            }
            Input::Call(call) => self.call(call),
            Input::Engine(event) => self.engine(event),
            Input::Enrolled { request, slot, result } => self.enrolled(request, slot, result),
            Input::LoginShown { request, url } => self.login_shown(request, url),
            Input::LoginEnded { request, user, result } => self.login_ended(request, user, result),
            Input::Ordered { activation, result } => self.ordered(activation, result),
            Input::Committed { activation, result } => self.committed(activation, result),
            Input::Routed { result } => self.routed(result),
            Input::News { generation, news } => self.news(generation, news),
            Input::Deleted { view, result, answer } => self.deleted(view, result, answer),
            Input::WorkerStopped | Input::Stop => {}
        }
    }

    fn read_mdm(&mut self) {
        use super::configuration::Reading;
        match self.configuration.read(&self.store) {
            Reading::Unchanged => {}
            Reading::Changed(settings) => {
                self.errors.clear("mdm");
                self.settle_settings();
                let settings = self.effective.machine(settings);
                self.events.push_back(Event::MdmChanged { settings });
                self.configure_emergency();
            }
            Reading::Broken(message) => {
                let at = self.now_text();
                self.errors.set("mdm", at, message.clone());
                self.events.push_back(Event::MdmBroken { message });
            }
        }
    }

    /// The MDM file and the organisation say where emergency signals come from.
    fn configure_emergency(&mut self) {
        let inputs = self.inputs.clone();
        let profile = self.profiles.in_force();
        let sources = self.configuration.emergency(profile.as_deref().map(|profile| &profile.organization));
        self.emergency.configure(sources, |remote| {
            tokio::spawn(super::emergency::poll(remote, move |engaged| {
                inputs.send(Input::EmergencyAnswered(engaged)).is_ok()
            }))
        });
        self.tell_emergency();
    }

    fn tell_emergency(&mut self) {
        self.events.extend(self.emergency.news().map(|engaged| Event::EmergencyDisconnect { engaged }));
    }

    /// Notes a failure for log and status.
    fn failed(&mut self, kind: &'static str, error: &(dyn std::error::Error + 'static)) {
        let message = crate::causes::chain(error);
        tracing::warn!(kind, "{message}");
        let at = self.now_text();
        self.errors.set(kind, at, message);
    }

    fn now_text(&self) -> String {
        super::wall::text((self.clock)().wall)
    }
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Asked,
    WorkerStopped,
}
