//! Putting settings in force when the MDM file, the profile or the generation changes.

use super::{Driver, Input};
use crate::{
    api::profile::Mode,
    daemon::{
        host::HostError,
        ipc::SettingsView,
        remote::Gateway,
        settings::{Dns, Local, Sources, split_routes},
    },
    registration::Event,
};
use tokio::sync::watch;

impl<G: Gateway> Driver<G> {
    /// What the resolver is told, now and whenever it changes.
    pub(in crate::daemon) fn dns(&self) -> watch::Receiver<Dns> {
        self.dns.subscribe()
    }

    /// Settles the settings again and acts on what is other than before.
    pub(super) fn settings_changed(&mut self) {
        if self.settle_settings()
            && let Some(settings) = self.configuration.settings()
        {
            let settings = self.effective.machine(settings);
            self.events.push_back(Event::MdmChanged { settings });
        }
        self.configure_emergency();
        self.route();
    }

    /// As [`Self::settings_changed`], but for what the machine must learn: true when there is something.
    pub(super) fn settle_settings(&mut self) -> bool {
        if let Some(live) = &self.live {
            self.profiles.put_in_force(live.target.registration, &self.store);
        }
        let profile = self.profiles.in_force();
        let organization = self.live.as_ref().map(|live| live.target.organization.clone());
        let effective = Sources {
            mdm: self.configuration.mdm(),
            organization: organization.as_deref(),
            profile: profile.as_deref(),
            local: None,
        }
        .settle();
        let before = std::mem::replace(&mut self.effective, effective);
        let now = &self.effective;
        let news = (before.switch_locked, before.auto_connect) != (now.switch_locked, now.auto_connect);
        if matches!(now.mode, Mode::Warp | Mode::TunnelOnly) {
            self.errors.clear("mode");
        } else if before.mode != now.mode {
            let message = format!(
                "the service mode {} is not carried yet: traffic goes through the tunnel all the same",
                serde_json::to_string(&now.mode).unwrap_or_default()
            );
            let at = self.now_text();
            self.errors.set("mode", at, message);
        }
        self.route();
        self.tell_resolver();
        self.settle_transport();
        news
    }

    /// Has the generation in use followed by one over what the file or the profile wants now.
    fn settle_transport(&mut self) {
        let Some(live) = &self.live else { return };
        let organization = Some(live.target.organization.as_str());
        let sources = Sources { mdm: self.configuration.mdm(), organization, ..Sources::default() };
        let wished = sources.forced_protocol().unwrap_or(live.prepared.profile.settings.tunnel_protocol);
        if wished != live.prepared.wished {
            tracing::info!(?wished, "the tunnel is to travel over something else");
            self.events.push_back(Event::TransportChanged { activation: live.target.activation });
        }
    }

    /// Tells the resolver when something is new to it.
    pub(super) fn tell_resolver(&self) {
        let dns = Dns { connected: self.live.is_some(), ..self.effective.dns.clone() };
        self.dns.send_if_modified(|told| {
            let news = *told != dns;
            *told = dns;
            news
        });
    }

    /// Brings the routes of the generation in use to what the profile says now.
    fn route(&mut self) {
        let Some(live) = &mut self.live else { return };
        let routes = split_routes(&live.prepared.routes, &self.effective.split_tunnel);
        let plan = &mut live.prepared.plan;
        // The emergency signal is asked beside the tunnel.
        let beside = self.emergency.address().filter(|address| !plan.bypass.contains(address));
        if plan.routes == routes && beside.is_none() {
            return;
        }
        plan.routes = routes;
        plan.bypass.extend(beside);
        let (host, plan, inputs) = (self.host.clone(), live.prepared.plan.clone(), self.inputs.clone());
        tokio::spawn(async move {
            let result = host.apply(plan).await;
            let _ = inputs.send(Input::Routed { result });
        });
    }

    pub(super) fn routed(&mut self, result: Result<(), HostError>) {
        match result {
            Ok(()) => self.errors.clear("routes"),
            Err(error) => self.failed("routes", &error),
        }
    }

    /// `vestibule settings`.
    pub(super) fn settings_view(&self) -> SettingsView {
        let profile = self.profiles.in_force();
        let gateway = self.gateway.address();
        let local = Local {
            gateway: &gateway,
            interface: &self.settings.interface,
            mtu: self.settings.mtu,
            switched_on: self.machine.state().switched_off.is_none(),
        };
        let organization = self.live.as_ref().map(|live| live.target.organization.as_str());
        let sources =
            Sources { mdm: self.configuration.mdm(), organization, profile: profile.as_deref(), local: Some(local) };
        SettingsView {
            settings: sources.settle().settings,
            profile: profile.as_ref().map(|profile| profile.name.clone()),
            profile_id: profile.as_ref().map(|profile| profile.id.clone()),
        }
    }
}

#[cfg(test)]
mod tests;
