//! Stand-ins for the control plane: orders to swap, and what the gateway persists.

use crate::{
    generations::{End, Generation, Half, Life},
    network::Flight,
    policy::PolicySpec,
    sim::{Sim, peer_of},
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};
use vestibule_engine::{
    core::{CommitError, PeerId},
    generation::{DRAIN_MAX, GenerationConfig, GenerationId, PrivateKey, PublicKey},
};

/// Something due in the simulation.
#[derive(Debug)]
pub enum Happening {
    /// A datagram reaches its destination.
    Arrives(Flight),
    /// The gateway gets an order to swap.
    Order(u64, Fate),
    /// The device gets the gateway's answer with its copy of the rules.
    Answer(u64, PolicySpec),
    /// The device commits.
    Commit(u64),
    /// The device stops waiting for an acknowledgement before its next order.
    Impatient(usize),
    /// The device gets new rules for a generation.
    Rules(u64, PolicySpec),
    /// The device hears that a generation was revoked.
    Revoked(u64),
}

/// What becomes of an order on the control channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Order and answer arrive.
    Arrives,
    /// The order is lost.
    OrderLost,
    /// The gateway prepares, its answer is lost.
    AnswerLost,
}

/// State of the control plane.
#[derive(Debug)]
pub struct Control {
    pub(crate) gateway_key: [u8; 32],
    /// The gateway's rules of each identity.
    pub identities: Vec<PolicySpec>,
    /// Persisted: the greatest order of each device, and the label to prepare after a restart.
    pub orders: BTreeMap<usize, (u64, Option<u64>)>,
    /// Persisted: greatest handshake timestamp of each static key.
    pub timestamps: BTreeMap<[u8; 32], [u8; 12]>,
    /// Greatest committed order of each device at each end.
    pub committed: BTreeMap<(End, usize), u64>,
    /// Swaps that the gateway recorded.
    pub audit: u64,
    /// Restarts of the gateway so far.
    pub restarts: u64,
    /// Commits that had to wait for a place to drain.
    pub full: u64,
    waiting: Vec<VecDeque<(u64, Fate)>>,
    patience: Vec<Duration>,
    next_label: u64,
}

impl Control {
    /// Before anything happened.
    #[must_use]
    pub fn new(gateway_key: [u8; 32], identities: Vec<PolicySpec>, devices: usize) -> Self {
        Self {
            gateway_key,
            identities,
            orders: BTreeMap::new(),
            timestamps: BTreeMap::new(),
            committed: BTreeMap::new(),
            audit: 0,
            restarts: 0,
            full: 0,
            waiting: vec![VecDeque::new(); devices],
            patience: vec![Duration::ZERO; devices],
            next_label: 0,
        }
    }

    /// The gateway's public key.
    #[must_use]
    pub fn gateway_public(&self) -> PublicKey {
        PrivateKey::new(self.gateway_key).public()
    }
}

impl Sim {
    /// A device orders a swap to an identity; the label of the new generation.
    pub fn order(&mut self, device: usize, identity: usize) -> u64 {
        self.order_with(device, identity, Fate::Arrives, true)
    }

    /// The same with a fate for the order, and with or without committing once ready.
    ///
    /// A device keeps two rules here, without which an order that overtakes a marker would cost packets: a newer
    /// order aborts an uncommitted generation, and no order leaves while a commit is unacknowledged (for 5 s at most).
    pub fn order_with(&mut self, device: usize, identity: usize, fate: Fate, automatic: bool) -> u64 {
        self.control.next_label += 1;
        let label = self.control.next_label;
        let policy = self.control.identities[identity].clone();
        let half = |id, index| Half { id, index, life: Life::Absent, policy: policy.clone(), since: Duration::ZERO };
        let index = self.draw_index();
        let id = GenerationId(label);
        self.generations.all.insert(
            label,
            Generation {
                label,
                device,
                identity,
                private_key: self.random.key(),
                device_half: half(id, index),
                gateway_half: half(GenerationId(0), 0),
                acknowledged: false,
                failed: false,
                automatic,
                revoked: false,
            },
        );
        self.generations.own(End::Device(device), label, index, id);
        self.abort_waiting(device);
        self.control.waiting[device].push_back((label, fate));
        self.control.patience[device] = self.clock.elapsed() + Duration::from_secs(5);
        self.agenda.add(self.control.patience[device], Happening::Impatient(device));
        self.send_orders(device);
        label
    }

