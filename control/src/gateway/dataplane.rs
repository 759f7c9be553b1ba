//! The engine, as the API sees it: which generation carries whom, and the orders that change it.

use super::store::Millis;
use crate::api::profile::TunnelProtocol;
use crate::crypto::{RandomError, random};
use crate::rules::Subject;
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::oneshot;
use uuid::Uuid;
use vestibule_engine::core::{Counters, Engine, PeerId, PeerKind, PrepareError};
use vestibule_engine::generation::{GenerationConfig, GenerationId, MasqueConfig, MasqueEnd, PrivateKey, PublicKey};
use vestibule_engine::policy::Policy;
use vestibule_platform::carrier::Request;
use vestibule_platform::runtime::{Handle, StopReason, Stopped};

/// Peer ids above this are plain peers, in the order of the configuration.
const FIRST_PLAIN: u64 = 1 << 63;
/// How often another receiver index is drawn when one is taken (out of 16 million).
const INDEX_DRAWS: usize = 16;

/// Why the engine did not follow.
#[derive(Debug, thiserror::Error)]
pub(super) enum DataPlaneError {
    #[error("the packet worker does not run")]
    Stopped(#[from] Stopped),
    #[error("the engine refused the generation")]
    Refused(#[from] PrepareError),
    #[error("no receiver index could be drawn")]
    Random(#[from] RandomError),
}

/// Where a generation is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stage {
    Preparing,
    Active,
    Draining,
}

/// A generation that the engine holds.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) tunnel: Tunnel,
    pub(super) stage: Stage,
    pub(super) since: Millis,
    /// What the engine was given last.
    policy: Arc<Policy>,
}

/// Who a generation is for.
#[derive(Clone, Debug)]
pub(super) struct Tunnel {
    pub(super) peer: PeerId,
    /// `None` for a plain peer.
    pub(super) owner: Option<Owner>,
    /// Whom its packets are judged for.
    pub(super) subject: Subject,
    pub(super) swap_seq: u64,
    /// Over MASQUE it names the client's public key.
    pub(super) tunnel_key: [u8; 32],
    pub(super) protocol: TunnelProtocol,
    pub(super) addresses: Vec<IpNet>,
    pub(super) endpoint: Option<SocketAddr>,
    pub(super) last_handshake: [u8; 12],
}

/// The device and registration of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) device_id: String,
    pub(super) registration: Uuid,
}

/// The way to the worker that owns the engine.
pub(super) struct DataPlane {
    worker: Handle,
    private_key: PrivateKey,
    counters: Arc<Counters>,
    live: Mutex<BTreeMap<GenerationId, Live>>,
    last: AtomicU64,
}

/// The engine's name for a plain peer.
pub(super) fn plain_peer(position: usize) -> PeerId {
    PeerId(FIRST_PLAIN + position as u64)
}

impl DataPlane {
    pub(super) fn new(worker: Handle, private_key: PrivateKey, counters: Arc<Counters>) -> Self {
        Self { worker, private_key, counters, live: Mutex::default(), last: AtomicU64::new(0) }
    }

    /// The key at which devices knock.
    pub(super) fn public_key(&self) -> [u8; 32] {
        self.private_key.public().0
    }

    /// Counters of the engine.
    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Hands over a device's request for a tunnel over HTTP/2.
    pub(super) fn request(&self, request: Request) -> Result<(), Stopped> {
        self.worker.request(request)
    }

    /// Why the worker stopped, if it did.
    pub(super) fn outcome(&self) -> Option<StopReason> {
        self.worker.outcome()
    }

    /// Stops the worker and waits for it.
    pub(super) fn stop(&self) {
        self.worker.stop();
    }

    /// The generations that the engine holds, oldest first.
    pub(super) fn live(&self) -> Vec<Live> {
        self.table().values().cloned().collect()
    }

    /// One of them.
    pub(super) fn generation(&self, id: GenerationId) -> Option<Live> {
        self.table().get(&id).cloned()
    }

