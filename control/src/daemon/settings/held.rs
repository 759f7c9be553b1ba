//! The profiles that the device holds, also across restarts: a locked switch is locked before anything is connected.

use super::super::store::Store;
use crate::api::profile::{ProfileDocument, TunnelProtocol};
use crate::causes::chain;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use uuid::Uuid;

/// What is on disk.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredProfiles {
    held: BTreeMap<Uuid, Held>,
    in_force: Option<Held>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Held {
    digest: String,
    document: Arc<ProfileDocument>,
}

/// Profiles by registration, of which a device has a few.
#[derive(Debug, Default)]
pub(crate) struct HeldProfiles {
    stored: Mutex<StoredProfiles>,
    /// One write at a time, the newest last.
    writing: Mutex<()>,
}

impl HeldProfiles {
    /// Those of the last process.
    pub(crate) fn open(store: &Store) -> Self {
        let stored = store.profiles().unwrap_or_else(|error| {
            // The gateway gives them again.
            tracing::warn!("{}", chain(&error));
            None
        });
        Self { stored: Mutex::new(stored.unwrap_or_default()), writing: Mutex::default() }
    }

    /// What to tell the gateway in an order.
    pub(crate) fn digest(&self, registration: Uuid) -> Option<String> {
        self.stored().held.get(&registration).map(|held| held.digest.clone())
    }

    /// The tunnel protocol of the profile that is held for a registration.
    pub(crate) fn protocol(&self, registration: Uuid) -> Option<TunnelProtocol> {
        self.stored().held.get(&registration).map(|held| held.document.settings.tunnel_protocol)
    }

    /// The profile of the gateway's answer: the one it sent, or the one held under `digest`.
    pub(crate) fn take(
        &self,
        registration: Uuid,
        document: Option<ProfileDocument>,
        digest: &str,
    ) -> Option<Arc<ProfileDocument>> {
        let mut stored = self.stored();
        if let Some(document) = document {
            let held = Held { digest: digest.to_owned(), document: Arc::new(document) };
            stored.held.insert(registration, held);
        }
        stored.held.get(&registration).filter(|held| held.digest == digest).map(|held| Arc::clone(&held.document))
    }

    /// The profile that was last in force.
    pub(crate) fn in_force(&self) -> Option<Arc<ProfileDocument>> {
        self.stored().in_force.as_ref().map(|held| Arc::clone(&held.document))
    }

    /// The profile of `registration` is in force from now on, also after a restart. No disk is waited for: a swap is not
    /// held up by it.
    pub(crate) fn put_in_force(self: &Arc<Self>, registration: Uuid, store: &Arc<Store>) {
        let mut stored = self.stored();
        let Some(held) = stored.held.get(&registration).cloned() else { return };
        if stored.in_force.as_ref().is_some_and(|now| now.digest == held.digest) {
            return;
        }
        stored.in_force = Some(held);
        drop(stored);
        self.keep(store);
    }

    /// Forgets the profile of a registration that is gone. In force it stays until there is another.
    pub(crate) fn forget(self: &Arc<Self>, registration: Uuid, store: &Arc<Store>) {
        if self.stored().held.remove(&registration).is_some() {
            self.keep(store);
        }
    }

    fn keep(self: &Arc<Self>, store: &Arc<Store>) {
        let (profiles, store) = (Arc::clone(self), Arc::clone(store));
        tokio::task::spawn_blocking(move || {
            let _writing = profiles.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let stored = profiles.stored().clone();
            if let Err(error) = store.keep_profiles(&stored) {
                tracing::warn!("a restart may not know the profile in force: {}", chain(&error));
            }
        });
    }

    fn stored(&self) -> MutexGuard<'_, StoredProfiles> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
