//! The twin: keys in memory, of whatever kind the caller makes; or a keeper that is out of order.

use super::{PUBLIC, SIGNATURE, SigningError, SigningKey, SigningKeys};
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

/// Makes keys.
pub type Make = fn() -> Arc<dyn SigningKey>;

/// Keys in memory. Clones share them.
#[derive(Clone)]
pub struct MemoryKeys {
    make: Option<Make>,
    keys: Arc<Mutex<HashMap<String, Arc<dyn SigningKey>>>>,
}

impl MemoryKeys {
    /// A keeper of keys made by `make`; without one, it is out of order.
    #[must_use]
    pub fn new(make: Option<Make>) -> Self {
        Self { make, keys: Arc::default() }
    }

    /// Forgets all keys, as a TPM that is cleared.
    pub fn clear(&self) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn working(&self, action: &'static str) -> Result<Make, SigningError> {
        self.make.ok_or_else(|| SigningError::System { action, cause: io::Error::other("it is out of order") })
    }
}

impl SigningKeys for MemoryKeys {
    fn create(&self, name: &str) -> Result<Box<dyn SigningKey>, SigningError> {
        let action = "make a key";
        let key = self.working(action)?();
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.contains_key(name) {
            return Err(SigningError::System { action, cause: io::ErrorKind::AlreadyExists.into() });
        }
        keys.insert(name.to_owned(), key.clone());
        Ok(Box::new(Shared(key)))
    }

    fn open(&self, name: &str) -> Result<Option<Box<dyn SigningKey>>, SigningError> {
        self.working("find a key")?;
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(keys.get(name).map(|key| Box::new(Shared(key.clone())) as Box<dyn SigningKey>))
    }
}

struct Shared(Arc<dyn SigningKey>);

impl SigningKey for Shared {
    fn public(&self) -> [u8; PUBLIC] {
        self.0.public()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE], SigningError> {
        self.0.sign(message)
    }
}

impl std::fmt::Debug for MemoryKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryKeys(redacted)")
    }
}
