//! Files of the data directory: readable by their owner only, written whole or not at all.

use super::GatewayError;
use std::path::{Path, PathBuf};
use vestibule_platform::files::{remove_synced, write_atomic};
use vestibule_platform::secrets::{FileStore, Secrets as _};
use zeroize::Zeroizing;

/// A directory that is closed to everybody else.
pub(super) struct Directory {
    path: PathBuf,
    store: FileStore,
}

impl Directory {
    /// Opens it, making it if need be.
    pub(super) fn open(path: PathBuf) -> Result<Self, GatewayError> {
        let store = FileStore::open(&path)?;
        Ok(Self { path, store })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The secret called `name`, made by `make` when there is none.
    pub(super) fn secret(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<Zeroizing<Vec<u8>>, GatewayError>,
    ) -> Result<Zeroizing<Vec<u8>>, GatewayError> {
        if let Some(secret) = self.store.get(name)? {
            return Ok(secret);
        }
        let secret = make()?;
        self.store.put(name, &secret)?;
        Ok(secret)
    }

    /// The secret called `name` that people take out of its file, made by `make` when there is none: the directory alone
    /// keeps others from it, no seal of the machine's does.
    pub(super) fn secret_to_read(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<Zeroizing<Vec<u8>>, GatewayError>,
    ) -> Result<Zeroizing<Vec<u8>>, GatewayError> {
        let path = self.path(name);
        if path.exists() {
            return read(&path);
        }
        let secret = make()?;
        self.write(name, &secret)?;
        Ok(secret)
    }

    /// Writes a file.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<(), GatewayError> {
        let path = self.path(name);
        write_atomic(&path, content).map_err(|cause| GatewayError::File { action: "write", path, cause })
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&self, name: &str) -> Result<(), GatewayError> {
        let path = self.path(name);
        remove_synced(&path).map_err(|cause| GatewayError::File { action: "remove", path, cause })?;
        Ok(())
    }

    /// A file that others will write to, empty if it is new.
    pub(super) fn private(&self, name: &str) -> Result<PathBuf, GatewayError> {
        let path = self.path(name);
        if !path.exists() {
            self.write(name, b"")?;
        }
        Ok(path)
    }
}

/// The whole content of a file, wherever it is.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, GatewayError> {
    let failed = |cause| GatewayError::File { action: "read", path: path.to_owned(), cause };
    std::fs::read(path).map(Zeroizing::new).map_err(failed)
}
