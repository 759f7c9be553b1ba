//! The host's network as the daemon sets it up: addresses and routes of the tunnel, changed only where they differ.

use super::lockdown::Guard;
use ipnet::IpNet;
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use vestibule_platform::netcfg::{Applied, Desired, NetConfig, NetConfigError, PolicyRouting, Routing};

/// What a generation needs of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The device's inner addresses.
    pub(crate) addresses: Vec<IpNet>,
    /// What is routed into the tunnel.
    pub(crate) routes: Vec<IpNet>,
    /// The gateway's own addresses, which never are.
    pub(crate) bypass: Vec<IpAddr>,
}

/// Why the host's network is not as it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum HostError {
    /// The system refused.
    #[error(transparent)]
    NetConfig(#[from] NetConfigError),
    /// The connection was given up meanwhile.
    #[error("setting up the host's network was interrupted")]
    Interrupted,
}

/// The host's network settings.
pub(crate) struct Host {
    interface: String,
    config: Box<dyn NetConfig>,
    guard: Option<Guard>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In force.
    plan: Option<Plan>,
    /// Tried last: after a failure the host may have parts of it.
    tried: Option<Plan>,
    applied: Option<Applied>,
    /// Rises with every [`Host::unroute`]: an `apply` that was ordered before one does nothing after it.
    epoch: u64,
}

impl Host {
    /// Settings for `interface`. Nothing is changed yet.
    #[must_use]
    pub(crate) fn new(interface: &str, config: Box<dyn NetConfig>) -> Self {
        Self { interface: interface.to_owned(), config, guard: None, state: Mutex::default() }
    }

    /// With a lockdown that knows of the gateway what the host does.
    #[must_use]
    pub(super) fn guarded(self, guard: Option<Guard>) -> Self {
        Self { guard, ..self }
    }

    /// What is in force.
    #[must_use]
    pub(crate) fn plan(&self) -> Option<Plan> {
        self.state().plan.clone()
    }

    /// Brings the host to `plan`; nothing is touched when it is there already.
    ///
    /// # Errors
    /// See [`HostError`].
    pub(crate) async fn apply(self: &Arc<Self>, plan: Plan) -> Result<(), HostError> {
        let epoch = {
            let state = self.state();
            if state.plan.as_ref() == Some(&plan) {
                return Ok(());
            }
            state.epoch
        };
        let host = Arc::clone(self);
        let apply = move || {
            let mut state = host.state();
            if state.epoch == epoch { host.change(&mut state, plan) } else { Err(HostError::Interrupted) }
        };
        tokio::task::spawn_blocking(apply).await.map_err(|_| HostError::Interrupted)?
    }

    /// Takes the routes away and leaves the addresses.
    pub(crate) fn unroute(&self) {
        let mut state = self.state();
        state.epoch += 1;
        let Some(plan) = state.tried.clone() else { return };
        if let Err(error) = self.change(&mut state, Plan { routes: Vec::new(), ..plan }) {
            tracing::warn!(%error, "the tunnel's routes were not removed");
        }
    }

    /// Takes everything back.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        let applied = std::mem::take(&mut *state).applied;
        if let Some(Err(error)) = applied.map(Applied::revert) {
            tracing::warn!(%error, "network settings were not taken back");
        }
    }

    fn change(&self, state: &mut State, plan: Plan) -> Result<(), HostError> {
        if state.plan.as_ref() == Some(&plan) {
            return Ok(());
        }
        if let Some(guard) = &self.guard {
            guard.follow(&plan.bypass);
        }
        let desired = self.desired(&plan);
        // Half-done is not done: the next call tries again.
        state.plan = None;
        state.tried = Some(plan.clone());
        match &mut state.applied {
            Some(applied) => applied.change(&desired)?,
            None => state.applied = Some(self.config.apply(&desired)?),
        }
        state.plan = Some(plan);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn desired(&self, plan: &Plan) -> Desired {
        let bypass = plan.bypass.iter().copied().map(IpNet::from).collect();
        Desired {
            interface: self.interface.clone(),
            addresses: plan.addresses.clone(),
            routes: plan.routes.clone(),
            routing: Routing::Policy(PolicyRouting { bypass, ..PolicyRouting::default() }),
            forwarding: false,
        }
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("interface", &self.interface).finish_non_exhaustive()
    }
}
