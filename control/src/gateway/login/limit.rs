//! How often a password may be tried: per account and per address, in a fixed window.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(300);
/// A person mistypes a few times; ten guesses in five minutes are worth nothing against a password.
const PER_ACCOUNT: u32 = 10;
/// An office behind one address logs in at nine o'clock.
const PER_ADDRESS: u32 = 60;
/// Most keys held (some 100 bytes each).
const MOST: usize = 65_536;

#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Account(String),
    /// An IPv6 caller has a /64 to choose from.
    Address(IpAddr),
}

/// Counts attempts.
#[derive(Default)]
pub(super) struct Limiter(Mutex<HashMap<Key, (Instant, u32)>>);

impl Limiter {
    /// Counts an attempt at an account before it is looked at. `Err` says how long to wait.
    pub(super) fn attempt(&self, email: &str, address: IpAddr, now: Instant) -> Result<(), Duration> {
        self.count(&[(account(email), PER_ACCOUNT), (Key::Address(network(address)), PER_ADDRESS)], now)
    }

    /// Counts an attempt that names no account.
    pub(super) fn attempt_from(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        self.count(&[(Key::Address(network(address)), PER_ADDRESS)], now)
    }

    fn count(&self, keys: &[(Key, u32)], now: Instant) -> Result<(), Duration> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.len() >= MOST {
            table.retain(|_, (since, _)| now.saturating_duration_since(*since) < WINDOW);
        }
        for (key, most) in keys {
            if let Some((since, count)) = table.get(key) {
                let age = now.saturating_duration_since(*since);
                if age < WINDOW && count >= most {
                    return Err(WINDOW - age);
                }
            }
        }
        if table.len() >= MOST {
            // A flood from everywhere: nobody gets in by it, and memory stays bounded.
            return Err(WINDOW);
        }
        for (key, _) in keys {
            let entry = table.entry(key.clone()).or_insert((now, 0));
            if now.saturating_duration_since(entry.0) >= WINDOW {
                *entry = (now, 0);
            }
            entry.1 += 1;
        }
        Ok(())
    }

    /// The account's password was right: its earlier slips are forgotten, and this attempt does not count.
    pub(super) fn succeeded(&self, email: &str, address: IpAddr) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.remove(&account(email));
        if let Some((_, count)) = table.get_mut(&Key::Address(network(address))) {
            *count = count.saturating_sub(1);
        }
    }
}

fn account(email: &str) -> Key {
    Key::Account(email.to_lowercase())
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn an_account_is_closed_after_ten_attempts_and_opens_again() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        for _ in 0..PER_ACCOUNT {
            assert_eq!(limiter.attempt("ada@example.com", HERE, now), Ok(()));
        }
        assert_eq!(limiter.attempt("ADA@example.com", HERE, now), Err(WINDOW));
        assert_eq!(limiter.attempt("bob@example.com", HERE, now), Ok(()));
        assert_eq!(limiter.attempt("ada@example.com", HERE, now + WINDOW), Ok(()));
    }

    #[test]
    fn an_address_is_closed_whatever_accounts_it_tries() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        for n in 0..PER_ADDRESS {
            assert_eq!(limiter.attempt(&format!("{n}@example.com"), HERE, now), Ok(()));
        }
        assert!(limiter.attempt("ada@example.com", HERE, now).is_err());
    }

    #[test]
    fn the_right_password_clears_the_account() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        for _ in 0..100 {
            assert_eq!(limiter.attempt("ada@example.com", HERE, now), Ok(()));
            limiter.succeeded("ada@example.com", HERE);
        }
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one() {
        let address = |text: &str| text.parse().map(network);
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_eq!(address("::ffff:192.0.2.1"), Ok(HERE));
    }
}
