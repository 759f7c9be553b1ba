//! Generations as the loop knows them.

use crate::{
    api::{
        device::Held,
        profile::{ProfileDocument, TunnelProtocol},
    },
    daemon::{host::Plan, posture::PostureTask, remote::Secret},
    registration::ActivationId,
};
use ipnet::IpNet;
use std::sync::Arc;
use tokio::{
    task::{AbortHandle, JoinHandle},
    time::Instant,
};
use uuid::Uuid;
use vestibule_engine::generation::GenerationId;

/// A task that ends with its owner.
#[derive(Debug)]
pub(super) struct Task(AbortHandle);

impl<T> From<JoinHandle<T>> for Task {
    fn from(task: JoinHandle<T>) -> Self {
        Self(task.abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What one activation is about.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) activation: ActivationId,
    pub(super) registration: Uuid,
    pub(super) identity: String,
    pub(super) organization: String,
    pub(super) bearer: Secret,
}

/// The generation that is being brought up.
#[derive(Debug)]
pub(super) struct BringUp {
    pub(super) target: Target,
    pub(super) stage: Stage,
    /// When the stage has taken too long.
    pub(super) deadline: Option<Instant>,
    pub(super) task: Option<Task>,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// The order is on its way to the gateway.
    Ordering,
    /// The handshake runs.
    Handshaking(Prepared),
    /// Confirmed; the machine decides.
    Ready(Prepared),
    /// Ordered to be the active one.
    Committing { prepared: Prepared, switched: bool, done: bool, acknowledged: bool },
}

/// A generation that the engine knows.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) generation: GenerationId,
    pub(super) swap_seq: u64,
    pub(super) plan: Plan,
    pub(super) mtu: u16,
    /// What the gateway routes, before the profile has its say.
    pub(super) routes: Vec<IpNet>,
    pub(super) profile: Arc<ProfileDocument>,
    /// What it was to travel over.
    pub(super) wished: TunnelProtocol,
    /// What the long poll starts with.
    pub(super) held: Held,
}

/// The generation that carries traffic.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) target: Target,
    pub(super) prepared: Prepared,
    pub(super) since: i64,
    pub(super) policy_version: u64,
    pub(super) _poll: Task,
    /// Reports posture when it is due.
    pub(super) posture: PostureTask,
}

impl BringUp {
    pub(super) fn prepared(&self) -> Option<&Prepared> {
        match &self.stage {
            Stage::Ordering => None,
            Stage::Handshaking(prepared) | Stage::Ready(prepared) | Stage::Committing { prepared, .. } => {
                Some(prepared)
            }
        }
    }
}
