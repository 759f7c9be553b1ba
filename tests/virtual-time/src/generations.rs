//! What the simulation knows about every generation, at both ends.

use crate::policy::PolicySpec;
use std::{collections::BTreeMap, time::Duration};
use vestibule_engine::generation::GenerationId;

/// An end of the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The gateway.
    Gateway,
    /// A device by number.
    Device(usize),
}

/// Where a generation stands at one end, as its engine has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Not known there.
    Absent,
    /// `prepare` was accepted.
    Preparing,
    /// `Event::Ready` was seen.
    Ready,
    /// Everything leaves under it.
    Active,
    /// It opens what is in flight.
    Draining(Duration),
    /// Retired, aborted or lost in a restart.
    Gone,
}

impl Life {
    /// May open data.
    #[must_use]
    pub fn opens(self) -> bool {
        matches!(self, Self::Active | Self::Draining(_))
    }

    /// Has not been committed yet.
    #[must_use]
    pub fn waits(self) -> bool {
        matches!(self, Self::Preparing | Self::Ready)
    }
}

/// One end's half of a generation.
#[derive(Clone, Debug)]
pub struct Half {
    /// The engine's name for it.
    pub id: GenerationId,
    /// The upper 24 bits of its receiver indices.
    pub index: u32,
    /// Where it stands.
    pub life: Life,
    /// The rules in force there.
    pub policy: PolicySpec,
    /// Since when these rules are in force under this life.
    pub since: Duration,
}

/// A generation: both halves.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Its number in the whole simulation, also its `swap_seq`.
    pub label: u64,
    /// Whose.
    pub device: usize,
    /// Index into the identities.
    pub identity: usize,
    /// The device's fresh private key.
    pub private_key: [u8; 32],
    /// The device's half.
    pub device_half: Half,
    /// The gateway's half (renewed by a restart).
    pub gateway_half: Half,
    /// The gateway has said that it committed.
    pub acknowledged: bool,
    /// The device's engine gave it up.
    pub failed: bool,
    /// Commit as soon as it is ready.
    pub automatic: bool,
    /// Revoked: must never carry anything again at the gateway.
    pub revoked: bool,
}

impl Generation {
    /// The half at `end`.
    #[must_use]
    pub fn half(&self, end: End) -> &Half {
        if end == End::Gateway { &self.gateway_half } else { &self.device_half }
    }

    /// The half at `end`, to change it.
    pub fn half_mut(&mut self, end: End) -> &mut Half {
        if end == End::Gateway { &mut self.gateway_half } else { &mut self.device_half }
    }
}

/// All generations, and who owns which receiver index.
#[derive(Debug, Default)]
pub struct Generations {
    /// By label.
    pub all: BTreeMap<u64, Generation>,
    owners: BTreeMap<u32, (End, u64)>,
    names: BTreeMap<(End, GenerationId), u64>,
}

impl Generations {
    /// True when no generation has the index yet.
    #[must_use]
    pub fn is_free(&self, index: u32) -> bool {
        !self.owners.contains_key(&index)
    }

    /// Remembers who owns an index and a name.
    pub fn own(&mut self, end: End, label: u64, index: u32, id: GenerationId) {
        self.owners.insert(index, (end, label));
        self.names.insert((end, id), label);
    }

    /// The owner of the session that a datagram names.
    #[must_use]
    pub fn owner(&self, session_index: u32) -> Option<(End, u64)> {
        self.owners.get(&(session_index >> 8)).copied()
    }

    /// The label of an engine's generation.
    #[must_use]
    pub fn label(&self, end: End, id: GenerationId) -> Option<u64> {
        self.names.get(&(end, id)).copied()
    }

    /// The generations of one device.
    pub fn of(&self, device: usize) -> impl Iterator<Item = &Generation> {
        self.all.values().filter(move |generation| generation.device == device)
    }

    /// The active generation of `device` as `end` has it.
    #[must_use]
    pub fn active(&self, end: End, device: usize) -> Option<&Generation> {
        self.of(device).find(|generation| generation.half(end).life == Life::Active)
    }

    /// True when every generation in force for the device, at either end, allows the flow.
    #[must_use]
    pub fn all_allow(&self, device: usize, destination: std::net::IpAddr, port: u16, protocol: u8) -> bool {
        self.of(device).all(|generation| {
            [&generation.device_half, &generation.gateway_half]
                .iter()
                .all(|half| !half.life.opens() || half.policy.allows(destination, port, protocol))
        })
    }
}
