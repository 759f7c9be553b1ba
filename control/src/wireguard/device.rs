//! The interface as it is configured, and the way from there to the engine.
//!
//! A request is applied to this memory first; what the engine lacks after that goes to the packet worker a few peers at
//! a time, so that packets never wait long.

use super::engine::{Order, Wanted, carry_out};
use super::protocol::{AllowedIp, Changes, PeerChange, PeerView, View, render};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use vestibule_engine::core::{Event, PeerId};
use vestibule_engine::generation::{GenerationId, PrivateKey, PublicKey};
use vestibule_engine::policy::{Action, Policy};
use vestibule_platform::runtime::{Handle, Stopped};
use zeroize::Zeroizing;

/// Why a sound request was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApplyError {
    #[error("cannot listen on UDP port {port}")]
    Port {
        port: u16,
        #[source]
        cause: io::Error,
    },
    #[error("cannot mark packets with {mark:#x}")]
    Mark {
        mark: u32,
        #[source]
        cause: io::Error,
    },
    #[error("no random receiver index could be drawn")]
    Random(#[source] io::Error),
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl ApplyError {
    /// The number that answers it.
    pub(super) fn errno(&self) -> i32 {
        const IO: i32 = 5;
        match self {
            Self::Port { cause, .. } | Self::Mark { cause, .. } | Self::Random(cause) => {
                cause.raw_os_error().unwrap_or(IO)
            }
            Self::Stopped(_) => IO,
        }
    }
}

/// When handshakes were completed, by the peers' engine names. Noted from the engine's events.
#[derive(Debug, Default)]
pub(super) struct Handshakes(Mutex<HashMap<PeerId, (GenerationId, SystemTime)>>);

impl Handshakes {
    /// Notes what an event says.
    pub(super) fn note(&self, event: &Event, at: SystemTime) {
        if let Event::HandshakeCompleted { peer, generation } = event {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(*peer, (*generation, at));
        }
    }

    /// The latest of a peer whose first generation was `first`: a former peer of that name is another one.
    fn of(&self, peer: PeerId, first: Option<GenerationId>) -> Option<SystemTime> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&peer).copied();
        noted.filter(|(generation, _)| first.is_some_and(|first| *generation >= first)).map(|(_, at)| at)
    }
}

#[derive(Debug)]
struct Peer {
    id: PeerId,
    preshared_key: Option<PrivateKey>,
    endpoint: Option<SocketAddr>,
    persistent_keepalive: u16,
    allowed_ips: BTreeSet<IpNet>,
    first_generation: Option<GenerationId>,
    /// What its active generation was made of.
    running: Option<Wanted>,
}

/// What a request has changed of a peer that is left at its end.
#[derive(Clone, Copy, Debug, Default)]
struct Touched {
    addresses: bool,
    endpoint: bool,
}

type Key = [u8; 32];

/// One interface.
#[derive(Debug)]
pub(super) struct Device {
    worker: Handle,
    handshakes: Arc<Handshakes>,
    policy: Arc<Policy>,
    private_key: Option<PrivateKey>,
    listen_port: u16,
    fwmark: u32,
    peers: BTreeMap<Key, Peer>,
    owners: HashMap<IpNet, Key>,
    last_generation: u64,
    last_peer: u64,
    /// Names of peers that are gone.
    free: Vec<PeerId>,
}

impl Device {
    /// An interface without keys and peers, whose socket listens on `listen_port`.
    pub(super) fn new(worker: Handle, handshakes: Arc<Handshakes>, listen_port: u16) -> Self {
        Self {
            worker,
            handshakes,
            policy: Arc::new(Policy::compile(Vec::new(), Action::Allow)),
            private_key: None,
            listen_port,
            fwmark: 0,
            peers: BTreeMap::new(),
            owners: HashMap::new(),
            last_generation: 0,
            last_peer: 0,
            free: Vec::new(),
        }
    }