    /// The device gives up what it has not committed.
    pub fn abort_waiting(&mut self, device: usize) {
        let waiting: Vec<_> = self
            .generations
            .of(device)
            .filter(|state| state.device_half.life.waits())
            .map(|state| state.label)
            .collect();
        for label in waiting {
            self.note(format!("Device({device}) aborts {label}"));
            self.devices[device].node.engine.abort(PeerId(0), GenerationId(label));
            self.set_life(label, End::Device(device), Life::Gone);
            self.collect(End::Device(device));
        }
    }

    /// Orders leave unless a commit is unacknowledged; only the newest matters.
    pub(crate) fn send_orders(&mut self, device: usize) {
        let unacknowledged = self
            .generations
            .of(device)
            .any(|state| state.device_half.life == Life::Active && !state.acknowledged && !state.failed);
        if device >= self.devices.len() || unacknowledged && self.clock.elapsed() < self.control.patience[device] {
            return;
        }
        let at = self.clock.elapsed() + self.settings.control_delay;
        if let Some((label, fate)) = std::mem::take(&mut self.control.waiting[device]).pop_back()
            && fate != Fate::OrderLost
        {
            self.note(format!("Device({device}) orders {label} ({fate:?})"));
            self.agenda.add(at, Happening::Order(label, fate));
        }
    }

