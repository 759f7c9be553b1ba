//! Logins that are at the provider.

use super::super::request::LoginRequest;
use crate::crypto::sha256;
use openidconnect::{CsrfToken, Nonce, PkceCodeVerifier};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long somebody may take at the provider.
const LIFE: Duration = Duration::from_secs(600);
/// Most logins under way (some 2 KiB each); beyond it the oldest give way.
const MOST: usize = 4096;

/// A login that is at the provider.
pub(super) struct Pending {
    pub(super) provider: String,
    pub(super) request: LoginRequest,
    pub(super) redirect: String,
    pub(super) nonce: Nonce,
    pub(super) verifier: PkceCodeVerifier,
    /// Hash of the browser's cookie.
    pub(super) browser: [u8; 32],
}

/// All of them, by the hash of their state.
#[derive(Default)]
pub(in super::super) struct PendingLogins(Mutex<HashMap<[u8; 32], (Instant, Pending)>>);

impl PendingLogins {
    pub(super) fn put(&self, state: &CsrfToken, pending: Pending, now: Instant) {
        let mut logins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logins.retain(|_, (since, _)| now.saturating_duration_since(*since) < LIFE);
        if logins.len() >= MOST
            && let Some(oldest) = logins.iter().min_by_key(|(_, (since, _))| *since).map(|(key, _)| *key)
        {
            logins.remove(&oldest);
        }
        logins.insert(sha256(state.secret().as_bytes()), (now, pending));
    }

    /// The login of a state, which serves once.
    pub(super) fn take(&self, state: &str, now: Instant) -> Option<Pending> {
        let mut logins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, pending) = logins.remove(&sha256(state.as_bytes()))?;
        (now.saturating_duration_since(since) < LIFE).then_some(pending)
    }
}
