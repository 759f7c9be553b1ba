//! Passwords: argon2id, on threads where a slow hash holds nobody up.

use super::Login;
use crate::crypto::{RandomError, random};
use crate::gateway::store::UserRow;
use argon2::{Argon2, PasswordHasher, PasswordVerifier, password_hash::phc::PasswordHash};
use std::sync::OnceLock;
use zeroize::Zeroizing;

/// Shortest password taken for an account.
const SHORTEST: usize = 8;
/// Longest: nobody makes us hash megabytes.
const LONGEST: usize = 1024;

/// What is wrong with a password for an account, if anything.
pub(in super::super) fn unusable(password: &str) -> Option<String> {
    let length = password.chars().count();
    (!(SHORTEST..=LONGEST).contains(&length))
        .then(|| format!("`password` must have {SHORTEST} to {LONGEST} characters, got {length}"))
}

/// The hash to store.
pub(in super::super) async fn hash_password(password: Zeroizing<String>) -> Result<String, RandomError> {
    let salt = random::<16>()?;
    let hashed = tokio::task::spawn_blocking(move || hash(password.as_bytes(), &salt)).await;
    hashed.ok().flatten().ok_or(RandomError)
}

fn hash(password: &[u8], salt: &[u8]) -> Option<String> {
    let hashed: PasswordHash = Argon2::default().hash_password_with_salt(password, salt).ok()?;
    Some(hashed.to_string())
}

impl Login {
    /// Whether the password is the user's. The work is the same when there is no such user.
    pub(super) async fn check(&self, user: Option<&UserRow>, password: Zeroizing<String>) -> bool {
        let exists = user.is_some();
        let stored = user.map(|user| user.password_hash.clone());
        let Ok(_turn) = self.checks.acquire().await else { return false };
        let verified = tokio::task::spawn_blocking(move || {
            let stored = stored.unwrap_or_else(|| nobody().to_owned());
            password.chars().count() <= LONGEST
                && Argon2::default().verify_password(password.as_bytes(), stored.as_str()).is_ok()
        })
        .await;
        exists & verified.unwrap_or(false)
    }
}

/// A hash that is nobody's.
fn nobody() -> &'static str {
    static NOBODY: OnceLock<String> = OnceLock::new();
    NOBODY.get_or_init(|| hash(b"nobody has this password", b"vestibule-nobody").unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn user(password_hash: String) -> UserRow {
        let (id, email, name) = (String::new(), String::new(), String::new());
        UserRow { id, email, name, password_hash, groups: Vec::new(), created_at: 0 }
    }

    fn secret(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn only_the_right_password_passes() {
        let stored = hash_password(secret("correct horse")).await.unwrap();
        assert!(stored.starts_with("$argon2id$"));
        let (login, user) = (Login::new(), user(stored));
        assert!(login.check(Some(&user), secret("correct horse")).await);
        assert!(!login.check(Some(&user), secret("correct hors")).await);
    }

    #[tokio::test]
    async fn an_unknown_user_never_passes_not_even_with_nobodys_password() {
        assert!(!nobody().is_empty(), "the same work is done for nobody");
        assert!(!Login::new().check(None, secret("nobody has this password")).await);
    }
}
