//! The twin: secrets in memory, zeroised at the end.

use super::{SecretError, Secrets, check, check_length};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use zeroize::Zeroizing;

type Map = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// Secrets in memory. Clones share them.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Map>>);

impl MemoryStore {
    fn with<R>(&self, f: impl FnOnce(&mut Map) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Secrets for MemoryStore {
    fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, SecretError> {
        check(name)?;
        Ok(self.with(|map| map.get(name).cloned()))
    }

    fn put(&self, name: &str, secret: &[u8]) -> Result<(), SecretError> {
        check(name)?;
        check_length(name, secret.len() as u64)?;
        self.with(|map| map.insert(name.to_owned(), Zeroizing::new(secret.to_vec())));
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<bool, SecretError> {
        check(name)?;
        Ok(self.with(|map| map.remove(name).is_some()))
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStore(redacted)")
    }
}