    /// Something is due.
    pub(crate) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives(flight) => self.arrive(flight),
            Happening::Order(label, fate) => self.order_arrives(label, fate),
            Happening::Answer(label, policy) => self.answer_arrives(label, policy),
            Happening::Commit(label) => {
                if let Err(CommitError::DrainingFull { retry_after }) = self.commit(label) {
                    self.control.full += 1;
                    if retry_after > DRAIN_MAX {
                        self.complaints.push(format!("commit says to retry in {retry_after:?}"));
                    }
                    let again = self.clock.elapsed() + retry_after.max(Duration::from_millis(1));
                    self.agenda.add(again, Happening::Commit(label));
                }
            }
            Happening::Impatient(device) => self.send_orders(device),
            Happening::Rules(label, policy) => {
                let Some(state) = self.generations.all.get(&label) else { return };
                self.publish_half(label, End::Device(state.device), policy);
            }
            Happening::Revoked(label) => {
                let Some(state) = self.generations.all.get(&label) else { return };
                self.retire_half(label, End::Device(state.device));
            }
        }
    }

    fn order_arrives(&mut self, label: u64, fate: Fate) {
        let Some(state) = self.generations.all.get(&label).cloned() else { return };
        let highest = self.control.orders.get(&state.device).map_or(0, |(highest, _)| *highest);
        if label <= highest {
            return;
        }
        self.control.orders.insert(state.device, (label, Some(label)));
        self.prepare_at_gateway(label);
        if fate == Fate::Arrives {
            let policy = self.control.identities[state.identity].clone();
            self.agenda.add(self.clock.elapsed() + self.settings.control_delay, Happening::Answer(label, policy));
        }
    }

    pub(crate) fn prepare_at_gateway(&mut self, label: u64) {
        let index = self.draw_index();
        let id = GenerationId(self.control.restarts << 32 | label);
        let Some(state) = self.generations.all.get(&label).cloned() else { return };
        let policy = self.control.identities[state.identity].clone();
        let peer_public_key = PrivateKey::new(state.private_key).public();
        let config = GenerationConfig {
            id,
            swap_seq: label,
            identity: format!("identity-{}", state.identity).into(),
            private_key: PrivateKey::new(self.control.gateway_key),
            peer_public_key,
            preshared_key: None,
            endpoint: None,
            persistent_keepalive: None,
            policy: policy.compile(),
            last_handshake: self.control.timestamps.get(&peer_public_key.0).copied().unwrap_or_default(),
            index,
        };
        self.supersede(End::Gateway, state.device);
        self.generations.own(End::Gateway, label, index, id);
        if let Some(state) = self.generations.all.get_mut(&label) {
            state.gateway_half = Half { id, index, life: Life::Preparing, policy, since: self.clock.elapsed() };
        }
        self.note(format!("Gateway prepares {label} of device {}", state.device));
        let now = self.clock.now();
        if let Err(error) = self.gateway.engine.prepare(peer_of(state.device), config, now) {
            self.complaints.push(format!("the gateway refuses to prepare {label}: {error}"));
        }
        self.collect(End::Gateway);
    }

    fn answer_arrives(&mut self, label: u64, policy: PolicySpec) {
        let Some(state) = self.generations.all.get(&label).cloned() else { return };
        let device = state.device;
        let stale = self.generations.of(device).any(|other| other.label > label) || state.revoked;
        if stale {
            return;
        }
        let config = GenerationConfig {
            id: state.device_half.id,
            swap_seq: label,
            identity: format!("identity-{}", state.identity).into(),
            private_key: PrivateKey::new(state.private_key),
            peer_public_key: self.control.gateway_public(),
            preshared_key: None,
            endpoint: Some(self.gateway.address),
            persistent_keepalive: self.settings.persistent_keepalive,
            policy: policy.compile(),
            last_handshake: [0; 12],
            index: state.device_half.index,
        };
        self.supersede(End::Device(device), device);
        if let Some(state) = self.generations.all.get_mut(&label) {
            state.device_half.life = Life::Preparing;
            state.device_half.policy = policy;
        }
        let now = self.clock.now();
        if let Err(error) = self.devices[device].node.engine.prepare(PeerId(0), config, now) {
            self.complaints.push(format!("device {device} refuses to prepare {label}: {error}"));
        }
        self.collect(End::Device(device));
    }

    /// The device commits a generation.
    ///
    /// # Errors
    /// What the engine says, other than that it is too early by the simulation's own account.
    pub fn commit(&mut self, label: u64) -> Result<(), CommitError> {
        let Some(state) = self.generations.all.get(&label).cloned() else { return Ok(()) };
        if !state.device_half.life.waits() {
            return Ok(());
        }
        let end = End::Device(state.device);
        let before = self.active_label_map(end);
        let now = self.clock.now();
        let result = self.devices[state.device].node.engine.commit(PeerId(0), state.device_half.id, now);
        self.note(format!("{end:?} commits {label}: {result:?}"));
        let output = self.node(end).collect();
        self.settle(end, &before, &[], output);
        let life = self.generations.all.get(&label).map(|state| state.device_half.life);
        if result.is_ok() && life != Some(Life::Active) {
            self.complaints.push(format!("{end:?}: commit of {label} emitted no event"));
        }
        result
    }

    /// Drains an end after a call that is not part of the walk.
    pub(crate) fn collect(&mut self, end: End) {
        let before = self.active_label_map(end);
        let output = self.node(end).collect();
        self.settle(end, &before, &[], output);
    }

    fn supersede(&mut self, end: End, device: usize) {
        for state in self.generations.all.values_mut().filter(|state| state.device == device) {
            let half = state.half_mut(end);
            if half.life.waits() {
                half.life = Life::Gone;
            }
        }
    }

    fn set_life(&mut self, label: u64, end: End, life: Life) {
        if let Some(state) = self.generations.all.get_mut(&label) {
            state.half_mut(end).life = life;
        }
    }

    fn draw_index(&mut self) -> u32 {
        loop {
            let index = u32::try_from(self.random.below(1 << 24)).unwrap_or(0);
            if self.generations.is_free(index) {
                return index;
            }
        }
    }
}
