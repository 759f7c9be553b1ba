//! Which version of HTTP gets through to the gateway, network by network.
//!
//! A network is told by the address that we have in it on the way to the gateway. What is remembered, across starts too, is
//! only where to begin: the engine tries the other version as well, and HTTP/3 again from time to time.

use super::{options::HttpVersions, store::Store, wall};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vestibule_engine::generation::{Http, HttpChoice};
use vestibule_platform::netcfg::source_towards;

/// Networks remembered; then the one that was needed least recently gives way.
const MOST: usize = 64;
/// Seconds after which a network is forgotten: by then it may be another one with the same addresses.
const FORGOTTEN: u64 = 30 * 24 * 3600;
/// Seconds after which it is noted again that a network is still the same: a visit is one write, not one per tunnel.
const NOTED_AGAIN: u64 = 24 * 3600;

/// Networks in which HTTP/2 was needed, and when that was seen last, in seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Narrow(BTreeMap<IpAddr, u64>);

/// What is allowed, and what is known of networks.
#[derive(Debug)]
pub(crate) struct Ways {
    allowed: HttpVersions,
    narrow: Mutex<Narrow>,
    /// Where it is remembered.
    store: Arc<Store>,
}

impl Narrow {
    fn knows(&self, here: IpAddr, now: u64) -> bool {
        self.0.get(&here).is_some_and(|at| now < at.saturating_add(FORGOTTEN))
    }

    /// Notes what carries the tunnel. False: that is no news.
    fn note(&mut self, here: IpAddr, http: Http, now: u64) -> bool {
        let before = self.0.len();
        // A clock that was ahead, and is not any more, has noted times to come.
        self.0.retain(|_, at| *at <= now && now < at.saturating_add(FORGOTTEN));
        let forgotten = self.0.len() < before;
        if http == Http::Three {
            return self.0.remove(&here).is_some() || forgotten;
        }
        if self.0.get(&here).is_some_and(|at| now < at + NOTED_AGAIN) {
            return forgotten;
        }
        self.0.insert(here, now);
        while self.0.len() > MOST {
            let oldest = self.0.iter().min_by_key(|(_, at)| **at).map(|(address, _)| *address);
            oldest.and_then(|oldest| self.0.remove(&oldest));
        }
        true
    }
}

impl Ways {
    /// With what earlier starts have learnt. A file that cannot be read is as none: only time is lost.
    pub(super) fn new(allowed: HttpVersions, store: Arc<Store>) -> Self {
        let narrow = store.narrow().unwrap_or_else(|error| {
            tracing::warn!(error = %crate::causes::chain(&error), "which networks need HTTP/2 is learnt anew");
            None
        });
        Self { allowed, narrow: Mutex::new(narrow.unwrap_or_default()), store }
    }

    /// Notes what carries the tunnel in the network we are in.
    pub(super) fn note(&self, gateway: SocketAddr, http: Http) {
        if let Some(here) = source_towards(gateway) {
            self.note_at(here, http, now());
        }
    }

    /// What to try there, in the network we are in.
    pub(super) fn choice(&self, gateway: Option<&SocketAddr>) -> HttpChoice {
        self.choice_at(gateway.and_then(|gateway| source_towards(*gateway)), now())
    }

    fn note_at(&self, here: IpAddr, http: Http, now: u64) {
        let mut narrow = self.narrow();
        if narrow.note(here, http, now)
            && let Err(error) = self.store.keep_narrow(&narrow)
        {
            tracing::warn!(error = %crate::causes::chain(&error), "which networks need HTTP/2 is known until the end only");
        }
    }

    fn choice_at(&self, here: Option<IpAddr>, now: u64) -> HttpChoice {
        match self.allowed {
            HttpVersions::Auto if here.is_some_and(|here| self.narrow().knows(here, now)) => HttpChoice::Http2First,
            allowed => allowed.into(),
        }
    }

    fn narrow(&self) -> MutexGuard<'_, Narrow> {
        self.narrow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> u64 {
    u64::try_from(wall::now() / 1000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::daemon::twin::MemoryVault;
    use vestibule_platform::signing::memory::MemoryKeys;

    const OFFICE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const HOTEL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));
    const DAY: u64 = 24 * 3600;

