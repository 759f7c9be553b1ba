//! One file per secret, atomic and synced.

use super::{
    MAX_SECRET, SecretError, Secrets, check, check_length,
    imp::{SEAL, check_owner, make_private, open, seal},
};
use crate::files;
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Secrets in files of a directory that one process owns.
#[derive(Debug)]
pub struct FileStore {
    directory: PathBuf,
}

impl FileStore {
    /// Opens the store, making the directory (and its parents) if need be, closing it to everybody else, and removing
    /// what a killed predecessor left half-written.
    ///
    /// # Errors
    /// The directory cannot be made, or is not ours.
    pub fn open(directory: &Path) -> Result<Self, SecretError> {
        make_private(directory)?;
        let failed = |cause| SecretError::Io { action: "clean", path: directory.to_owned(), cause };
        files::clean_temporaries(directory).map_err(failed)?;
        Ok(Self { directory: directory.to_owned() })
    }

    fn path(&self, name: &str) -> Result<PathBuf, SecretError> {
        check(name)?;
        Ok(self.directory.join(name))
    }
}

impl Secrets for FileStore {
    fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, SecretError> {
        let path = self.path(name)?;
        let failed = |action| {
            let path = path.clone();
            move |cause| SecretError::Io { action, path, cause }
        };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read")(error)),
        };
        check_owner(&file, &path)?;
        let length = file.metadata().map_err(failed("read"))?.len();
        check_length(name, length.saturating_sub(SEAL as u64))?;
        // One byte more than the file has, so that reading to its end never moves the secret to a larger buffer.
        let mut stored = Zeroizing::new(Vec::with_capacity((MAX_SECRET + SEAL).min(length as usize) + 1));
        let room = stored.capacity() as u64;
        file.by_ref().take(room).read_to_end(&mut stored).map_err(failed("read"))?;
        open(name, stored).map(Some).map_err(failed("unseal"))
    }

    fn put(&self, name: &str, secret: &[u8]) -> Result<(), SecretError> {
        let path = self.path(name)?;
        check_length(name, secret.len() as u64)?;
        let sealed =
            seal(name, secret).map_err(|cause| SecretError::Io { action: "seal", path: path.clone(), cause })?;
        files::write_atomic(&path, &sealed).map_err(|cause| SecretError::Io { action: "write", path, cause })
    }

    fn remove(&self, name: &str) -> Result<bool, SecretError> {
        let path = self.path(name)?;
        files::remove_synced(&path).map_err(|cause| SecretError::Io { action: "remove", path, cause })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::files::scratch::Scratch;
    use std::fs;

    #[test]
    fn the_half_written_secret_of_a_killed_process_is_ignored_and_cleaned() {
        let scratch = Scratch::new();
        let directory = scratch.path("secrets");
        FileStore::open(&directory).unwrap().put("token", b"whole").unwrap();
        let half = directory.join(".token.4711-0.tmp");
        fs::write(&half, b"ha").unwrap();
        let store = FileStore::open(&directory).unwrap();
        assert_eq!(*store.get("token").unwrap().unwrap(), b"whole");
        assert!(!half.exists());
    }

    #[test]
    fn a_blown_up_file_is_refused_before_it_is_read() {
        let scratch = Scratch::new();
        let store = FileStore::open(&scratch.path("secrets")).unwrap();
        fs::write(scratch.path("secrets/token"), vec![0; MAX_SECRET + SEAL + 1]).unwrap();
        let got = MAX_SECRET as u64 + 1;
        assert!(matches!(store.get("token"), Err(SecretError::TooLong { got: found, .. }) if found == got));
    }
}