    /// Makes the engine await a handshake. When this returns the device may begin it.
    pub(super) async fn prepare(
        &self,
        tunnel: Tunnel,
        policy: &Arc<Policy>,
        now: Millis,
    ) -> Result<(), DataPlaneError> {
        let id = GenerationId(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        let live = Live { tunnel: tunnel.clone(), stage: Stage::Preparing, since: now, policy: Arc::clone(policy) };
        self.table().insert(id, live);
        let mut outcome = Err(DataPlaneError::Refused(PrepareError::IndexInUse(0)));
        for _ in 0..INDEX_DRAWS {
            outcome = self.try_prepare(id, &tunnel, policy).await;
            if !matches!(outcome, Err(DataPlaneError::Refused(PrepareError::IndexInUse(_)))) {
                break;
            }
        }
        if outcome.is_err() {
            self.table().remove(&id);
        }
        outcome
    }

    async fn try_prepare(&self, id: GenerationId, tunnel: &Tunnel, policy: &Arc<Policy>) -> Result<(), DataPlaneError> {
        let (peer, addresses) = (tunnel.peer, tunnel.addresses.clone());
        let kind = if tunnel.owner.is_some() { PeerKind::Device } else { PeerKind::Plain };
        if tunnel.protocol == TunnelProtocol::Masque {
            let config = MasqueConfig {
                id,
                swap_seq: tunnel.swap_seq,
                identity: tunnel.subject.email().into(),
                policy: Arc::clone(policy),
                end: MasqueEnd::Gateway { client_key: tunnel.tunnel_key },
            };
            self.with(move |engine, now| {
                engine.set_peer(peer, kind, addresses);
                engine.prepare_masque(peer, config, now)
            })
            .await??;
            return Ok(());
        }
        let [a, b, c] = random::<3>()?;
        let config = GenerationConfig {
            id,
            swap_seq: tunnel.swap_seq,
            identity: tunnel.subject.email().into(),
            private_key: self.private_key.clone(),
            peer_public_key: PublicKey(tunnel.tunnel_key),
            preshared_key: None,
            endpoint: tunnel.endpoint,
            persistent_keepalive: None,
            policy: Arc::clone(policy),
            last_handshake: tunnel.last_handshake,
            index: u32::from_be_bytes([0, a, b, c]),
        };
        self.with(move |engine, now| {
            engine.set_peer(peer, kind, addresses);
            engine.prepare(peer, config, now)
        })
        .await??;
        Ok(())
    }

    /// What a peer's traffic goes by, by the engine's own word: a commit whose report is still on its way counts.
    pub(super) async fn active(&self, peer: PeerId) -> Result<Option<Tunnel>, DataPlaneError> {
        let active = self.with(move |engine, _| engine.active(peer)).await?;
        Ok(active.and_then(|id| self.generation(id)).map(|live| live.tunnel))
    }

    /// Ends every generation for which `of` holds, at once.
    pub(super) async fn retire(&self, of: impl Fn(&Tunnel) -> bool) -> Result<(), DataPlaneError> {
        let ended: Vec<_> = self
            .table()
            .iter()
            .filter(|(_, live)| of(&live.tunnel))
            .map(|(id, live)| (live.tunnel.peer, *id))
            .collect();
        if ended.is_empty() {
            return Ok(());
        }
        self.with(move |engine, now| ended.into_iter().for_each(|(peer, id)| engine.retire(peer, id, now))).await?;
        Ok(())
    }

    /// Gives every active or preparing generation for which `of` holds the rules that `rules` says for its subject. Where
    /// they are those that it has, nothing is judged again.
    pub(super) async fn publish(
        &self,
        of: impl Fn(&Tunnel) -> bool,
        rules: impl Fn(&Subject) -> Arc<Policy>,
    ) -> Result<(), DataPlaneError> {
        let mut concerned = Vec::new();
        for (id, live) in self.table().iter().filter(|(_, live)| live.stage != Stage::Draining) {
            if of(&live.tunnel) {
                concerned.push((live.tunnel.peer, *id, live.tunnel.subject.clone()));
            }
        }
        if concerned.is_empty() {
            return Ok(());
        }
        // Rules compile for as long as they take: commits and new generations are noted meanwhile.
        let compiled = concerned.into_iter().map(|(peer, id, subject)| (peer, id, rules(&subject)));
        let mut news: Vec<_> = compiled.collect();
        {
            let mut table = self.table();
            news.retain(|(_, id, policy)| {
                let Some(live) = table.get_mut(id) else { return false };
                !Arc::ptr_eq(policy, &std::mem::replace(&mut live.policy, Arc::clone(policy)))
            });
        }
        if news.is_empty() {
            return Ok(());
        }
        // The former rules come back: this thread may take its time to drop them, the packets' may not.
        self.with(move |engine, now| {
            let publish = |(peer, id, policy)| engine.publish(peer, id, policy, now);
            news.into_iter().map(publish).collect::<Vec<_>>()
        })
        .await?;
        Ok(())
    }

    /// The registrations of a device that generations carry.
    pub(super) fn registrations_of(&self, device_id: &str) -> BTreeSet<Uuid> {
        let table = self.table();
        let owners = table.values().filter_map(|live| live.tunnel.owner.as_ref());
        owners.filter(|owner| owner.device_id == device_id).map(|owner| owner.registration).collect()
    }

    /// Notes what is known of a registration from now on; [`DataPlane::publish`] makes it count.
    pub(super) fn set_subject(&self, registration: &Uuid, subject: &Subject) {
        for live in self.table().values_mut() {
            if live.tunnel.owner.as_ref().is_some_and(|owner| owner.registration == *registration) {
                live.tunnel.subject = subject.clone();
            }
        }
    }

    /// Notes a commit.
    pub(super) fn note_committed(&self, id: GenerationId, previous: Option<GenerationId>, now: Millis) {
        let mut table = self.table();
        if let Some(live) = table.get_mut(&id) {
            (live.stage, live.since) = (Stage::Active, now);
        }
        if let Some(live) = previous.and_then(|previous| table.get_mut(&previous)) {
            (live.stage, live.since) = (Stage::Draining, now);
        }
    }

    /// Notes the end of a generation.
    pub(super) fn note_ended(&self, id: GenerationId) {
        self.table().remove(&id);
    }

    async fn with<R: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Engine, Instant) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.worker.post(move |engine, now| {
            // Nobody listens when the request was given up; the step stands all the same.
            let _ = answer.send(f(engine, now));
        })?;
        answered.await.map_err(|_| Stopped { reason: self.worker.outcome().unwrap_or(StopReason::Asked) })
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<GenerationId, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
