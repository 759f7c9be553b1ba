//! What is known of the registrations whose devices wait for news: read from the store once, and again when it changed.
//!
//! A change of rules or profiles wakes everybody, and says nothing of who they are: five hundred devices that are told of
//! one rule do not ask the disk thousands of times.

use super::app::App;
use super::clock;
use super::store::{Registration, StoreError};
use crate::api::device::RegistrationStatus;
use crate::rules::Subject;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// Most registrations that are kept; beyond it all are read anew.
const MOST: usize = 65_536;

/// A registration, and whom its traffic is judged for while it stands.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) registration: Registration,
    pub(super) subject: Option<Subject>,
}

/// What is known. Whoever changes something of a registration or of its device on disk has it forgotten afterwards.
#[derive(Debug, Default)]
pub(super) struct Knowledge(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Rises with everything that is forgotten: what was read before is not kept.
    forgotten: u64,
    registrations: HashMap<Uuid, Arc<Known>>,
    /// By the hash of its bearer secret, which never becomes another's.
    bearers: HashMap<[u8; 32], Uuid>,
}

impl Knowledge {
    /// A registration changed.
    pub(super) fn forget(&self, id: &Uuid) {
        let mut inner = self.inner();
        inner.forgotten += 1;
        inner.registrations.remove(id);
    }

    /// Something of these devices changed.
    pub(super) fn forget_devices(&self, devices: &[String]) {
        let mut inner = self.inner();
        inner.forgotten += 1;
        inner.registrations.retain(|_, known| !devices.contains(&known.registration.device_id));
    }

    fn find(&self, id: &Uuid) -> Result<Arc<Known>, u64> {
        let inner = self.inner();
        inner.registrations.get(id).cloned().ok_or(inner.forgotten)
    }

    /// Keeps what was read, unless something was forgotten since `as_of`.
    fn keep(&self, known: &Arc<Known>, bearer: Option<[u8; 32]>, as_of: u64) {
        let mut inner = self.inner();
        if inner.forgotten != as_of {
            return;
        }
        if inner.registrations.len().max(inner.bearers.len()) >= MOST {
            inner.registrations.clear();
            inner.bearers.clear();
        }
        let id = known.registration.id;
        inner.bearers.extend(bearer.map(|bearer| (bearer, id)));
        inner.registrations.insert(id, Arc::clone(known));
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// What is known of a registration; `None` when there is none.
    pub(super) async fn known(&self, id: &Uuid) -> Result<Option<Arc<Known>>, StoreError> {
        let as_of = match self.hub.knowledge.find(id) {
            Ok(known) => return Ok(Some(known)),
            Err(as_of) => as_of,
        };
        let Some(registration) = self.store.registration(id).await? else { return Ok(None) };
        self.read(registration, None, as_of).await.map(Some)
    }

    /// What is known of the registration whose bearer secret has this hash.
    pub(super) async fn known_by_bearer(&self, hash: &[u8; 32]) -> Result<Option<Arc<Known>>, StoreError> {
        let (id, as_of) = {
            let inner = self.hub.knowledge.inner();
            (inner.bearers.get(hash).copied(), inner.forgotten)
        };
        if let Some(id) = id {
            return self.known(&id).await;
        }
        let Some(registration) = self.store.registration_by_bearer(hash).await? else { return Ok(None) };
        self.read(registration, Some(*hash), as_of).await.map(Some)
    }

    async fn read(
        &self,
        registration: Registration,
        bearer: Option<[u8; 32]>,
        as_of: u64,
    ) -> Result<Arc<Known>, StoreError> {
        let subject = match registration.status() {
            RegistrationStatus::Active => self.store.subject(&registration.id, clock::now()).await?,
            RegistrationStatus::Revoked | RegistrationStatus::Deleted => None,
        };
        let known = Arc::new(Known { registration, subject });
        self.hub.knowledge.keep(&known, bearer, as_of);
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn known(id: u128, device: &str) -> Arc<Known> {
        let registration = Registration {
            id: Uuid::from_u128(id),
            device_id: device.to_owned(),
            email: "ada@mycompany.example".to_owned(),
            token_id: None,
            tunnel_key: [0; 32],
            created_at: 0,
            updated_at: 0,
            last_seen_at: None,
            revoked_at: None,
            deleted_at: None,
        };
        Arc::new(Known { registration, subject: None })
    }

    #[test]
    fn what_changed_is_forgotten_and_what_was_read_before_a_change_is_not_kept() {
        let knowledge = Knowledge::default();
        let (one, two) = (known(1, "d"), known(2, "e"));
        let as_of = knowledge.find(&one.registration.id).unwrap_err();
        knowledge.keep(&one, Some([1; 32]), as_of);
        knowledge.keep(&two, None, as_of);
        assert!(knowledge.find(&one.registration.id).is_ok() && knowledge.find(&two.registration.id).is_ok());
        knowledge.forget_devices(&["d".to_owned()]);
        let later = knowledge.find(&one.registration.id).unwrap_err();
        assert!(knowledge.find(&two.registration.id).is_ok());
        knowledge.keep(&one, None, as_of);
        assert!(knowledge.find(&one.registration.id).is_err(), "it was read before the change");
        knowledge.keep(&one, None, later);
        knowledge.forget(&one.registration.id);
        assert!(knowledge.find(&one.registration.id).is_err());
    }
}
