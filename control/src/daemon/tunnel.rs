//! The packet worker as the daemon steers it: one peer, the gateway, and its generations.

use super::order::{Generation, WIREGUARD_PORTS, elsewhere};
use crate::crypto::{RandomError, random};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::oneshot, time::Instant};
use vestibule_engine::{
    core::{CommitError, Counters, DropReason, Engine, PeerId, PeerKind, PrepareError},
    generation::{GenerationConfig, GenerationId},
    policy::Policy,
};
use vestibule_platform::runtime::{Handle, Stopped};

/// The gateway, the one peer of a device's engine.
pub(crate) const GATEWAY: PeerId = PeerId(1);
/// How long a commit may wait for a place to drain. The longest drain takes 10 s.
const DRAIN_PATIENCE: Duration = Duration::from_secs(12);
/// Draws of a receiver index before giving up; with 6 generations one collides once in 2.8 million times.
const INDEX_DRAWS: usize = 8;

/// Why the worker did not do as told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TunnelError {
    /// It has stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The engine refused to prepare.
    #[error("the generation could not be prepared")]
    Prepare(#[from] PrepareError),
    /// The engine refused to commit.
    #[error("the generation could not be committed")]
    Commit(#[from] CommitError),
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Steers the worker.
#[derive(Clone, Debug)]
pub(crate) struct Tunnel {
    handle: Handle,
    counters: Arc<Counters>,
}

impl Tunnel {
    /// Takes a worker's handle and makes the gateway its engine's peer.
    ///
    /// # Errors
    /// The worker has stopped.
    pub(crate) fn new(handle: Handle) -> Result<Self, Stopped> {
        let counters = handle.with(|engine, _| {
            let everything = ["0.0.0.0/0", "::/0"].iter().filter_map(|net| net.parse().ok()).collect();
            engine.set_peer(GATEWAY, PeerKind::Gateway, everything);
            engine.counters()
        })?;
        Ok(Self { handle, counters })
    }

    /// Begins the handshake of a generation. Its receiver index is drawn here. Waits for the worker's current batch.
    ///
    /// # Errors
    /// See [`TunnelError`].
    pub(crate) fn prepare(&self, generation: Generation) -> Result<(), TunnelError> {
        let config = match generation {
            Generation::WireGuard(config) => config,
            Generation::Masque(config) => {
                return Ok(self.handle.with(move |engine, now| engine.prepare_masque(GATEWAY, config, now))??);
            }
        };
        let mut draws = 0;
        loop {
            let [_, index @ ..] = random::<4>()?;
            let config = GenerationConfig {
                index: index.iter().fold(0, |all, byte| all << 8 | u32::from(*byte)),
                ..config.clone()
            };
            let (id, further) =
                (config.id, config.endpoint.map(|at| elsewhere(at, &WIREGUARD_PORTS)).unwrap_or_default());
            let prepare = move |engine: &mut Engine, now| -> Result<(), PrepareError> {
                engine.prepare(GATEWAY, config, now)?;
                engine.set_further_endpoints(GATEWAY, id, further);
                Ok(())
            };
            match self.handle.with(prepare)? {
                Err(PrepareError::IndexInUse(_)) if draws < INDEX_DRAWS => draws += 1,
                result => return Ok(result?),
            }
        }
    }

    /// Makes a ready generation the active one, waiting for a place to drain if need be.
    ///
    /// # Errors
    /// See [`TunnelError`].
    pub(crate) async fn commit(&self, generation: GenerationId) -> Result<(), TunnelError> {
        let give_up = Instant::now() + DRAIN_PATIENCE;
        loop {
            match self.ask(move |engine, now| engine.commit(GATEWAY, generation, now)).await? {
                Err(CommitError::DrainingFull { retry_after }) if Instant::now() + retry_after < give_up => {
                    tokio::time::sleep(retry_after.max(Duration::from_millis(1))).await;
                }
                result => return Ok(result?),
            }
        }
    }

    /// Ends a generation at once.
    pub(crate) fn retire(&self, generation: GenerationId) {
        self.tell(move |engine, now| engine.retire(GATEWAY, generation, now));
    }

    /// New rules for a generation.
    pub(crate) fn publish(&self, generation: GenerationId, policy: Arc<Policy>) {
        let (former, returned) = oneshot::channel();
        self.tell(move |engine, now| {
            let _ = former.send(engine.publish(GATEWAY, generation, policy, now));
        });
        // The former rules are dropped here: this thread may take its time, the packets' may not.
        tokio::spawn(returned);
    }

    /// Handshakes the active generation again.
    pub(crate) fn rekey(&self) {
        self.tell(|engine, now| engine.rekey(GATEWAY, now));
    }

    /// Stops the worker.
    pub(crate) fn stop(&self) {
        self.handle.stop();
    }

    /// The counters that are not zero, by name.
    #[must_use]
    pub(crate) fn counters(&self) -> BTreeMap<String, u64> {
        let engine = &self.counters;
        let named = [
            ("engine.frames", &engine.frames),
            ("engine.sealed", &engine.sealed),
            ("engine.datagrams", &engine.datagrams),
            ("engine.opened", &engine.opened),
            ("engine.delivered", &engine.delivered),
            ("engine.flows_allowed", &engine.flows_allowed),
            ("engine.flows_denied", &engine.flows_denied),
            ("engine.flows_closed", &engine.flows_closed),
            ("engine.answers", &engine.answers),
            ("engine.fragmented", &engine.fragmented),
            ("engine.handshakes_sent", &engine.handshakes_sent),
            ("engine.handshakes", &engine.handshakes),
            ("engine.commits", &engine.commits),
            ("engine.retired", &engine.retired),
            ("engine.control_sent", &engine.control_sent),
            ("engine.holds_expired", &engine.holds_expired),
            ("engine.connections_failed", &engine.connections_failed),
            ("engine.peers_malformed", &engine.peers_malformed),
            ("engine.peers_excessive", &engine.peers_excessive),
        ];
        let stages = self.handle.counters().snapshot();
        let mut all: BTreeMap<String, u64> =
            named.iter().map(|(name, counter)| ((*name).to_owned(), counter.get())).collect();
        all.extend(DropReason::ALL.iter().map(|reason| (format!("drop.{}", reason.name()), engine.drops(*reason))));
        all.extend(stages.iter().map(|(name, value)| (format!("worker.{name}"), value)));
        for generation in engine.generations() {
            let id = generation.id.0;
            all.insert(format!("generation.{id}.sealed"), generation.sealed.get());
            all.insert(format!("generation.{id}.opened"), generation.opened.get());
        }
        all.retain(|_, value| *value != 0);
        all
    }

    /// Runs `f` between two batches, without blocking this thread.
    async fn ask<R: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Engine, std::time::Instant) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.handle.post(move |engine, now| {
            let _ = answer.send(f(engine, now));
        })?;
        match answered.await {
            Ok(value) => Ok(value),
            // The closure was dropped unrun: this call now says why the worker stopped.
            Err(_) => Err(self
                .handle
                .post(|_, _| ())
                .err()
                .unwrap_or(Stopped { reason: vestibule_platform::runtime::StopReason::Asked })),
        }
    }

    fn tell(&self, f: impl FnOnce(&mut Engine, std::time::Instant) + Send + 'static) {
        // A worker that has stopped holds no generation, and its end is reported by the closing of its events.
        let _ = self.handle.post(f);
    }
}
