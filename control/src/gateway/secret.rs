//! Secrets that are handed out once and kept as a hash.

use crate::crypto::{RandomError, random, sha256};
use crate::secret::Secret;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// What a service token's secret begins with, and an API token's.
pub(super) const SERVICE_TOKEN: &str = "cfast_";
pub(super) const API_TOKEN: &str = "cfat_";
/// Random characters after the prefix (238 bits), and of the checksum after those.
const RANDOM: usize = 40;
const CHECKSUM: usize = 8;

/// A secret with a prefix that tells scanners of source code what they found, 40 alphanumerics, and a checksum that tells a
/// typing error from a wrong secret: the first eight hex digits of the SHA-256 of all that is before it. Older ones of
/// service tokens are 64 hex digits.
pub(super) fn with_prefix(prefix: &str) -> Result<Secret, RandomError> {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + RANDOM + CHECKSUM));
    text.push_str(prefix);
    while text.len() < prefix.len() + RANDOM {
        let bytes = Zeroizing::new(random::<64>()?);
        // 248 is the greatest multiple of 62 in a byte: every letter is as likely.
        let letters = bytes.iter().filter(|byte| **byte < 248).map(|byte| ALPHABET[usize::from(byte % 62)] as char);
        let missing = prefix.len() + RANDOM - text.len();
        text.extend(letters.take(missing));
    }
    let checksum = checksum(&text);
    text.push_str(&checksum);
    Ok(text.into())
}

/// 64 hex digits: 256 random bits.
pub(super) fn plain() -> Result<Secret, RandomError> {
    let bytes = Zeroizing::new(random::<32>()?);
    Ok(Zeroizing::new(hex::encode(bytes.as_slice())).into())
}

fn checksum(text: &str) -> String {
    hex::encode(&sha256(text.as_bytes())[..CHECKSUM / 2])
}

/// Whether a secret with a prefix was mistyped or cut short: no secret that was ever handed out looks like this.
pub(super) fn mistyped(given: &str) -> bool {
    let prefixed = given.starts_with(SERVICE_TOKEN) || given.starts_with(API_TOKEN);
    let fits = || {
        let (text, end) = given.split_at_checked(given.len().checked_sub(CHECKSUM)?)?;
        (checksum(text) == end).then_some(())
    };
    prefixed && fits().is_none()
}

/// Whether `given` is the secret with this hash; takes the same time whatever is wrong with it.
pub(super) fn matches(given: &str, hash: &[u8; 32]) -> bool {
    sha256(given.as_bytes()).ct_eq(hash).into()
}

/// 32 hex digits: a public id in the vendor's form.
pub(super) fn id() -> Result<String, RandomError> {
    Ok(hex::encode(random::<16>()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_secret_has_its_prefix_its_length_and_a_checksum_that_finds_typing_errors() {
        let secret = with_prefix(SERVICE_TOKEN).unwrap();
        let text = secret.expose().to_owned();
        assert_eq!(text.len(), 6 + 40 + 8);
        assert!(text[6..46].bytes().all(|byte| byte.is_ascii_alphanumeric()), "{text}");
        assert!(!mistyped(&text) && matches(&text, &secret.hash()));
        for position in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[position] = if other[position] == b'x' { b'y' } else { b'x' };
            let other = String::from_utf8(other).unwrap();
            assert!(!matches(&other, &secret.hash()));
            assert!(position < 6 || mistyped(&other), "{position}");
        }
        assert!(mistyped(&text[..40]) && mistyped("cfast_") && mistyped("cfast_\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}"));
        assert!(!mistyped(plain().unwrap().expose()), "the older form has none");
        assert_ne!(text, with_prefix(SERVICE_TOKEN).unwrap().expose());
    }
}
