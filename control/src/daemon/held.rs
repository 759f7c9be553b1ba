//! The rules that the device holds, so that a swap back to an identity carries and compiles them only when they changed.

use crate::{api::device::PolicyDocument, rules::engine_policy};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use uuid::Uuid;
use vestibule_engine::policy::Policy;

#[derive(Debug)]
struct Held {
    digest: String,
    version: u64,
    policy: Arc<Policy>,
}

/// Compiled rules by registration, of which a device has a few.
#[derive(Debug, Default)]
pub(crate) struct HeldPolicies(Mutex<HashMap<Uuid, Held>>);

impl HeldPolicies {
    /// What to tell the gateway in an order.
    pub(crate) fn digest(&self, registration: Uuid) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&registration).map(|held| held.digest.clone())
    }

    /// The rules of the gateway's answer, and their version: those it sent, or those held under `digest`.
    pub(crate) fn take(
        &self,
        registration: Uuid,
        document: Option<PolicyDocument>,
        digest: &str,
    ) -> Option<(u64, Arc<Policy>)> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(document) = document {
            let policy = Arc::new(engine_policy(&document));
            all.insert(registration, Held { digest: digest.to_owned(), version: document.version, policy });
        }
        all.get(&registration).filter(|held| held.digest == digest).map(|held| (held.version, Arc::clone(&held.policy)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::rules::judged_by_the_gateway;

    #[test]
    fn only_what_was_sent_is_held_and_only_under_its_name() {
        let held = HeldPolicies::default();
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let document = |version| judged_by_the_gateway(version);
        assert_eq!(held.digest(one), None);
        assert!(held.take(one, None, "a").is_none());
        let (version, sent) = held.take(one, Some(document(3)), "a").unwrap();
        assert_eq!((version, held.digest(one).as_deref()), (3, Some("a")));
        assert!(Arc::ptr_eq(&held.take(one, None, "a").unwrap().1, &sent));
        assert!(held.take(one, None, "b").is_none() && held.take(other, None, "a").is_none());
        assert_eq!(held.take(one, Some(document(4)), "b").unwrap().0, 4);
        assert!(held.take(one, None, "a").is_none());
    }
}
