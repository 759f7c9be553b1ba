//! Which version of HTTP gets through to the gateway, network by network.
//!
//! A network is told by the address that we have in it on the way to the gateway. What is remembered is only where to begin:
//! the engine tries the other version as well, and HTTP/3 again from time to time.

use super::options::HttpVersions;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use vestibule_engine::generation::{Http, HttpChoice};
use vestibule_platform::netcfg::source_towards;

/// Networks remembered; with more, all are forgotten.
const MOST: usize = 64;

/// What is allowed, and what is known of networks.
#[derive(Debug)]
pub(crate) struct Ways {
    allowed: HttpVersions,
    /// Where HTTP/2 was needed.
    narrow: Mutex<BTreeSet<IpAddr>>,
}

impl Ways {
    pub(super) fn new(allowed: HttpVersions) -> Self {
        Self { allowed, narrow: Mutex::default() }
    }

    /// Notes what carries the tunnel in the network we are in.
    pub(super) fn note(&self, gateway: SocketAddr, http: Http) {
        if let Some(here) = source_towards(gateway) {
            self.note_at(here, http);
        }
    }

    /// What to try there, in the network we are in.
    pub(super) fn choice(&self, gateway: Option<&SocketAddr>) -> HttpChoice {
        self.choice_at(gateway.and_then(|gateway| source_towards(*gateway)))
    }

    fn note_at(&self, here: IpAddr, http: Http) {
        let mut narrow = self.narrow();
        match http {
            Http::Three => {
                narrow.remove(&here);
            }
            Http::Two => {
                if narrow.len() >= MOST {
                    narrow.clear();
                }
                narrow.insert(here);
            }
        }
    }

    fn choice_at(&self, here: Option<IpAddr>) -> HttpChoice {
        match self.allowed {
            HttpVersions::Three => HttpChoice::Http3Only,
            HttpVersions::Two => HttpChoice::Http2Only,
            HttpVersions::Auto if here.is_some_and(|here| self.narrow().contains(&here)) => HttpChoice::Http2First,
            HttpVersions::Auto => HttpChoice::Http3First,
        }
    }

    fn narrow(&self) -> MutexGuard<'_, BTreeSet<IpAddr>> {
        self.narrow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_got_through_is_tried_first_there_and_nowhere_else() {
        let ways = Ways::new(HttpVersions::Auto);
        let (office, hotel) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([198, 51, 100, 1]));
        let choices = || [office, hotel].map(|here| ways.choice_at(Some(here)));
        assert_eq!(choices(), [HttpChoice::Http3First; 2]);
        ways.note_at(hotel, Http::Two);
        assert_eq!(choices(), [HttpChoice::Http3First, HttpChoice::Http2First]);
        ways.note_at(hotel, Http::Three);
        assert_eq!(choices(), [HttpChoice::Http3First; 2]);
        assert_eq!(ways.choice_at(None), HttpChoice::Http3First);
    }

    #[test]
    fn what_was_wished_stays_whatever_got_through() {
        let here = IpAddr::from([192, 0, 2, 1]);
        for (allowed, choice) in
            [(HttpVersions::Two, HttpChoice::Http2Only), (HttpVersions::Three, HttpChoice::Http3Only)]
        {
            let ways = Ways::new(allowed);
            ways.note_at(here, Http::Two);
            assert_eq!(ways.choice_at(Some(here)), choice);
        }
    }

    #[test]
    fn networks_without_end_are_not_all_remembered() {
        let ways = Ways::new(HttpVersions::Auto);
        for number in 0..1000_u32 {
            ways.note_at(IpAddr::from(number.to_be_bytes()), Http::Two);
            assert!(ways.narrow().len() <= MOST);
        }
    }
}