    /// The answer to `get=1`.
    pub(super) fn get(&self) -> Result<Zeroizing<String>, ApplyError> {
        let ids = self.peers.values().map(|peer| peer.id).collect();
        let statistics = super::engine::statistics(&self.worker, ids)?;
        let peers = self.peers.iter().zip(statistics).map(|((key, peer), statistics)| PeerView {
            public_key: PublicKey(*key),
            preshared_key: peer.preshared_key.as_ref(),
            endpoint: statistics.endpoint.or(peer.endpoint),
            last_handshake: self.handshakes.of(peer.id, peer.first_generation),
            tx_bytes: statistics.tx_bytes,
            rx_bytes: statistics.rx_bytes,
            persistent_keepalive: peer.persistent_keepalive,
            allowed_ips: peer.allowed_ips.iter().copied().collect(),
        });
        Ok(render(&View {
            private_key: self.private_key.as_ref(),
            listen_port: self.listen_port,
            fwmark: self.fwmark,
            peers: peers.collect(),
        }))
    }

    /// Carries out `set=1`. What can fail comes first, so that a refused request changes nothing.
    pub(super) fn set(&mut self, changes: Changes) -> Result<(), ApplyError> {
        self.move_socket(changes.listen_port, changes.fwmark)?;
        let mut change = Change::default();
        if let Some(key) = changes.private_key {
            self.set_private_key(key.into_key(), &mut change)?;
        }
        let own = self.private_key.as_ref().map(|key| key.public().0);
        let mut former = BTreeMap::new();
        if changes.replace_peers {
            former = std::mem::take(&mut self.peers);
            self.owners.clear();
            change.touched.clear();
        }
        for peer in changes.peers.into_iter().filter(|peer| Some(peer.public_key.0) != own) {
            self.change_peer(peer, &mut former, &mut change);
        }
        change.removed.extend(former.into_values().map(|peer| peer.id));
        let orders = self.orders(&change.touched);
        carry_out(&self.worker, &change.removed, orders)?;
        self.free.append(&mut change.removed);
        Ok(())
    }

    fn move_socket(&mut self, port: Option<u16>, mark: Option<u32>) -> Result<(), ApplyError> {
        let former = self.listen_port;
        if let Some(port) = port.filter(|port| *port != former) {
            let moved = self.worker.rebind_to(port)?;
            self.listen_port = moved.map_err(|cause| ApplyError::Port { port, cause })?.port();
        }
        if let Some(mark) = mark.filter(|mark| *mark != self.fwmark) {
            if let Err(cause) = self.worker.set_mark(mark)? {
                if self.listen_port != former
                    && let Ok(back) = self.worker.rebind_to(former)?
                {
                    self.listen_port = back.port();
                }
                return Err(ApplyError::Mark { mark, cause });
            }
            self.fwmark = mark;
        }
        Ok(())
    }

    /// With another key every session begins anew, and a peer that has it, which is ourselves, goes.
    fn set_private_key(&mut self, key: Option<PrivateKey>, change: &mut Change) -> Result<(), ApplyError> {
        if self.private_key.as_ref().map(PrivateKey::expose) == key.as_ref().map(PrivateKey::expose) {
            return Ok(());
        }
        if let Some(key) = &key {
            let own = key.public().0;
            self.remove_peer(&own, change);
            let key = key.clone();
            self.worker.with(move |engine, now| engine.set_private_key(&key, now))?;
        }
        self.private_key = key;
        for key in self.peers.keys() {
            change.touched.entry(*key).or_default();
        }
        Ok(())
    }

    fn change_peer(&mut self, peer: PeerChange, former: &mut BTreeMap<Key, Peer>, change: &mut Change) {
        let key = peer.public_key.0;
        if peer.remove {
            self.remove_peer(&key, change);
            return;
        }
        if !self.peers.contains_key(&key) {
            if peer.update_only {
                return;
            }
            // `replace_peers` with a peer that was there before: its settings begin anew, its session goes on.
            let new = former.remove(&key).map_or_else(|| Peer::new(self.next_peer()), Peer::begun_anew);
            self.peers.insert(key, new);
            change.touched.entry(key).or_default().addresses = true;
        }
        let touched = change.touched.entry(key).or_default();
        let Some(entry) = self.peers.get_mut(&key) else { return };
        if let Some(preshared) = peer.preshared_key {
            entry.preshared_key = preshared.into_key();
        }
        if let Some(endpoint) = peer.endpoint {
            entry.endpoint = Some(endpoint);
            touched.endpoint = true;
        }
        if let Some(seconds) = peer.persistent_keepalive {
            entry.persistent_keepalive = seconds;
        }
        if peer.replace_allowed_ips {
            touched.addresses = true;
            for net in std::mem::take(&mut entry.allowed_ips) {
                self.owners.remove(&net);
            }
        }
        for allowed in peer.allowed_ips {
            self.change_allowed_ip(key, allowed, change);
        }
    }

