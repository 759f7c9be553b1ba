//! A gateway and a state directory in memory, for the daemon's tests. The gateway's packets are real: it steers an
//! engine of its own on a network in memory.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod device;
mod gateway;
mod world;

pub(super) use device::{MDM, TestDevice};
pub(super) use gateway::{CLIENT_ID, TwinGateway};
pub(super) use world::World;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use vestibule_platform::secrets::{SecretError, Secrets};
use zeroize::Zeroizing;

/// A state directory in memory. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct MemoryVault(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    files: BTreeMap<String, Vec<u8>>,
    full: bool,
}

impl MemoryVault {
    pub(super) fn set(&self, name: &str, bytes: &[u8]) {
        self.0.lock().unwrap().files.insert(name.to_owned(), bytes.to_vec());
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        let files = &self.0.lock().unwrap().files;
        files.get(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    pub(super) fn set_full(&self, full: bool) {
        self.0.lock().unwrap().full = full;
    }
}

impl Secrets for MemoryVault {
    fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, SecretError> {
        Ok(self.0.lock().unwrap().files.get(name).cloned().map(Zeroizing::new))
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), SecretError> {
        let mut inner = self.0.lock().unwrap();
        if inner.full {
            let cause = std::io::ErrorKind::StorageFull.into();
            return Err(SecretError::Io { action: "write", path: name.into(), cause });
        }
        inner.files.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<bool, SecretError> {
        Ok(self.0.lock().unwrap().files.remove(name).is_some())
    }
}
