//! Nonces: an enrolment signs one, and each serves once.

use super::{Answer, DeviceError};
use crate::api::device::Nonce;
use crate::crypto::random;
use crate::gateway::app::App;
use axum::{Json, extract::State};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a nonce is valid.
const LIFE: Duration = Duration::from_secs(120);
/// Most nonces outstanding; under a flood the oldest give way. 65,536 × ~100 bytes.
const MOST: usize = 65_536;

/// The nonces that are out.
#[derive(Debug, Default)]
pub(in super::super) struct Nonces(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    valid: HashSet<[u8; 32]>,
    /// In order of issue, taken ones included.
    issued: VecDeque<(Instant, [u8; 32])>,
}

impl Nonces {
    /// Notes a new one.
    fn issue(&self, nonce: [u8; 32], now: Instant) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.expire(now);
        while table.issued.len() >= MOST {
            table.drop_oldest();
        }
        table.issued.push_back((now, nonce));
        table.valid.insert(nonce);
    }

    /// Whether it was out and valid; it is not from now on.
    pub(super) fn take(&self, nonce: &[u8; 32], now: Instant) -> bool {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.expire(now);
        table.valid.remove(nonce)
    }
}

impl Table {
    fn expire(&mut self, now: Instant) {
        while self.issued.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= LIFE) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, nonce)) = self.issued.pop_front() {
            self.valid.remove(&nonce);
        }
    }
}

/// `POST /nonce`
pub(super) async fn create(State(app): State<Arc<App>>) -> Answer<Nonce> {
    let nonce = random::<32>().map_err(DeviceError::from)?;
    app.nonces.issue(nonce, Instant::now());
    Ok(Json(Nonce { nonce: STANDARD.encode(nonce) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_serves_once_and_for_two_minutes() {
        let (nonces, now) = (Nonces::default(), Instant::now());
        nonces.issue([1; 32], now);
        nonces.issue([2; 32], now);
        assert!(nonces.take(&[1; 32], now) && !nonces.take(&[1; 32], now));
        assert!(!nonces.take(&[2; 32], now + LIFE));
        assert!(!nonces.take(&[3; 32], now));
    }

    #[test]
    fn a_flood_is_bounded_and_the_newest_stay() {
        let (nonces, now) = (Nonces::default(), Instant::now());
        for n in 0..=MOST as u64 {
            let mut nonce = [0; 32];
            nonce[..8].copy_from_slice(&n.to_be_bytes());
            nonces.issue(nonce, now);
        }
        assert!(!nonces.take(&[0; 32], now), "the oldest gave way");
        let table = nonces.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!((table.valid.len(), table.issued.len()), (MOST, MOST));
    }
}
