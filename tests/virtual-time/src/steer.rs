//! What the control plane does to running engines: rules pushed, revocation, a gateway's restart; and roaming.

use crate::{
    control::Happening,
    generations::{End, Life},
    node::Node,
    policy::PolicySpec,
    sim::{Sim, config, peer_of},
};
use std::net::SocketAddr;
use vestibule_engine::core::{Engine, PeerId};

impl Sim {
    /// New rules for an identity: at the gateway now, at its devices after the control channel's delay.
    pub fn publish(&mut self, identity: usize, policy: &PolicySpec) {
        self.note(format!("rules of identity {identity} change"));
        self.control.identities[identity] = policy.clone();
        let labels: Vec<_> =
            self.generations.all.values().filter(|s| s.identity == identity).map(|s| s.label).collect();
        let at = self.clock.elapsed() + self.settings.control_delay;
        for label in labels {
            self.publish_half(label, End::Gateway, policy.clone());
            self.agenda.add(at, Happening::Rules(label, policy.clone()));
        }
    }

    pub(crate) fn publish_half(&mut self, label: u64, end: End, policy: PolicySpec) {
        let now = self.clock.now();
        let Some(state) = self.generations.all.get_mut(&label) else { return };
        let peer = if end == End::Gateway { peer_of(state.device) } else { PeerId(0) };
        let half = state.half_mut(end);
        if half.life != Life::Active && !half.life.waits() {
            return;
        }
        half.policy = policy;
        half.since = self.clock.elapsed();
        let (id, compiled) = (half.id, half.policy.compile());
        self.node(end).engine.publish(peer, id, compiled, now);
        self.model.reassess(&self.generations, self.clock.elapsed());
        self.collect(end);
    }

    /// The gateway revokes a generation at once; its device hears of it later.
    pub fn revoke(&mut self, label: u64) {
        let Some(state) = self.generations.all.get_mut(&label) else { return };
        state.revoked = true;
        let device = state.device;
        self.note(format!("Gateway revokes {label}"));
        if let Some((_, prepared)) = self.control.orders.get_mut(&device)
            && *prepared == Some(label)
        {
            *prepared = None;
        }
        self.retire_half(label, End::Gateway);
        self.agenda.add(self.clock.elapsed() + self.settings.control_delay, Happening::Revoked(label));
    }

    pub(crate) fn retire_half(&mut self, label: u64, end: End) {
        let now = self.clock.now();
        let Some(state) = self.generations.all.get_mut(&label) else { return };
        let peer = if end == End::Gateway { peer_of(state.device) } else { PeerId(0) };
        let half = state.half_mut(end);
        let id = half.id;
        if matches!(half.life, Life::Absent | Life::Gone) {
            return;
        }
        half.life = Life::Gone;
        self.node(end).engine.retire(peer, id, now);
        self.model.reassess(&self.generations, self.clock.elapsed());
        self.collect(end);
    }

    /// The gateway's process dies and comes back with what it had persisted.
    pub fn restart_gateway(&mut self) {
        self.note("Gateway restarts".into());
        self.control.restarts += 1;
        for state in self.generations.all.values_mut() {
            state.gateway_half.life = Life::Gone;
        }
        let config = config(self.control.gateway_key, self.random.key(), self.settings.backends[1]);
        self.gateway = Node::new(Engine::new(config, self.clock.now()), self.gateway.address);
        self.add_peers();
        let kept: Vec<_> = self.control.orders.values().filter_map(|(_, label)| *label).collect();
        for label in kept {
            self.prepare_at_gateway(label);
        }
        self.model.flows.iter_mut().for_each(|flow| flow.orphaned = true);
        self.model.reassess(&self.generations, self.clock.elapsed());
    }

    /// The device's address changes; the old one may still reach it.
    pub fn roam(&mut self, device: usize, keep_old: bool) {
        let old = self.devices[device].node.address;
        let new = SocketAddr::new(old.ip(), old.port() + 1);
        self.note(format!("Device({device}) moves to {new}"));
        if !keep_old {
            self.addresses.remove(&old);
        }
        self.addresses.insert(new, End::Device(device));
        self.devices[device].node.address = new;
    }
}
