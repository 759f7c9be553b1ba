//! Proof key for code exchange (RFC 7636), and the state that ties a browser's return to its attempt.

use crate::crypto::{RandomError, random, sha256};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// The secrets of one attempt to sign in.
pub(super) struct Attempt {
    verifier: Zeroizing<String>,
    state: String,
}

impl Attempt {
    pub(super) fn new() -> Result<Self, RandomError> {
        Ok(Self {
            verifier: Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(random::<32>()?)),
            state: BASE64_URL_SAFE_NO_PAD.encode(random::<16>()?),
        })
    }

    /// Shown to the gateway with the code.
    pub(super) fn verifier(&self) -> &str {
        &self.verifier
    }

    /// Shown to the gateway with the login's address: `BASE64URL(SHA256(verifier))`.
    pub(super) fn challenge(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(sha256(self.verifier.as_bytes()))
    }

    /// Comes back with the browser.
    pub(super) fn state(&self) -> &str {
        &self.state
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_challenge_is_the_standards() {
        // RFC 7636, appendix B.
        let verifier = Zeroizing::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned());
        let attempt = Attempt { verifier, state: String::new() };
        assert_eq!(attempt.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn a_verifier_has_the_standards_length_and_letters() {
        let attempt = Attempt::new().unwrap();
        assert_eq!(attempt.verifier().len(), 43);
        assert!(attempt.verifier().chars().all(|c| c.is_ascii_alphanumeric() || "-._~".contains(c)));
    }
}
