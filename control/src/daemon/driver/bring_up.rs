//! Bringing a generation up beside the active one: order, handshake, commit, acknowledgement.

use super::{
    CommitFailure, Driver, Input,
    generation::{BringUp, Live, Prepared, Stage, Target},
};
use crate::{
    api::device::Changes,
    causes::chain,
    daemon::{
        host::Plan,
        order::{Order, OrderError, Wishes, order},
        poll::{News, poll},
        posture::PostureTask,
        remote::{Gateway, Meaning},
        settings::{Sources, split_routes},
    },
    registration::{ActivationId, Event},
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;
use vestibule_engine::{core::Event as Engine, generation::GenerationId};

/// How long a commit may wait for a place to drain, beside the acknowledgement's patience.
const DRAIN: Duration = Duration::from_secs(12);

impl<G: Gateway> Driver<G> {
    /// `Action::Activate`.
    pub(super) fn activate(&mut self, activation: ActivationId, registration: Uuid, organization: String) {
        self.give_up_next();
        let known = self.machine.state().slots.values().find(|known| known.id == registration);
        let identity = known.map_or_else(String::new, |known| known.email.clone());
        let Some(bearer) = self.store.bearer(registration) else {
            // Its secret is lost: as good as deleted, and the machine registers anew.
            let reason = "the registration's secret is not in the state directory".to_owned();
            self.events.push_back(Event::RegistrationDeleted { registration });
            self.events.push_back(Event::GenerationFailed { activation, reason });
            return;
        };
        let (gateway, device, store) = (self.gateway.clone(), self.device.clone(), self.store.clone());
        let (held, profiles) = (self.held.clone(), self.profiles.clone());
        let (inputs, secret) = (self.inputs.clone(), bearer.clone());
        let sources =
            Sources { mdm: self.configuration.mdm(), organization: Some(&organization), ..Sources::default() };
        let (adapter_mtu, http) = (self.settings.mtu, Arc::clone(&self.settings.http));
        let wishes = Wishes { adapter_mtu, protocol: sources.forced_protocol(), http };
        let task = tokio::spawn(async move {
            let result = order(&*gateway, &device, &store, (&held, &profiles), registration, &secret, wishes).await;
            let _ = inputs.send(Input::Ordered { activation, result: result.map(Box::new) });
        });
        let target = Target { activation, registration, identity, organization, bearer };
        self.next = Some(BringUp { target, stage: Stage::Ordering, deadline: None, task: Some(task.into()) });
    }

    /// The gateway's answer to the order: the handshake may begin.
    pub(super) fn ordered(&mut self, activation: ActivationId, result: Result<Box<Order>, OrderError>) {
        let Some(next) = self.next.as_mut().filter(|next| next.target.activation == activation) else { return };
        next.task = None;
        let order = match result {
            Ok(order) => *order,
            Err(error) => {
                let registration = next.target.registration;
                match error.meaning() {
                    Meaning::RegistrationRevoked => self.events.push_back(Event::RegistrationRevoked { registration }),
                    Meaning::RegistrationDeleted => self.events.push_back(Event::RegistrationDeleted { registration }),
                    _ => {}
                }
                return self.bring_up_failed(&chain(&error));
            }
        };
        if let Err(error) = self.tunnel.prepare(order.generation(&next.target.identity)) {
            return self.bring_up_failed(&chain(&error));
        }
        // The address of the emergency signal is asked beside the tunnel, whose rules may not let it through.
        let bypass = order.bypass.iter().copied().chain(self.emergency.address()).collect();
        let prepared = Prepared {
            generation: GenerationId(order.swap_seq),
            swap_seq: order.swap_seq,
            held: order.held(),
            plan: Plan {
                addresses: order.answer.addresses,
                routes: split_routes(&order.answer.routes, &order.profile.settings.split_tunnel),
                bypass,
            },
            mtu: order.answer.mtu,
            routes: order.answer.routes,
            profile: order.profile,
            wished: order.wished,
        };
        next.stage = Stage::Handshaking(prepared);
        next.deadline = Some(Instant::now() + self.settings.patience);
    }

    /// `Action::Commit`.
    pub(super) fn commit(&mut self, activation: ActivationId) {
        let Some(next) = self.next.as_mut().filter(|next| next.target.activation == activation) else {
            let reason = "it is not being brought up any longer".to_owned();
            return self.events.push_back(Event::GenerationFailed { activation, reason });
        };
        let Stage::Ready(prepared) = &next.stage else {
            return self.bring_up_failed("its handshake is not confirmed");
        };
        let prepared = prepared.clone();
        let (tunnel, host, inputs) = (self.tunnel.clone(), self.host.clone(), self.inputs.clone());
        let (generation, plan) = (prepared.generation, prepared.plan.clone());
        // Packets need addresses and routes before the first generation, and the new ones only after the last moment
        // of the old ones (D12). Equal ones are not touched.
        let first = self.live.is_none();
        let task = tokio::spawn(async move {
            let result: Result<(), CommitFailure> = async {
                if first {
                    host.apply(plan.clone()).await?;
                }
                tunnel.commit(generation).await?;
                Ok(host.apply(plan).await?)
            }
            .await;
            let _ = inputs.send(Input::Committed { activation, result });
        });
        next.stage = Stage::Committing { prepared, switched: false, done: false, acknowledged: false };
        next.deadline = Some(Instant::now() + DRAIN + self.settings.patience);
        next.task = Some(task.into());
    }

    /// The engine has committed, and the host's network is set up; or not.
    pub(super) fn committed(&mut self, activation: ActivationId, result: Result<(), CommitFailure>) {
        let Some(next) = self.next.as_mut().filter(|next| next.target.activation == activation) else { return };
        if let Err(error) = result {
            return self.bring_up_failed(&chain(&error));
        }
        if let Stage::Committing { done, .. } = &mut next.stage {
            *done = true;
        }
        self.finish();
    }

    /// What the packet worker tells.
    pub(super) fn engine(&mut self, event: Engine) {
        let next = self.next.as_ref().and_then(BringUp::prepared).map(|prepared| prepared.generation);
        let live = self.live.as_ref().map(|live| live.prepared.generation);
        match event {
            Engine::Ready { generation, rtt, .. } if next == Some(generation) => self.ready(rtt),
            Engine::Committed { generation, .. } if next == Some(generation) => {
                if let Some(Stage::Committing { switched, .. }) = self.next.as_mut().map(|next| &mut next.stage) {
                    *switched = true;
                }
                if let Some(old) = &self.live {
                    let view = (old.prepared.swap_seq, old.target.identity.clone());
                    self.draining.insert(old.prepared.generation, view);
                }
            }
            Engine::Acknowledged { generation, .. } if next == Some(generation) => {
                if let Some(Stage::Committing { acknowledged, .. }) = self.next.as_mut().map(|next| &mut next.stage) {
                    *acknowledged = true;
                }
                self.finish();
            }
            Engine::Failed { generation, .. } if next == Some(generation) => {
                self.bring_up_failed("the gateway does not answer the handshake");
            }
            Engine::Failed { generation, .. } if live == Some(generation) => {
                self.lost("the gateway does not answer any longer");
            }
            Engine::Retired { generation, .. } => {
                self.draining.remove(&generation);
            }
            Engine::Carried { generation, http, endpoint, .. } => {
                tracing::debug!(generation = generation.0, ?http, "what carries the tunnel");
                if let Some(gateway) = endpoint {
                    self.settings.http.note(gateway, http);
                }
            }
            Engine::EndpointMoved { endpoint, .. } => tracing::debug!(%endpoint, "the gateway moved"),
            _ => {}
        }
    }

    fn ready(&mut self, rtt: Duration) {
        let Some(next) = &mut self.next else { return };
        if let Stage::Handshaking(prepared) = &next.stage {
            tracing::debug!(generation = prepared.generation.0, ?rtt, "handshake confirmed");
            next.stage = Stage::Ready(prepared.clone());
            next.deadline = None;
            self.events.push_back(Event::GenerationReady { activation: next.target.activation });
        }
    }

    /// Both ends have committed and the host is set up: the new generation is the active one.
    fn finish(&mut self) {
        let complete = |next: &mut BringUp| {
            matches!(next.stage, Stage::Committing { switched: true, done: true, acknowledged: true, .. })
        };
        let Some(BringUp { target, stage: Stage::Committing { prepared, .. }, .. }) = self.next.take_if(complete)
        else {
            return;
        };
        let (gateway, inputs, bearer) = (self.gateway.clone(), self.inputs.clone(), target.bearer.clone());
        let (generation, policy_version) = (prepared.generation, prepared.held.since);
        let posture = PostureTask::start(gateway.clone(), bearer.clone(), prepared.held.posture);
        let poll = tokio::spawn(poll(gateway, bearer, prepared.held.clone(), move |news| {
            inputs.send(Input::News { generation, news }).is_ok()
        }));
        self.events.push_back(Event::Committed { activation: target.activation });
        let since = (self.clock)().wall;
        self.live = Some(Live { target, prepared, since, policy_version, _poll: poll.into(), posture });
        self.swaps += 1;
        self.errors.clear("connect");
        self.settings_changed();
    }

    /// Other rules, another profile or another schedule of the active registration.
    fn changed(&mut self, generation: GenerationId, registration: Uuid, changes: Changes) {
        let Some(live) = self.live.as_mut() else { return };
        live.policy_version = changes.version;
        live.posture.every(changes.posture.every);
        if let (Some(document), Some(digest)) = (changes.policy, &changes.policy_digest) {
            tracing::info!(version = document.version, rules = document.rules.len(), "new rules");
            if let Some((_, policy)) = self.held.take(registration, Some(document), digest) {
                self.tunnel.publish(generation, policy);
            }
        }
        if let (Some(document), Some(digest)) = (changes.profile, &changes.profile_digest) {
            tracing::info!(profile = document.name, "new device profile");
            if let Some(profile) = self.profiles.take(registration, Some(document), digest) {
                live.prepared.profile = profile;
                self.settings_changed();
            }
        }
    }

    /// What the gateway pushed about the active registration.
    pub(super) fn news(&mut self, generation: GenerationId, news: News) {
        let Some(live) = self.live.as_mut().filter(|live| live.prepared.generation == generation) else { return };
        let registration = live.target.registration;
        match news {
            News::Changed(changes) => self.changed(generation, registration, *changes),
            News::Revoked => self.events.push_back(Event::RegistrationRevoked { registration }),
            News::Deleted => self.events.push_back(Event::RegistrationDeleted { registration }),
            News::Lost(message) => {
                tracing::warn!("{message}");
                let at = self.now_text();
                self.errors.set("gateway", at, message);
            }
            News::Back => {
                self.errors.clear("gateway");
                // A gateway that was away may have forgotten the session.
                self.tunnel.rekey();
                self.events.push_back(Event::NetworkUp);
            }
        }
    }

    pub(super) fn bring_up_timed_out(&mut self) {
        let seconds = self.settings.patience.as_secs();
        let reason = match self.next.as_ref().map(|next| &next.stage) {
            Some(Stage::Committing { switched: true, .. }) => "the gateway did not acknowledge the commit",
            Some(Stage::Committing { .. }) => "earlier generations did not drain",
            _ => "the gateway did not answer the handshake",
        };
        self.bring_up_failed(&format!("{reason} within {seconds} s"));
    }

    /// Gives the next generation up and tells the machine.
    fn bring_up_failed(&mut self, reason: &str) {
        let Some(next) = self.next.take() else { return };
        tracing::warn!(identity = next.target.identity, "the connection was not made: {reason}");
        let at = self.now_text();
        self.errors.set("connect", at, format!("connecting as {} failed: {reason}", next.target.identity));
        let switched = matches!(next.stage, Stage::Committing { switched: true, .. });
        self.discard(&next);
        self.events.push_back(Event::GenerationFailed { activation: next.target.activation, reason: reason.into() });
        if switched {
            // The former one seals nothing any more: it is lost with its successor.
            self.lost("its successor was lost after the commit");
        }
    }

    /// `Action::AbortPreparing`.
    pub(super) fn abort_preparing(&mut self, activation: ActivationId) {
        if self.next.as_ref().is_some_and(|next| next.target.activation == activation) {
            self.give_up_next();
        }
    }

    fn give_up_next(&mut self) {
        if let Some(next) = self.next.take() {
            self.discard(&next);
        }
    }

    fn discard(&self, next: &BringUp) {
        if let Some(prepared) = next.prepared() {
            self.tunnel.retire(prepared.generation);
        }
    }

    /// The active generation is gone, and nobody asked for it.
    fn lost(&mut self, reason: &str) {
        let Some(live) = self.live.take() else { return };
        tracing::warn!(identity = live.target.identity, "the connection was lost: {reason}");
        let at = self.now_text();
        self.errors.set("connect", at, format!("the connection as {} was lost: {reason}", live.target.identity));
        self.tunnel.retire(live.prepared.generation);
        self.tell_resolver();
        self.events.push_back(Event::GenerationFailed { activation: live.target.activation, reason: reason.into() });
    }

    /// `Action::Deactivate`: down, at once.
    pub(super) fn deactivate(&mut self) {
        self.give_up_next();
        if let Some(live) = self.live.take() {
            self.tunnel.retire(live.prepared.generation);
        }
        for generation in std::mem::take(&mut self.draining).into_keys() {
            self.tunnel.retire(generation);
        }
        self.host.unroute();
        self.tell_resolver();
    }
}
