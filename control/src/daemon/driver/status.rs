//! What `vestibule status` shows.

use super::{Driver, generation::Stage};
use crate::daemon::{
    ipc::{GenerationView, MdmState, State, Status},
    remote::Gateway,
    wall,
};

impl<G: Gateway> Driver<G> {
    pub(super) fn status(&self) -> Status {
        let live = self.live.as_ref();
        let machine = self.machine.state();
        let mdm = self.configuration.view();
        let state = self.state(mdm.state);
        let plan = self.host.plan();
        Status {
            state,
            summary: self.summary(state),
            identity: live.map(|live| live.target.identity.clone()),
            organization: live.map(|live| live.target.organization.clone()),
            registration: live.map(|live| live.target.registration),
            device_id: self.device.key.device_id(),
            device_key: self.device.key.kept().clone(),
            addresses: plan.as_ref().map(|plan| plan.addresses.clone()).unwrap_or_default(),
            routes: plan.map(|plan| plan.routes).unwrap_or_default(),
            interface: self.settings.interface.clone(),
            mtu: live.map(|live| live.prepared.mtu),
            generation: live.map(|live| live.prepared.generation.0),
            swap_seq: live.map(|live| live.prepared.swap_seq),
            since: live.map(|live| wall::text(live.since)),
            policy_version: live.map(|live| live.policy_version),
            swaps: self.swaps,
            auth_url: self.prompt.as_ref().and_then(|prompt| prompt.url.clone()),
            desktop: machine.desktop().map(|session| session.user.to_string()),
            switched_on: machine.switched_off.is_none(),
            last_error: self.errors.last().cloned(),
            gateway: self.gateway.address(),
            mdm,
            dns: self.names.view(),
            generations: self.generations(),
            counters: self.tunnel.counters(),
        }
    }

    fn state(&self, mdm: MdmState) -> State {
        let machine = self.machine.state();
        match (&self.live, &self.next) {
            (Some(_), Some(_)) => State::Switching,
            (Some(_), None) => State::Connected,
            (None, Some(_)) => State::Connecting,
            (None, None) if machine.prompt.is_some() => State::Prompting,
            (None, None) if machine.enrolment.is_some() => State::Connecting,
            (None, None) if mdm == MdmState::Missing => State::Unmanaged,
            (None, None) => State::Disconnected,
        }
    }

    fn summary(&self, state: State) -> String {
        let machine = self.machine.state();
        let prompting = machine.prompt.as_ref().map(|prompt| prompt.user.to_string());
        let live = self.live.as_ref().map_or("", |live| &live.target.identity);
        let next = self.next.as_ref().map_or("", |next| &next.target.identity);
        let mut text = match state {
            State::Unmanaged => "Unmanaged: there is no MDM file".to_owned(),
            State::Switching => format!("Connected as {live}, switching to {next}"),
            State::Connected => format!("Connected as {live}"),
            State::Connecting if self.next.is_some() => format!("Connecting as {next}"),
            State::Connecting => "Enrolling with the service token".to_owned(),
            State::Prompting => "Disconnected".to_owned(),
            State::Disconnected if machine.emergency => "Disconnected: emergency disconnect".to_owned(),
            State::Disconnected if machine.switched_off.is_some() => {
                "Disconnected: switched off (`vestibule connect` switches on)".to_owned()
            }
            State::Disconnected => "Disconnected".to_owned(),
        };
        if let Some(user) = prompting {
            text.push_str(&format!("; {user} is asked to sign in"));
        }
        if let (State::Disconnected, Some(error)) = (state, self.errors.last()) {
            text.push_str(&format!("; {}", error.message));
        }
        text
    }

    fn generations(&self) -> Vec<GenerationView> {
        let draining = self.draining.iter().map(|(generation, (swap_seq, identity))| GenerationView {
            generation: generation.0,
            swap_seq: *swap_seq,
            identity: identity.clone(),
            stage: "draining".into(),
        });
        let live = self.live.iter().filter(|live| !self.draining.contains_key(&live.prepared.generation));
        let live = live.map(|live| GenerationView {
            generation: live.prepared.generation.0,
            swap_seq: live.prepared.swap_seq,
            identity: live.target.identity.clone(),
            stage: "active".into(),
        });
        let next = self.next.iter().filter_map(|next| {
            let prepared = next.prepared()?;
            let stage = match next.stage {
                Stage::Committing { .. } => "committing",
                Stage::Ready(_) => "ready",
                _ => "preparing",
            };
            Some(GenerationView {
                generation: prepared.generation.0,
                swap_seq: prepared.swap_seq,
                identity: next.target.identity.clone(),
                stage: stage.into(),
            })
        });
        draining.chain(live).chain(next).collect()
    }
}