    fn ways(allowed: HttpVersions, vault: &MemoryVault) -> Ways {
        Ways::new(allowed, Arc::new(Store::open(Box::new(vault.clone()), &MemoryKeys::new(None)).unwrap().0))
    }

    #[test]
    fn what_got_through_is_tried_first_there_and_nowhere_else() {
        let ways = ways(HttpVersions::Auto, &MemoryVault::default());
        let choices = || [OFFICE, HOTEL].map(|here| ways.choice_at(Some(here), DAY));
        assert_eq!(choices(), [HttpChoice::Http3First; 2]);
        ways.note_at(HOTEL, Http::Two, DAY);
        assert_eq!(choices(), [HttpChoice::Http3First, HttpChoice::Http2First]);
        ways.note_at(HOTEL, Http::Three, DAY);
        assert_eq!(choices(), [HttpChoice::Http3First; 2]);
        assert_eq!(ways.choice_at(None, DAY), HttpChoice::Http3First);
    }

    #[test]
    fn what_was_wished_stays_whatever_got_through() {
        for (allowed, choice) in
            [(HttpVersions::Two, HttpChoice::Http2Only), (HttpVersions::Three, HttpChoice::Http3Only)]
        {
            let ways = ways(allowed, &MemoryVault::default());
            ways.note_at(OFFICE, Http::Two, DAY);
            assert_eq!(ways.choice_at(Some(OFFICE), DAY), choice);
        }
    }

    #[test]
    fn it_is_remembered_across_starts_and_forgotten_after_a_month() {
        let vault = MemoryVault::default();
        ways(HttpVersions::Auto, &vault).note_at(HOTEL, Http::Two, DAY);
        let again = ways(HttpVersions::Auto, &vault);
        assert_eq!(again.choice_at(Some(HOTEL), 30 * DAY), HttpChoice::Http2First);
        assert_eq!(again.choice_at(Some(HOTEL), 31 * DAY), HttpChoice::Http3First);
        again.note_at(OFFICE, Http::Two, 40 * DAY);
        assert_eq!(again.narrow().0.keys().collect::<Vec<_>>(), [&OFFICE]);

        // A damaged file costs nothing but what it held.
        vault.set("networks", b"{");
        let anew = ways(HttpVersions::Auto, &vault);
        assert_eq!(anew.choice_at(Some(OFFICE), 40 * DAY), HttpChoice::Http3First);
        anew.note_at(OFFICE, Http::Two, 40 * DAY);
        let last = ways(HttpVersions::Auto, &vault);
        assert_eq!(last.choice_at(Some(OFFICE), 40 * DAY), HttpChoice::Http2First);
    }

    #[test]
    fn a_visit_is_one_write() {
        let mut narrow = Narrow::default();
        assert!(narrow.note(HOTEL, Http::Two, DAY));
        assert!(!narrow.note(HOTEL, Http::Two, DAY + 60));
        assert!(!narrow.note(OFFICE, Http::Three, DAY + 60));
        assert!(narrow.note(HOTEL, Http::Two, 2 * DAY));
        assert!(narrow.note(HOTEL, Http::Three, 2 * DAY));
        assert_eq!(narrow, Narrow::default());
    }

    #[test]
    fn a_clock_that_was_ahead_leaves_nothing_for_ever() {
        let mut narrow = Narrow::default();
        narrow.note(HOTEL, Http::Two, u64::MAX);
        narrow.note(OFFICE, Http::Two, DAY);
        assert_eq!(narrow.0.keys().collect::<Vec<_>>(), [&OFFICE]);
    }

    #[test]
    fn networks_without_end_are_not_all_remembered() {
        let mut narrow = Narrow::default();
        for number in 0..1000_u32 {
            narrow.note(IpAddr::from(number.to_be_bytes()), Http::Two, DAY + u64::from(number));
            assert!(narrow.0.len() <= MOST);
        }
        assert!(narrow.knows(IpAddr::from(999_u32.to_be_bytes()), DAY + 999), "the newest are");
    }
}
