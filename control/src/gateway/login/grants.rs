//! Codes and assertions: what a login gives, each once and for a short time. Only hashes are kept.

use super::Identified;
use crate::crypto::RandomError;
use crate::crypto::sha256;
use crate::gateway::secret::plain;
use crate::secret::Secret;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// From the login to the daemon's call.
const CODE_LIFE: Duration = Duration::from_secs(60);
/// From there to the enrolment.
const ASSERTION_LIFE: Duration = Duration::from_secs(300);
/// Most of each; only who has just logged in gets one, so this is far away.
const MOST: usize = 65_536;

/// A login whose code is out.
#[derive(Clone)]
pub(super) struct Code {
    pub(super) user: Identified,
    /// PKCE, S256.
    pub(super) challenge: String,
    pub(super) redirect_uri: String,
}

/// A proven login.
#[derive(Clone)]
pub(in super::super) struct Assertion {
    /// Who.
    pub(in super::super) user: Identified,
    hash: [u8; 32],
    until: Instant,
}

/// What is out.
#[derive(Default)]
pub(in super::super) struct Grants {
    codes: Mutex<HashMap<[u8; 32], (Instant, Code)>>,
    assertions: Mutex<HashMap<[u8; 32], Assertion>>,
}

impl Grants {
    /// A code for a login.
    pub(super) fn issue_code(&self, code: Code, now: Instant) -> Result<Secret, RandomError> {
        let secret = plain()?;
        let mut codes = lock(&self.codes);
        codes.retain(|_, (until, _)| *until > now);
        if codes.len() < MOST {
            codes.insert(secret.hash(), (now + CODE_LIFE, code));
        }
        Ok(secret)
    }

    /// The login of a code, which is used up by the attempt.
    pub(super) fn redeem_code(&self, code: &str, now: Instant) -> Option<Code> {
        let (until, code) = lock(&self.codes).remove(&sha256(code.as_bytes()))?;
        (until > now).then_some(code)
    }

    /// An assertion for a user.
    pub(super) fn issue_assertion(&self, user: Identified, now: Instant) -> Result<Secret, RandomError> {
        let secret = plain()?;
        self.restore_assertion(Assertion { user, hash: secret.hash(), until: now + ASSERTION_LIFE }, now);
        Ok(secret)
    }

    /// The user of an assertion, which is used up.
    pub(in super::super) fn redeem_assertion(&self, assertion: &str, now: Instant) -> Option<Assertion> {
        lock(&self.assertions).remove(&sha256(assertion.as_bytes())).filter(|assertion| assertion.until > now)
    }

    /// Gives a redeemed assertion back, for as long as it would have been valid.
    pub(in super::super) fn restore_assertion(&self, assertion: Assertion, now: Instant) {
        let mut assertions = lock(&self.assertions);
        assertions.retain(|_, assertion| assertion.until > now);
        if assertions.len() < MOST {
            assertions.insert(assertion.hash, assertion);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gateway::access::Presented;
    use crate::rules::Person;

    fn ada() -> Identified {
        Identified { person: Person::with_email("ada@example.com"), provider: None, presented: Presented::default() }
    }

    fn code() -> Code {
        Code { user: ada(), challenge: String::new(), redirect_uri: String::new() }
    }

    #[test]
    fn a_code_serves_once_within_a_minute() {
        let (grants, now) = (Grants::default(), Instant::now());
        let code = || grants.issue_code(code(), now).unwrap();
        let (first, second) = (code(), code());
        assert!(grants.redeem_code(first.expose(), now).is_some());
        assert!(grants.redeem_code(first.expose(), now).is_none());
        assert!(grants.redeem_code(second.expose(), now + CODE_LIFE).is_none());
    }

    #[test]
    fn an_assertion_serves_once_within_five_minutes_and_can_be_given_back() {
        let (grants, now) = (Grants::default(), Instant::now());
        let secret = grants.issue_assertion(ada(), now).unwrap();
        let assertion = grants.redeem_assertion(secret.expose(), now).unwrap();
        assert!(grants.redeem_assertion(secret.expose(), now).is_none());
        grants.restore_assertion(assertion, now);
        assert!(grants.redeem_assertion(secret.expose(), now + ASSERTION_LIFE).is_none(), "no longer than before");
    }
}
