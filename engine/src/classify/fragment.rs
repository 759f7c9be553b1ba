//! The fragment table: later fragments follow the first one's flow.

use super::FlowId;
use super::hash::siphash;
use super::key::bits;
use crate::packet::header::{Fragment, Headers};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long a fragmented packet's later fragments may follow the first. Linux reassembles for as long.
pub const LIFETIME: Duration = Duration::from_secs(30);

/// Places in a bucket: this many fragmented packets of one hash may be under way.
const WAYS: usize = 4;

/// Why a later fragment has no flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FragmentMiss {
    /// It is not a later fragment.
    #[error("not a later fragment")]
    NotLater,
    /// Its first fragment was not seen (yet), or gave way to others.
    #[error("the first fragment was not seen")]
    Unknown,
    /// Its first fragment was seen too long ago.
    #[error("the first fragment was seen more than {} s ago", LIFETIME.as_secs())]
    Expired,
}

/// What all fragments of a packet share. RFC 791 counts the protocol in; RFC 8200 does not, for extension headers
/// may stand between the first fragment's fragment header and its transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    id: u32,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    key: Key,
    flow: FlowId,
    seen: Instant,
}

/// Flows of first fragments by source, destination, protocol and identification. Bounded: the oldest give way.
#[derive(Debug)]
pub struct FragmentTable {
    seed: [u64; 2],
    buckets: Vec<[Option<Place>; WAYS]>,
}

impl FragmentTable {
    /// An empty table for about `capacity` fragmented packets under way; `seed` is random and secret.
    #[must_use]
    pub fn new(capacity: usize, seed: [u64; 2]) -> Self {
        Self { seed, buckets: vec![[None; WAYS]; capacity.div_ceil(WAYS).next_power_of_two()] }
    }

    /// Notes a first fragment's flow. Other packets are ignored.
    pub fn insert(&mut self, headers: &Headers, flow: FlowId, now: Instant) {
        let Fragment::First { id } = headers.fragment else { return };
        let key = key(headers, id);
        let bucket = self.bucket(&key);
        let places = &mut self.buckets[bucket];
        let known = places.iter().position(|place| place.is_some_and(|place| place.key == key));
        let oldest = || (0..WAYS).min_by_key(|&way| places[way].map(|place| place.seen)).unwrap_or(0);
        let way = known.unwrap_or_else(oldest);
        places[way] = Some(Place { key, flow, seen: now });
    }

    /// The flow of a later fragment.
    ///
    /// # Errors
    /// Why there is none.
    pub fn lookup(&self, headers: &Headers, now: Instant) -> Result<FlowId, FragmentMiss> {
        let Fragment::Later { id } = headers.fragment else { return Err(FragmentMiss::NotLater) };
        let key = key(headers, id);
        let mut places = self.buckets[self.bucket(&key)].iter().flatten();
        let place = places.find(|place| place.key == key).ok_or(FragmentMiss::Unknown)?;
        if now.saturating_duration_since(place.seen) > LIFETIME {
            return Err(FragmentMiss::Expired);
        }
        Ok(place.flow)
    }

    fn bucket(&self, key: &Key) -> usize {
        let (source, destination) = (bits(key.source), bits(key.destination));
        let words = [
            (source >> 64) as u64,
            source as u64,
            (destination >> 64) as u64,
            destination as u64,
            u64::from(key.id) << 32 | u64::from(key.protocol),
        ];
        siphash(self.seed, &words) as usize & (self.buckets.len() - 1)
    }
}

fn key(headers: &Headers, id: u32) -> Key {
    let protocol = if headers.source.is_ipv4() { headers.protocol } else { 0 };
    Key { source: headers.source, destination: headers.destination, protocol, id }
}

#[cfg(test)]
#[path = "fragment_tests.rs"]
mod tests;