    fn change_allowed_ip(&mut self, key: Key, allowed: AllowedIp, change: &mut Change) {
        match allowed {
            AllowedIp::Add(net) => {
                let former = self.owners.insert(net, key).filter(|former| *former != key);
                if let Some(former) = former
                    && let Some(peer) = self.peers.get_mut(&former)
                {
                    peer.allowed_ips.remove(&net);
                    change.touched.entry(former).or_default().addresses = true;
                }
                if let Some(peer) = self.peers.get_mut(&key) {
                    peer.allowed_ips.insert(net);
                }
            }
            AllowedIp::Remove(net) => {
                if self.owners.get(&net) == Some(&key) {
                    self.owners.remove(&net);
                }
                if let Some(peer) = self.peers.get_mut(&key) {
                    peer.allowed_ips.remove(&net);
                }
            }
        }
        change.touched.entry(key).or_default().addresses = true;
    }

    fn remove_peer(&mut self, key: &Key, change: &mut Change) {
        change.touched.remove(key);
        if let Some(peer) = self.peers.remove(key) {
            for net in &peer.allowed_ips {
                self.owners.remove(net);
            }
            change.removed.push(peer.id);
        }
    }

    fn next_peer(&mut self) -> PeerId {
        self.free.pop().unwrap_or_else(|| {
            self.last_peer += 1;
            PeerId(self.last_peer)
        })
    }

    /// What the engine lacks.
    fn orders(&mut self, touched: &BTreeMap<Key, Touched>) -> Vec<Order> {
        let mut orders = Vec::with_capacity(touched.len());
        for (key, touched) in touched {
            let Some(peer) = self.peers.get_mut(key) else { continue };
            let mut order = Order::new(peer.id);
            if touched.addresses {
                order.addresses = Some(peer.allowed_ips.iter().copied().collect());
            }
            if touched.endpoint {
                order.endpoint = peer.endpoint;
            }
            let wanted = self.private_key.as_ref().map(|private_key| Wanted {
                private_key: private_key.clone(),
                preshared_key: peer.preshared_key.clone(),
                persistent_keepalive: peer.persistent_keepalive,
            });
            if wanted != peer.running {
                order.retire = wanted.is_none();
                if let Some(wanted) = &wanted {
                    self.last_generation += 1;
                    let id = GenerationId(self.last_generation);
                    peer.first_generation.get_or_insert(id);
                    order.generation = Some(wanted.generation(id, PublicKey(*key), peer.endpoint, &self.policy));
                    // What the peer told of itself since is worth more than what we were told once.
                    order.keep_endpoint = peer.running.is_some() && !touched.endpoint;
                    let former = peer.running.as_ref();
                    order.fresh = former.is_none_or(|former| !former.has_key_of(wanted));
                }
                peer.running = wanted;
            }
            orders.push(order);
        }
        orders
    }
}

/// What a request changes, collected.
#[derive(Debug, Default)]
struct Change {
    removed: Vec<PeerId>,
    touched: BTreeMap<Key, Touched>,
}

impl Peer {
    fn new(id: PeerId) -> Self {
        Self {
            id,
            preshared_key: None,
            endpoint: None,
            persistent_keepalive: 0,
            allowed_ips: BTreeSet::new(),
            first_generation: None,
            running: None,
        }
    }

    fn begun_anew(self) -> Self {
        Self { first_generation: self.first_generation, running: self.running, ..Self::new(self.id) }
    }
}
